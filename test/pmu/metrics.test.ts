import { beforeEach, describe, expect, it } from 'vitest';
import { SAPPHIRE_RAPIDS_WHOLE } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';

const METRICS = 0x329;
const SLOTS = 0x30c;
const CTRL = 0x38f;
const FIXED_CTRL = 0x38d;
const STATUS = 0x38e;

let bench: PmuBench;
beforeEach(() => {
  bench = new PmuBench(SAPPHIRE_RAPIDS_WHOLE);
  bench.write(FIXED_CTRL, 0x3000n);
  bench.write(CTRL, (1n << 48n) | (1n << 35n));
});

/** Half the slots retire, a quarter waits for memory, the rest is bad speculation and fetching. */
const tenth = () =>
  bench.happen({
    slots: 20,
    slotsRetiring: 10,
    slotsBackEnd: 5,
    slotsMemoryBound: 5,
    slotsBadSpeculation: 2,
    slotsFrontEnd: 3,
  });
const fractions = () =>
  Array.from({ length: 8 }, (_, i) => Number((bench.read(METRICS) >> BigInt(8 * i)) & 0xffn));

describe('MSR_PERF_METRICS', () => {
  it('shows where the slots went, as fractions of 255', () => {
    tenth();
    expect(bench.read(SLOTS)).toBe(20n);
    // 127.5 rounds up, 25.5 too, 38.25 and 63.75 to the nearest; the second half refines the first
    expect(fractions()).toEqual([128, 26, 38, 64, 0, 26, 38, 64]);
  });

  it('is what RDPMC reads with ECX 2000_0000H', () => {
    tenth();
    expect(bench.pmu.rdpmc(0x2000_0000)).toBe(bench.read(METRICS));
    expect(bench.pmu.rdpmc(0x2000_0001)).toBe('#GP');
  });

  it('starts anew when software writes 0 to it and to the slots', () => {
    tenth();
    bench.write(SLOTS, 0n);
    bench.write(METRICS, 0n);
    expect(fractions()).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    bench.happen({ slots: 4, slotsRetiring: 4 });
    expect(fractions().slice(0, 4)).toEqual([255, 0, 0, 0]);
  });

  it('goes on from fractions that were saved with their slots', () => {
    bench.write(SLOTS, 100n);
    bench.write(METRICS, 255n); // all hundred retired
    bench.happen({ slots: 100, slotsBackEnd: 100 });
    expect(fractions().slice(0, 4)).toEqual([128, 0, 0, 128]);
  });

  it('stands still without its global bit or without the slots counter', () => {
    for (const [address, value] of [
      [CTRL, 1n << 35n],
      [FIXED_CTRL, 0n],
    ] as const) {
      const before = bench.read(address);
      bench.write(address, value);
      tenth();
      bench.write(address, before);
    }
    expect(bench.read(METRICS) & 0xffn).toBe(0n);
  });

  it('overflows with the slots counter', () => {
    bench.write(SLOTS, (1n << 48n) - 1n);
    tenth();
    expect(bench.read(STATUS)).toBe((1n << 48n) | (1n << 35n));
  });
});
