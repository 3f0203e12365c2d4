import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PmuBench } from './bench.ts';

const CTRL = 0x38f;
const TICKS = 100; // in a turn

/** What a program does in one turn: of each event so many per tick, at least and at most what the bound is told. */
interface Phase {
  readonly branches: number;
  readonly loads: number;
  readonly nops: number;
}
const EVENTS = { branches: 0x00c4, loads: 0x81d0, nops: 0x02c0 } as const;
type Event = keyof typeof EVENTS;
const NAMES = Object.keys(EVENTS) as Event[];

/** One counter goes round three events, a turn each, as a guest's kernel has it; each estimate is count × enabled ÷ running. */
function multiplex(phases: readonly Phase[]) {
  const bench = new PmuBench();
  const counted = { branches: 0, loads: 0, nops: 0 };
  const ran = { branches: 0, loads: 0, nops: 0 };
  const truth = { branches: 0, loads: 0, nops: 0 };
  phases.forEach((phase, turn) => {
    const on = NAMES[turn % NAMES.length]!;
    bench.write(CTRL, 0n);
    bench.write(0xc1, 0n);
    bench.write(0x186, 0x43_0000n | BigInt(EVENTS[on]));
    bench.write(CTRL, 1n);
    for (const name of NAMES) {
      bench.happen({ [name]: phase[name] });
      truth[name] += phase[name];
    }
    counted[on] += Number(bench.read(0xc1));
    ran[on] += TICKS;
  });
  const enabled = phases.length * TICKS;
  return NAMES.map((name) => ({
    name,
    truth: truth[name],
    running: ran[name],
    enabled,
    estimate: (counted[name] * enabled) / ran[name],
  }));
}

describe('multiplexing', () => {
  it('estimates a steady program exactly', () => {
    const steady = { branches: 20, loads: 35, nops: 3 };
    for (const { truth, estimate } of multiplex(Array.from({ length: 30 }, () => steady))) {
      expect(estimate).toBeCloseTo(truth, 6);
    }
  });

  it('errs by no more than (highest rate − lowest rate) × time without a counter', () => {
    const rate = fc.integer({ min: 0, max: TICKS });
    const phase = fc.record({ branches: rate, loads: rate, nops: rate });
    fc.assert(
      fc.property(fc.array(phase, { minLength: 3, maxLength: 40 }), (phases) => {
        for (const { name, truth, running, enabled, estimate } of multiplex(phases)) {
          const rates = phases.map((each) => each[name] / TICKS);
          const bound = (Math.max(...rates) - Math.min(...rates)) * (enabled - running);
          expect(Math.abs(estimate - truth)).toBeLessThanOrEqual(bound + 1e-6);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('errs as badly as the bound allows when the program keeps time with the rotation', () => {
    const busy = { branches: TICKS, loads: 0, nops: 0 };
    const idle = { branches: 0, loads: 0, nops: 0 };
    const phases = Array.from({ length: 30 }, (_, turn) => (turn % 3 === 0 ? busy : idle));
    const [branches] = multiplex(phases);
    expect(branches).toMatchObject({ truth: 1000, estimate: 3000 });
  });
});
