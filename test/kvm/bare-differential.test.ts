import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bareReadings, hostedReadings, programOf, rounds } from './bare-differential.ts';

describe('a random guest that programs its PMU, where nobody steals a counter', () => {
  it.each(['emulated', 'mediated'] as const)(
    'reads under the %s vPMU what it reads on a processor that has this PMU',
    (design) => {
      fc.assert(
        fc.property(rounds, (all) => {
          const code = programOf(all);
          expect(hostedReadings(code, design)).toEqual(bareReadings(code));
        }),
        { seed: 2026, numRuns: 60 },
      );
    },
    120_000,
  );
});
