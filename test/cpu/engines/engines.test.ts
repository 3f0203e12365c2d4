import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { loadProgram, type Program, randomProgram } from './random-program.ts';
import { CODE, DATA, type Difference, STACK, type Start, Twins } from './twins.ts';

const runs = Number(process.env['ENGINE_PROGRAMS'] ?? 40);
const seed = process.env['ENGINE_SEED'] ?? 'engines';

function differ(twins: Twins, program: Program): Difference | undefined {
  const base = Number(twins.oracle.state.segment('CS').base);
  const starts: bigint[] = [];
  let next = BigInt(CODE - base);
  for (const { length } of program.instructions) {
    next += BigInt(length);
    starts.push(next);
  }
  return twins.compare(
    (twin) => loadProgram(twin, program, seedrandom(`values ${program.values}`)),
    seedrandom(`horizons ${program.values}`),
    600,
    (rip) => starts.find((start) => start > rip),
  );
}

/** Leaves out instructions as long as the engines still differ. */
function shrink(twins: Twins, program: Program): Program {
  let { instructions } = program;
  for (let i = 0; i < instructions.length; ) {
    const shorter = instructions.filter((_, j) => j !== i);
    if (differ(twins, { ...program, instructions: shorter })) instructions = shorter;
    else i++;
  }
  return { ...program, instructions };
}

const hex = (bytes: readonly number[]) =>
  bytes.map((b) => b.toString(16).padStart(2, '0')).join(' ');

function check(start: Start, name: string): void {
  const twins = new Twins(start);
  for (let i = 0; i < runs; i++) {
    const random = seedrandom(`${seed} ${name} ${i}`);
    const program = randomProgram(random, start.codeSize, 5 + Math.floor(random() * 30));
    if (!differ(twins, program)) continue;
    const small = shrink(twins, program);
    const { before, oracle, interpreter } = differ(twins, small)!;
    expect(
      interpreter,
      `${seed} ${name} ${i}\n${small.instructions.map(hex).join('\n')}\n${before}`,
    ).toBe(oracle);
  }
}

const flat = (base: number) => ({ base, limit: 0xffff });

/** Modes that differ in what generated code checks; every one is a mode real software runs in. */
const STARTS: Readonly<Record<string, Start>> = {
  '64-bit code at CPL 0': { codeSize: 8, paging: true, user: false },
  '64-bit code at CPL 3': { codeSize: 8, paging: true, user: true },
  '64-bit code, all totals armed': { codeSize: 8, paging: true, user: false, armed: true },
  '64-bit code under the timing model': {
    codeSize: 8,
    paging: true,
    user: false,
    armed: true,
    observed: true,
  },
  '16-bit code under the timing model': {
    codeSize: 2,
    paging: false,
    user: false,
    armed: true,
    observed: true,
    segments: { CS: flat(CODE), DS: flat(DATA), ES: flat(DATA), SS: flat(DATA) },
  },
  'flat 32-bit code': { codeSize: 4, paging: true, user: false },
  'flat 32-bit code at CPL 3': { codeSize: 4, paging: true, user: true },
  'flat 32-bit code, all totals armed': { codeSize: 4, paging: true, user: true, armed: true },
  'flat 32-bit code without paging': { codeSize: 4, paging: false, user: false },
  '32-bit code with a 16-bit stack': {
    codeSize: 4,
    paging: true,
    user: false,
    stackSize: 2,
    segments: { SS: { base: STACK - 0x10000, limit: 0xffff, rights: 0x0093 } },
  },
  '32-bit code in segments with limits': {
    codeSize: 4,
    paging: true,
    user: false,
    segments: {
      DS: { base: 0x1230, limit: 0x2ffff },
      ES: { base: 0, limit: 0x23fff },
      SS: { base: 0x10, limit: 0x30020 },
      FS: { base: 0x800, limit: 0x1ffff, rights: 0xc097 }, // expand-down
      GS: { base: 0, limit: 0, rights: 0x10000 }, // unusable
    },
  },
  '16-bit code': {
    codeSize: 2,
    paging: false,
    user: false,
    segments: { CS: flat(CODE), DS: flat(DATA), ES: flat(DATA), SS: flat(DATA) },
  },
  '16-bit code in segments that do not begin with a page': {
    codeSize: 2,
    paging: true,
    user: false,
    segments: {
      CS: flat(0x8010),
      DS: flat(0x18000),
      ES: { base: 0x17ff0, limit: 0xefff },
      SS: flat(0x28000),
    },
  },
};

describe('the interpreter does what the oracle does, at every horizon', () => {
  it.each(Object.entries(STARTS))('in %s', { timeout: 60_000 }, (name, start) =>
    check(start, name),
  );
});
