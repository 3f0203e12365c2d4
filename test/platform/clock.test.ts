import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Frequency } from '../../src/platform/clock.ts';

const FREQUENCIES = [32_768, 1_193_182, 3_579_545];

it.each(FREQUENCIES)('%i Hz counts whole cycles exactly, near and far', (hertz) => {
  const frequency = new Frequency(hertz);
  const exact = (ticks: number) => Number((BigInt(ticks) * BigInt(hertz)) / 3_000_000_000n);
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 52 }), fc.nat({ max: 51 }), (any, shift) => {
      const ticks = Math.floor(any / 2 ** shift);
      expect(frequency.cycles(ticks)).toBe(exact(ticks));
    }),
    { seed: 20261123, numRuns: 5000 },
  );
});

it.each(FREQUENCIES)(
  '%i Hz: n cycles have passed at their tick and not one tick earlier',
  (hertz) => {
    const frequency = new Frequency(hertz);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 32 }), (n) => {
        const tick = frequency.ticks(n);
        expect([frequency.cycles(tick), frequency.cycles(tick - 1)]).toEqual([n, n - 1]);
      }),
      { seed: 20261123, numRuns: 5000 },
    );
  },
);
