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
        { seed: 2026, numRuns: 25 },
      );
    },
    120_000,
  );
});

describe('an overflow by the very write that lets the counter interrupt', () => {
  // The opening WRMSR is 1, four for another MSR, seven to read, three MOVs, and the write is the sixteenth.
  const code = programOf([
    {
      settings: [
        { do: 'fixed counter', distance: 16n },
        { do: 'fixed control', fixedControl: 1n },
      ],
      open: 0x1_0000_0000n,
      work: [
        { do: 'other MSR' },
        { do: 'read by RDPMC', index: 0 },
        { do: 'fixed control', fixedControl: 0xbn },
      ],
    },
  ]);
  /** GLOBAL_STATUS, second but last of what is reported. */
  const status = (readings: readonly bigint[]) => readings.at(-2);

  it('interrupts on the processor and under a mediated vPMU', () => {
    // Counter 0 by RDPMC, then by the handler the status and where it was, then eight counters and three registers.
    expect(bareReadings(code)).toHaveLength(14);
    expect(hostedReadings(code, 'mediated')).toHaveLength(14);
  });

  it('only sets status under the emulated one, which takes INT from the event it made before', () => {
    const readings = hostedReadings(code, 'emulated');
    expect(readings).toHaveLength(12);
    expect(status(readings)).toBe(0x1_0000_0000n);
    expect(status(bareReadings(code))).toBe(0x1_0000_0000n);
  });
});
