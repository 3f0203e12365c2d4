import { describe, expect, it } from 'vitest';
import type { EngineFactory } from '../../src/cpu/engines/engine.ts';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed, withTiming } from '../../src/machine/profiles.ts';
import { countByHand, EVENT_SETS, looped } from './counted-program.ts';
import { bytes, CountingProcessor } from './counting-processor.ts';
import { PLAIN_PROGRAMS } from './plain-programs.ts';
import { SystemProcessor } from './system-processor.ts';
import { SYSTEM_PROGRAMS } from './system-programs.ts';

const PROFILE = profileNamed('sapphire-rapids');
const ENGINES: readonly (readonly [string, EngineFactory])[] = [
  ['oracle', (core) => new Oracle(core)],
  ['interpreter', (core) => new Interpreter(core)],
];
const TIMES = [1, 40];

it('two hundred counts by hand there are at least, of a hundred programs', () => {
  const programs = [...PLAIN_PROGRAMS, ...SYSTEM_PROGRAMS];
  expect(new Set(programs.map(([, code]) => bytes(code).join())).size).toBe(programs.length);
  expect(programs.length).toBeGreaterThanOrEqual(100);
  expect(programs.length * EVENT_SETS.length).toBeGreaterThanOrEqual(200);
});

describe.each(ENGINES)('on the %s', (_name, engine) => {
  const plain = new CountingProcessor(PROFILE, engine);
  it.each(PLAIN_PROGRAMS)('%s counts what it counts by hand', (...program) => {
    for (const times of TIMES) countByHand(plain, program, times);
  });

  const system = new SystemProcessor(PROFILE, engine);
  it.each(SYSTEM_PROGRAMS)('%s counts what it counts by hand', (...program) => {
    for (const times of TIMES) countByHand(system, program, times);
  });
});

describe.each(ENGINES)('page walks on the %s', (_name, engine) => {
  /** Per round: walks for loads, for stores, for code. */
  // biome-ignore format: a table
  it.each([
    ['nothing is walked for twice',                   '48 8b 06  48 89 06',                      [0, 0, 0]],
    ['INVLPG, then a load',                           '0f 01 3e  48 8b 06',                      [1, 0, 0]],
    ['INVLPG, then a store',                          '0f 01 3e  48 89 06',                      [0, 1, 0]],
    ['INVLPG, then an increment: the load walks',     '0f 01 3e  48 ff 06',                      [1, 0, 0]],
    ['MOV to CR3, then a load and a store',           '0f 20 d8  0f 22 d8  48 8b 06  48 89 06',  [1, 0, 1]],
    ['MOV to CR3, then a load of two pages',          '0f 20 d8  0f 22 d8  48 8b 86 fc 0f 00 00', [2, 0, 1]],
    ['MOV to CR3, then two stores to different ones', '0f 20 d8  0f 22 d8  48 89 06  48 89 07',  [0, 2, 1]],
  ] as const)('%s', (_what, code, walks) => {
    const cpu = new CountingProcessor(withTiming(PROFILE), engine);
    const [, few, many] = [1, 2, 12].map((times) => {
      cpu.restart().load(looped(code, times)).count(0x0e12, 0x0e13, 0x0e11).runToHalt(100_000);
      return cpu.counts(3);
    });
    // Ten rounds more, after one that has warmed what was cold.
    expect(many!.map((n, i) => n - few![i]!)).toEqual(walks.map((n) => 10 * n));
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

  // MOV EAX, −3; MOV EDX; MOV ECX; WRMSR; NOPs.
  it.each([
    ['c1 00 00 00', 0x1000c0, 0n],
    ['c1 04 00 00', 0x1000c0, 0n],
    ['09 03 00 00', 0x00c0, 0xbn],
  ] as const)(
    'of a counter that the program itself writes while it runs (%s) is exact',
    (address, event, fixed) => {
      const code = `b8 fd ff ff ff  ba ff ff 00 00  b9 ${address}  0f 30 ${'90 '.repeat(40)} f4`;
      cpu
        .restart()
        .load(bytes(code))
        .write(0x1d9, 1n << 12n)
        .write(0x38d, fixed)
        .write(0x38f, 0x1_0000_00ffn)
        .count(event, 0x00c0)
        .runToHalt();
      // The WRMSR is counted on top of what it wrote: four instructions, two NOPs.
      expect(cpu.counts(2)[1]).toBe(6);
    },
  );

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
