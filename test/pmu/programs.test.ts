import { describe, expect, it } from 'vitest';
import type { EngineFactory } from '../../src/cpu/engines/engine.ts';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { bytes, CountingProcessor } from './counting-processor.ts';

/** What a piece of code counts as, by hand; what is not told is 0. */
interface Counts {
  readonly inst: number;
  readonly br?: number;
  readonly cond?: number;
  readonly taken?: number;
  readonly call?: number;
  readonly ret?: number;
  readonly near?: number;
  readonly ind?: number;
  readonly ld?: number;
  readonly st?: number;
  readonly lock?: number;
  readonly splitLd?: number;
  readonly splitSt?: number;
  readonly nop?: number;
  readonly rep?: number;
  readonly pause?: number;
  readonly prefetch?: number;
  readonly lfence?: number;
}

/** Sapphire Rapids' encodings of these. */
// biome-ignore format: a table
const ENCODING: Readonly<Record<keyof Counts, number>> = {
  inst: 0x00c0, br: 0x00c4, cond: 0x11c4, taken: 0x01c4, call: 0x02c4, ret: 0x08c4, near: 0x20c4, ind: 0x80c4,
  ld: 0x81d0, st: 0x82d0, lock: 0x21d0, splitLd: 0x41d0, splitSt: 0x42d0, nop: 0x02c0, rep: 0x08c0,
  pause: 0x40ec, prefetch: 0x0f40, lfence: 0x20e0,
};
const KINDS = Object.keys(ENCODING) as (keyof Counts)[];

/** RSI is data at a line's start, RDI other data, R15 the loop's. */
// biome-ignore format: a table
const BODIES: readonly (readonly [name: string, code: string, counts: Counts])[] = [
  ['nothing but the loop',                '',                                    { inst: 0 }],
  ['NOP',                                 '90',                                  { inst: 1, nop: 1 }],
  ['NOP with a 66 prefix',                '66 90',                               { inst: 1, nop: 1 }],
  ['NOP of nine bytes, which reads nothing', '66 0f 1f 84 00 00 00 00 00',       { inst: 1, nop: 1 }],
  ['ENDBR64',                             'f3 0f 1e fa',                         { inst: 1, nop: 1 }],
  ['PAUSE, which is no NOP',              'f3 90',                               { inst: 1, pause: 1 }],
  ['LFENCE',                              '0f ae e8',                            { inst: 1, lfence: 1 }],
  ['register arithmetic',                 '48 01 d8  48 29 c3  48 31 c0',        { inst: 3 }],
  ['a load',                              '48 8b 06',                            { inst: 1, ld: 1 }],
  ['a store',                             '48 89 06',                            { inst: 1, st: 1 }],
  ['read, modify, write: one load and one store', '48 ff 06',                    { inst: 1, ld: 1, st: 1 }],
  ['ADD register, memory',                '48 03 06',                            { inst: 1, ld: 1 }],
  ['CMP memory, immediate: a load only',  '48 83 3e 00',                         { inst: 1, ld: 1 }],
  ['LEA: no access',                      '48 8d 06',                            { inst: 1 }],
  ['PUSH and POP',                        '50  58',                              { inst: 2, ld: 1, st: 1 }],
  ['PUSH of memory: a load and a store',  'ff 36  58',                           { inst: 2, ld: 2, st: 1 }],
  ['LOCK INC',                            'f0 48 ff 06',                         { inst: 1, ld: 1, st: 1, lock: 1 }],
  ['XCHG with memory locks by itself',    '48 87 06',                            { inst: 1, ld: 1, st: 1, lock: 1 }],
  ['XCHG of registers does not',          '48 93',                               { inst: 1 }],
  ['a load over the end of a line',       '48 8b 46 3c',                         { inst: 1, ld: 1, splitLd: 1 }],
  ['a load up to the end of a line',      '48 8b 46 38',                         { inst: 1, ld: 1 }],
  ['a store over the end of a line',      '48 89 46 3f',                         { inst: 1, st: 1, splitSt: 1 }],
  ['an increment over the end of a line', '48 ff 46 3d',                         { inst: 1, ld: 1, st: 1, splitLd: 1, splitSt: 1 }],
  ['a load over the end of a page',       '48 8b 86 fc 0f 00 00',                { inst: 1, ld: 1, splitLd: 1 }],
  ['JMP short',                           'eb 00',                               { inst: 1, br: 1, near: 1 }],
  ['JMP over an instruction',             'eb 01 90',                            { inst: 1, br: 1, near: 1 }],
  ['JZ taken (XOR sets ZF)',              '31 c0  74 01 90',                     { inst: 2, br: 1, cond: 1, taken: 1, near: 1 }],
  ['JNZ not taken',                       '31 c0  75 01 90',                     { inst: 3, br: 1, cond: 1, nop: 1 }],
  ['JZ taken and JNZ not taken',          '31 c0  74 00  75 00',                 { inst: 3, br: 2, cond: 2, taken: 1, near: 1 }],
  ['CMOVcc and SETcc are no branches',    '31 c0  48 0f 44 c3  0f 94 c1',        { inst: 3 }],
  ['CMOVcc loads even when it does not move', '31 c0  48 0f 45 06',              { inst: 2, ld: 1 }],
  ['CALL and RET',                        'e8 02 00 00 00  eb 01  c3',           { inst: 3, br: 3, call: 1, ret: 1, near: 3, ld: 1, st: 1 }],
  ['CALL through a register',             '48 8d 05 04 00 00 00  ff d0  eb 01  c3', { inst: 4, br: 3, call: 1, ret: 1, near: 3, ind: 1, ld: 1, st: 1 }],
  ['JMP through a register',              '48 8d 05 02 00 00 00  ff e0',         { inst: 2, br: 1, near: 1, ind: 1 }],
  ['JMP through memory',                  '48 8d 05 05 00 00 00  48 89 06  ff 26', { inst: 3, br: 1, near: 1, ind: 1, ld: 1, st: 1 }],
  ['RET 8 after a PUSH as argument',      '6a 00  e8 02 00 00 00  eb 03  c2 08 00', { inst: 4, br: 3, call: 1, ret: 1, near: 3, ld: 1, st: 2 }],
  ['LOOP three times round',              'b9 03 00 00 00  e2 fe',               { inst: 4, br: 3, cond: 3, taken: 2, near: 2 }],
  ['JRCXZ taken',                         '31 c9  e3 00',                        { inst: 2, br: 1, cond: 1, taken: 1, near: 1 }],
  ['REP STOSB of five: one instruction, four further iterations', '57  b9 05 00 00 00  f3 aa  5f', { inst: 4, ld: 1, st: 2, rep: 4 }],
  ['REP STOSQ of one',                    '57  b9 01 00 00 00  f3 48 ab  5f',    { inst: 4, ld: 1, st: 2 }],
  ['REP STOSB of none: an instruction that stores nothing', '31 c9  f3 aa',      { inst: 2 }],
  ['REP MOVSB of three',                  '56  57  b9 03 00 00 00  f3 a4  5f  5e', { inst: 6, ld: 3, st: 3, rep: 2 }],
  ['REPNE SCASB that stops at once',      '57  31 c0  88 07  b9 09 00 00 00  f2 ae  5f', { inst: 6, ld: 2, st: 2 }],
  ['MOVSB without REP',                   '56  57  a4  5f  5e',                  { inst: 5, ld: 3, st: 3 }],
  ['LODSB and STOSB',                     '56  57  ac  aa  5f  5e',              { inst: 6, ld: 3, st: 3 }],
  ['DIV of registers',                    '31 d2  b8 64 00 00 00  bb 07 00 00 00  48 f7 f3', { inst: 4 }],
  ['PREFETCHT0, PREFETCHNTA, PREFETCHW',  '0f 18 0e  0f 18 06  0f 0d 0e',        { inst: 3, prefetch: 3 }],
  ['CMPXCHG that fails, unlocked',        '48 0f b1 1e',                         { inst: 1, ld: 1, st: 1 }],
  ['ENTER and LEAVE',                     '55  c8 10 00 00  c9  5d',             { inst: 4, ld: 2, st: 2 }],
  ['a call of a call',                    'e8 02 00 00 00  eb 07  e8 01 00 00 00  c3  c3', { inst: 5, br: 5, call: 2, ret: 2, near: 5, ld: 2, st: 2 }],
  ['an inner loop of four',               'b8 04 00 00 00  ff c8  75 fc',        { inst: 9, br: 4, cond: 4, taken: 3, near: 3 }],
];

/** The loop `MOV R15D, times; body; DEC R15D; JNZ; HLT`. */
function looped(body: string, times: number): number[] {
  const inner = bytes(body);
  const back = -(inner.length + 3 + 6);
  const word = (n: number) => [0, 8, 16, 24].map((shift) => (n >> shift) & 0xff);
  return [0x41, 0xbf, ...word(times), ...inner, 0x41, 0xff, 0xcf, 0x0f, 0x85, ...word(back), 0xf4];
}

/** What the whole loop counts as. */
function whole(body: Counts, times: number): Required<Counts> {
  const loop: Counts = { inst: 2, br: 1, cond: 1, taken: 1, near: 1 };
  const sum = (kind: keyof Counts) => times * ((body[kind] ?? 0) + (loop[kind] ?? 0));
  const counts = Object.fromEntries(KINDS.map((kind) => [kind, sum(kind)])) as Required<Counts>;
  // MOV before and HLT after; the last JNZ is not taken.
  return { ...counts, inst: counts.inst + 2, taken: counts.taken - 1, near: counts.near - 1 };
}

const PROFILE = profileNamed('sapphire-rapids');
const ENGINES: readonly (readonly [string, EngineFactory])[] = [
  ['oracle', (core) => new Oracle(core)],
  ['interpreter', (core) => new Interpreter(core)],
];

function counted(cpu: CountingProcessor, body: string, times: number, kinds: typeof KINDS) {
  cpu.restart().load(looped(body, times));
  cpu.count(...kinds.map((kind) => ENCODING[kind])).runToHalt();
  expect(cpu.processor.pmu.unsupportedEvents()).toEqual([]);
  return Object.fromEntries(cpu.counts(kinds.length).map((n, i) => [kinds[i]!, n]));
}

const TIMES = [1, 2, 7, 100];
const BRANCHES: typeof KINDS = ['inst', 'br', 'cond', 'taken', 'call', 'ret', 'near', 'ind'];
const MEMORY: typeof KINDS = ['inst', 'ld', 'st', 'lock', 'splitLd', 'splitSt', 'nop', 'rep'];
const REST: typeof KINDS = ['inst', 'pause', 'prefetch', 'lfence'];

it('there are two hundred programs at least', () => {
  expect(BODIES.length * TIMES.length).toBeGreaterThanOrEqual(200);
});

describe.each(ENGINES)('on the %s', (_name, engine) => {
  const cpu = new CountingProcessor(PROFILE, engine);

  describe.each(BODIES)('%s', (_body, code, counts) => {
    it.each(TIMES)('%i times counts what it counts by hand', (times) => {
      const expected = whole(counts, times);
      for (const kinds of [BRANCHES, MEMORY, REST]) {
        const wanted = Object.fromEntries(kinds.map((kind) => [kind, expected[kind]]));
        expect(counted(cpu, code, times, kinds)).toEqual(wanted);
      }
    });
  });
});

describe.each(ENGINES)('overflow on the %s', (_name, engine) => {
  const cpu = new CountingProcessor(PROFILE, engine);

  /** Eight instructions, the fourth and eighth of them branches; then HLT. */
  const LINE = [...bytes('90 90 90  eb 00  90 90 90  eb 00'), 0xf4];

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'of a counter preset to −%i stops every counter at exactly that instruction',
    (n) => {
      cpu
        .restart()
        .load(LINE)
        .write(0x1d9, 1n << 12n) // FREEZE_PERFMON_ON_PMI
        .write(0xc1, BigInt(-n) & 0xffff_ffffn)
        .count(0x1000c0, 0x00c0, 0x00c4)
        .runToHalt();
      expect(cpu.counts(3)).toEqual([0, n, Math.floor(n / 4)]);
      expect(cpu.read(0x38e)).toBe((1n << 59n) | 1n);
    },
  );

  it.each([
    [1, 4],
    [2, 8],
  ])('at branch %i of the program stops it at instruction %i', (branch, instruction) => {
    cpu
      .restart()
      .load(LINE)
      .write(0x1d9, 1n << 12n)
      .write(0xc1, BigInt(-branch) & 0xffff_ffffn)
      .count(0x1000c4, 0x00c0)
      .runToHalt();
    expect(cpu.counts(2)).toEqual([0, instruction]);
  });

  it('of an event that only comes with REP iterations stops between two of them', () => {
    const cpu = new CountingProcessor(PROFILE, engine).load(bytes('b9 0a 00 00 00  f3 aa  f4'));
    cpu
      .write(0x1d9, 1n << 12n)
      .write(0xc1, 0xffff_fffdn)
      .count(0x1008c0, 0x00c0)
      .runToHalt();
    // Three of the nine further iterations; the instruction itself has not retired yet.
    expect(cpu.counts(2)).toEqual([0, 1]);
  });
});
