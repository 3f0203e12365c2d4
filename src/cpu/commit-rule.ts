import type { Emit } from './emit.ts';

/** What a method of `Emit` may do to the instruction that calls it. */
type Phase = 'pure' | 'trap' | 'write' | 'effect' | 'control';

// biome-ignore format: a table
const PHASE: Readonly<Record<keyof Emit<unknown, unknown>, Phase>> = {
  stackSize: 'pure', virtual8086: 'pure', const: 'pure', imm: 'pure', next: 'pure', relative: 'pure', address: 'pure',
  bin: 'pure', shift: 'pure', count: 'pure', mulHigh: 'pure', divide: 'pure', byteSwap: 'pure', signExtend: 'pure',
  low: 'pure', high64: 'pure', join: 'pure', select: 'pure', truth: 'pure', isZero: 'pure', equal: 'pure', below: 'pure',
  less: 'pure', not: 'pure', both: 'pure', either: 'pure', reg: 'pure', xmm: 'pure', mm: 'pure', selector: 'pure',
  field: 'pure', cond: 'pure', statusFlags: 'pure', vector: 'pure',
  load: 'trap', store: 'trap', loadForWrite: 'trap', storeBack: 'trap', probe: 'trap', trapIf: 'trap', checkTarget: 'trap',
  assist: 'trap',
  setReg: 'write', setXmm: 'write', setMm: 'write', setField: 'write', flags: 'write', flagsIf: 'write',
  effect: 'effect',
  jump: 'control', jumpTo: 'control', repeat: 'control', system: 'control',
};

/**
 * Wraps a backend for one instruction: throws where a load, store or trap follows a register or flag write,
 * or anything follows a transfer of control.
 */
export function checked<V, C>(backend: Emit<V, C>): Emit<V, C> {
  let written: string | undefined;
  let over: string | undefined;
  const forbid = (name: string, earlier: string | undefined): void => {
    if (earlier) throw new Error(`commit rule: ${name} after ${earlier}`);
  };
  const guard = (name: keyof Emit<V, C>, method: (...args: unknown[]) => unknown) => {
    const phase = PHASE[name];
    return (...args: unknown[]): unknown => {
      forbid(name, over);
      if (phase === 'trap' || phase === 'effect' || name === 'system') forbid(name, written);
      if (phase === 'write' || phase === 'effect') written = name;
      if (phase === 'control') over = name;
      if (name !== 'repeat') return method.apply(backend, args);
      const [addressSize, body, again] = args as Parameters<Emit<V, C>['repeat']>;
      forbid(name, written);
      const iteration = (): void => {
        written = over = undefined;
        body();
        over = 'repeat';
      };
      const test =
        again &&
        ((): C => {
          over = undefined;
          const more = again();
          over = 'repeat';
          return more;
        });
      return backend.repeat(addressSize, iteration, test);
    };
  };
  return new Proxy(backend, {
    get(target, key) {
      const member = Reflect.get(target, key) as unknown;
      return typeof member === 'function' && key in PHASE
        ? guard(key as keyof Emit<V, C>, member as (...args: unknown[]) => unknown)
        : member;
    },
  });
}
