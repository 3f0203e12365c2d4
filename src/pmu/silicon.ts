import type { Source } from './source.ts';

/** What real processors were seen to count as a retired instruction beside the retired instructions. */
export type Overcount = 'hardwareInterrupts' | 'pageFaults' | 'interruptReturns';

/** How a *silicon* PMU departs from the ideal one; each is off (empty, 0) unless asked for by name. */
export interface Deviations {
  /** One instruction too many for each of these. Weaver, Terpstra and Moore, ISPASS 2013. */
  readonly overcounts: readonly Overcount[];
  /** Ticks from an overflow to its interrupt request. */
  readonly skid: number;
  /** Every so many-th interrupt request gets lost, its status bit is set all the same; 0 for none. rr issue 2720. */
  readonly losesPmi: number;
}

/** Counts exactly what the manual says. */
export const IDEAL: Deviations = { overcounts: [], skid: 0, losesPmi: 0 };

/** Every documented deviation at once, with a skid of the order seen on hardware. */
export const SILICON: Deviations = {
  overcounts: ['hardwareInterrupts', 'pageFaults', 'interruptReturns'],
  skid: 12,
  losesPmi: 0,
};

/** `ideal`, or the deviations that are on, as reports name them. */
export function countingName({ overcounts, skid, losesPmi }: Deviations): string {
  const on = [
    ...overcounts.map((name) => `overcounts ${name}`),
    ...(skid > 0 ? [`skid ${skid}`] : []),
    ...(losesPmi > 0 ? [`loses one PMI in ${losesPmi}`] : []),
  ];
  return on.length === 0 ? 'ideal' : `silicon (${on.join(', ')})`;
}

/** A source as such a PMU counts it: what counts retired instructions counts the deviations, too. */
export const deviating = (source: Source, { overcounts }: Deviations): Source =>
  source.plus.includes('instructions')
    ? { ...source, plus: [...source.plus, ...overcounts] }
    : source;
