import { beforeEach, describe, expect, it } from 'vitest';
import { ARCHITECTURAL_PROFILES, SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';

const INSTRUCTIONS = 0xc0n;
const CYCLES = 0x3cn;
const SLOTS_P = 0x1a4n;
const BACK_END = 0x2a4n;
const EDGE = 1n << 18n;
const INV = 1n << 23n;
const EQ = 1n << 36n;
const cmask = (n: number) => BigInt(n) << 24n;

let bench: PmuBench;
beforeEach(() => {
  bench = new PmuBench(ARCHITECTURAL_PROFILES[5]);
});

/** What a selector counts while 10 instructions take 25 cycles. */
function counts(event: bigint, filter: bigint): bigint {
  bench.write(0xc1, 0n);
  bench.write(0x186, 0x43_0000n | event | filter);
  bench.happen({ instructions: 10, cycles: 25, slots: 25, halts: 1 });
  return bench.read(0xc1);
}

describe('the modelled core retires one instruction at most in a cycle, so', () => {
  // biome-ignore format: a table
  it.each([
    ['without CMASK they are all counted',                  INSTRUCTIONS, 0n,                       10n],
    ['INV without CMASK changes nothing',                   INSTRUCTIONS, INV,                      10n],
    ['ten cycles have one or more',                         INSTRUCTIONS, cmask(1),                 10n],
    ['no cycle has two or more',                            INSTRUCTIONS, cmask(2),                 0n],
    ['fifteen cycles have less than one',                   INSTRUCTIONS, cmask(1) | INV,           15n],
    ['all cycles have less than two',                       INSTRUCTIONS, cmask(2) | INV,           25n],
    ['all cycles have less than ten: TOTAL_CYCLES',         INSTRUCTIONS, cmask(10) | INV,          25n],
    ['each is an edge of its own',                          INSTRUCTIONS, EDGE,                     10n],
    ['each is an edge over CMASK 1, too',                   INSTRUCTIONS, EDGE | cmask(1),          10n],
    ['each ends a run of cycles without one',               INSTRUCTIONS, EDGE | cmask(1) | INV,    10n],
    ['there is no edge over 2',                             INSTRUCTIONS, EDGE | cmask(2),          0n],
    ['"less than two" rises on waking only',                INSTRUCTIONS, EDGE | cmask(2) | INV,    1n],
    ['ten cycles have exactly one',                         INSTRUCTIONS, EQ | cmask(1),            10n],
    ['no cycle has exactly three',                          INSTRUCTIONS, EQ | cmask(3),            0n],
    ['all cycles have another number than three',           INSTRUCTIONS, EQ | cmask(3) | INV,      25n],
    ['every cycle has its cycle',                           CYCLES,       cmask(1),                 25n],
    ['no cycle lacks it',                                   CYCLES,       cmask(1) | INV,           0n],
    ['cycles begin once, on waking',                        CYCLES,       EDGE | cmask(1),          1n],
    ['every cycle has its slot',                            SLOTS_P,      cmask(1),                 25n],
  ])('%s', (_name, event, filter, expected) => {
    expect(counts(event, filter)).toBe(expected);
  });

  it('complementary comparisons sum to all cycles', () => {
    const [over, under] = [counts(INSTRUCTIONS, cmask(1)), counts(INSTRUCTIONS, cmask(1) | INV)];
    expect(over + under).toBe(25n);
  });
});

it('says so when nothing is known of an event in single cycles', () => {
  expect(counts(BACK_END, cmask(1))).toBe(0n);
  expect(bench.pmu.unsupportedEvents()).toEqual([
    { event: 0xa4, umask: 0x02, why: 'cycles unmodelled' },
  ]);
});

it('takes UMASK2 as part of the encoding', () => {
  expect(counts(INSTRUCTIONS | (1n << 40n), 0n)).toBe(0n);
  expect(bench.pmu.unsupportedEvents()).toEqual([{ event: 0xc0, umask: 0x100, why: 'unknown' }]);
});

it('counts events of one privilege level at that level only', () => {
  bench = new PmuBench(SAPPHIRE_RAPIDS);
  bench.write(0x186, 0x43_015cn); // CPL_CYCLES.RING0
  bench.write(0x187, 0x43_025cn); // CPL_CYCLES.RING123
  bench.happen({ cycles: 10 });
  bench.enter(3);
  bench.happen({ cycles: 4 });
  bench.enter(0);
  expect([bench.read(0xc1), bench.read(0xc2)]).toEqual([10n, 4n]);
});

it('counts reference cycles of the crystal at one in 120 ticks, and overflows at the exact tick', () => {
  bench = new PmuBench(ARCHITECTURAL_PROFILES[4]);
  bench.write(0xc1, 0xffff_fffdn); // three to go
  bench.write(0x186, 0x43_013cn);
  expect(bench.pmu.horizon()).toBe(360);
  bench.happen({ unhaltedTicks: 359 });
  bench.pmu.settle();
  expect([bench.pmu.horizon(), bench.read(0x38e)]).toEqual([1, 0n]);
  bench.happen({ unhaltedTicks: 1 });
  expect(bench.read(0x38e)).toBe(1n);
});

describe('version 6', () => {
  it('reaches counters and selectors through the block from 1900H as well', () => {
    bench.write(0x1900 + 4 * 7, 77n);
    bench.write(0x1901 + 4 * 7, 0x43_00c4n);
    bench.write(0x1980 + 4 * 6, 66n);
    expect([bench.read(0xc8), bench.read(0x18d), bench.read(0x30f)]).toEqual([
      77n,
      0x43_00c4n,
      66n,
    ]);
    expect([bench.pmu.rdpmc(7), bench.pmu.rdpmc(0x4000_0006)]).toEqual([77n, 66n]);
  });

  it('has counters with gaps, also for RDPMC', () => {
    expect([3, 6, 0x4000_0003].map((ecx) => bench.pmu.rdpmc(ecx))).toEqual(['#GP', '#GP', '#GP']);
  });

  it('reads 0 by RDPMC at CPL 3 from a counter that is disabled for users', () => {
    bench.write(0x4c1, 5n);
    bench.write(0x309, 6n);
    bench.write(0x186, 1n << 37n);
    bench.write(0x38d, 1n << 33n);
    const both = () => [bench.pmu.rdpmc(0), bench.pmu.rdpmc(0x4000_0000)];
    expect(both()).toEqual([5n, 6n]);
    bench.enter(3);
    expect(both()).toEqual([0n, 0n]);
  });
});
