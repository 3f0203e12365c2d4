import { isDeepStrictEqual } from 'node:util';

/*
 * As much of vitest as the tests of the vPMUs use, in one process and at once: the first failure ends it.
 * The judge of planted faults runs the tests some seventy times over.
 */

type Body = () => unknown;

class Failure extends Error {}

const tests: Body[] = [];
let hooks: Body[] = [];

const contains = (actual: unknown, wanted: unknown): boolean => {
  if (typeof wanted !== 'object' || wanted === null) return isDeepStrictEqual(actual, wanted);
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(wanted).every(([key, value]) =>
    contains((actual as Record<string, unknown>)[key], value),
  );
};

const has = (actual: unknown, item: unknown): boolean =>
  typeof actual === 'string'
    ? actual.includes(item as string)
    : [...(actual as unknown[])].includes(item);

const throws = (body: unknown, pattern?: RegExp): boolean => {
  try {
    (body as Body)();
    return false;
  } catch (error) {
    return !pattern || pattern.test(String(error));
  }
};

const MATCHERS: Readonly<Record<string, (actual: never, ...wanted: never[]) => boolean>> = {
  toBe: (a: unknown, b: unknown) => Object.is(a, b),
  toEqual: (a: unknown, b: unknown) => isDeepStrictEqual(a, b),
  toMatchObject: contains,
  toHaveLength: (a: { length: number }, b: number) => a.length === b,
  toBeUndefined: (a: unknown) => a === undefined,
  toBeGreaterThan: (a: bigint, b: bigint) => a > b,
  toBeGreaterThanOrEqual: (a: bigint, b: bigint) => a >= b,
  toBeLessThan: (a: bigint, b: bigint) => a < b,
  toBeLessThanOrEqual: (a: bigint, b: bigint) => a <= b,
  toBeCloseTo: (a: number, b: number, digits: number = 2) => Math.abs(a - b) < 10 ** -digits / 2,
  toContain: has,
  toHaveProperty: (a: object, b: string) => b in a,
  toThrow: throws,
};

export function expect(actual: unknown, note = '') {
  const matcher =
    (name: string, negated: boolean) =>
    (...wanted: never[]) => {
      const test = MATCHERS[name];
      if (!test) throw new Failure(`no matcher ${name}`);
      if (test(actual as never, ...wanted) === negated) {
        throw new Failure(`${note} ${negated ? 'not ' : ''}${name}`);
      }
    };
  const all = (negated: boolean) =>
    Object.fromEntries(Object.keys(MATCHERS).map((name) => [name, matcher(name, negated)]));
  return { ...all(false), not: all(true) };
}

const each =
  (add: (body: Body) => void) =>
  (rows: readonly unknown[]) =>
  (_name: string, body: (...row: unknown[]) => unknown) => {
    for (const row of rows) add(() => body(...(Array.isArray(row) ? row : [row])));
  };

const test = (body: Body) => {
  const before = [...hooks];
  tests.push(() => {
    for (const hook of before) hook();
    return body();
  });
};

export const it = Object.assign((_name: string, body: Body) => test(body), { each: each(test) });

const suite = (body: Body) => {
  const outer = hooks;
  hooks = [...hooks];
  body();
  hooks = outer;
};

export const describe = Object.assign((_name: string, body: Body) => suite(body), {
  each: each(suite),
});

export const beforeEach = (hook: Body) => {
  hooks.push(hook);
};

setImmediate(async () => {
  for (const body of tests) {
    try {
      await body();
    } catch (error) {
      process.stderr.write(`${error}\n`);
      process.exit(1);
    }
  }
  process.exit(tests.length > 0 ? 0 : 2);
});
