import { describe, expect, it } from 'vitest';
import { TOTALS } from '../../src/cpu/state/layout.ts';
import {
  ARCHITECTURAL_EVENTS,
  type EventRow,
  FIXED_EVENTS,
  SAPPHIRE_RAPIDS_EVENTS,
  SKYLAKE_EVENTS,
} from '../../src/pmu/events.ts';
import { readBy } from '../../src/pmu/source.ts';
import { MOST_PER_TICK } from '../../src/pmu/totals.ts';

const ALL = { SAPPHIRE_RAPIDS_EVENTS, SKYLAKE_EVENTS, ARCHITECTURAL_EVENTS, FIXED_EVENTS };

describe.each(Object.entries(ALL))('%s', (_name, events: readonly EventRow[]) => {
  it('have each name once, and each encoding once beside those with filters of their own', () => {
    const names = events.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const plain = events.filter(({ select }) => select === undefined);
    const encodings = plain.map(({ event, umask }) => `${event} ${umask}`);
    expect(new Set(encodings).size).toBe(encodings.length);
  });

  it('with filters of their own have a plain row beside them', () => {
    for (const row of events.filter(({ select }) => select !== undefined)) {
      const plain = events.find(
        ({ event, umask, select }) =>
          select === undefined && event === row.event && umask === row.umask,
      );
      expect(plain, row.name).toBeDefined();
    }
  });
});

it('are the thirteen architectural ones, in the order of their bits', () => {
  // biome-ignore format: a table
  expect(ARCHITECTURAL_EVENTS.map(({ event, umask }) => [event, umask])).toEqual([
    [0x3c, 0x00], [0xc0, 0x00], [0x3c, 0x01], [0x2e, 0x4f], [0x2e, 0x41], [0xc4, 0x00], [0xc5, 0x00],
    [0xa4, 0x01], [0xa4, 0x02], [0x73, 0x00], [0x9c, 0x01], [0xc2, 0x02], [0xe4, 0x01],
  ]);
});

it('are at least forty exact ones on Sapphire Rapids', () => {
  const exact = [...SAPPHIRE_RAPIDS_EVENTS, ...FIXED_EVENTS].filter(
    ({ exactness }) => exactness === 'exact',
  );
  expect(exact.length).toBeGreaterThanOrEqual(40);
});

/** From Intel's lists for the two processors. */
// biome-ignore format: a table
it.each([
  [SAPPHIRE_RAPIDS_EVENTS, 'BR_INST_RETIRED.COND',             0xc4, 0x11],
  [SAPPHIRE_RAPIDS_EVENTS, 'BR_INST_RETIRED.COND_TAKEN',       0xc4, 0x01],
  [SAPPHIRE_RAPIDS_EVENTS, 'BR_INST_RETIRED.INDIRECT',         0xc4, 0x80],
  [SAPPHIRE_RAPIDS_EVENTS, 'INST_RETIRED.REP_ITERATION',       0xc0, 0x08],
  [SAPPHIRE_RAPIDS_EVENTS, 'MISC2_RETIRED.LFENCE',             0xe0, 0x20],
  [SAPPHIRE_RAPIDS_EVENTS, 'TOPDOWN.BAD_SPEC_SLOTS',           0xa4, 0x04],
  [SAPPHIRE_RAPIDS_EVENTS, 'DTLB_LOAD_MISSES.WALK_COMPLETED',  0x12, 0x0e],
  [SAPPHIRE_RAPIDS_EVENTS, 'CPU_CLK_UNHALTED.REF_TSC_P',       0x3c, 0x01],
  [SKYLAKE_EVENTS,         'BR_INST_RETIRED.CONDITIONAL',      0xc4, 0x01],
  [SKYLAKE_EVENTS,         'DTLB_LOAD_MISSES.WALK_COMPLETED',  0x08, 0x0e],
  [SKYLAKE_EVENTS,         'UOPS_RETIRED.RETIRE_SLOTS',        0xc2, 0x02],
  [SKYLAKE_EVENTS,         'SW_PREFETCH_ACCESS.T0',            0x32, 0x02],
] as const)('%# %s is where Intel has it', (events: readonly EventRow[], name, event, umask) => {
  expect(events.find((row) => row.name === name)).toMatchObject({ event, umask });
});

it('read totals that the core keeps', () => {
  const read = new Set([...Object.values(ALL)].flat().flatMap(({ source }) => readBy(source)));
  for (const total of [...read, ...Object.keys(MOST_PER_TICK)]) expect(TOTALS).toContain(total);
});
