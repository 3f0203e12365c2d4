import { CounterpointError } from '../bits/error.ts';
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

/** The deviations by the names under which users switch them on; those that take a number say of what. */
export const DEVIATIONS: Readonly<
  Record<string, { title: string; takes?: string; on(number: number): Partial<Deviations> }>
> = {
  'overcount-interrupts': {
    title: 'one instruction too many for each hardware interrupt',
    on: () => ({ overcounts: ['hardwareInterrupts'] }),
  },
  'overcount-page-faults': {
    title: 'one instruction too many for each page fault',
    on: () => ({ overcounts: ['pageFaults'] }),
  },
  'overcount-iret': {
    title: 'one instruction too many for each IRET',
    on: () => ({ overcounts: ['interruptReturns'] }),
  },
  skid: {
    title: 'PMIs come so many ticks after the overflow',
    takes: 'ticks',
    on: (skid) => ({ skid }),
  },
  'lost-pmi': {
    title: 'one PMI in so many gets lost',
    takes: 'requests',
    on: (losesPmi) => ({ losesPmi }),
  },
  silicon: { title: 'all three overcounts, and a skid of 12 ticks', on: () => SILICON },
};
const LARGEST_NUMBER = 1_000_000;

/** Reads a list as `overcount-iret,skid=20`; `ideal` is none. @throws CounterpointError `bad-deviation` */
export function readDeviations(text: string): Deviations {
  let whole = IDEAL;
  for (const item of text.split(',')) {
    const added = readDeviation(item);
    const overcounts = [...new Set([...whole.overcounts, ...(added.overcounts ?? [])])];
    whole = { ...whole, ...added, overcounts };
  }
  return whole;
}

function readDeviation(item: string): Partial<Deviations> {
  const [name = '', digits] = item.split('=');
  if (name === 'ideal' && digits === undefined) return IDEAL;
  const row = Object.hasOwn(DEVIATIONS, name) ? DEVIATIONS[name] : undefined;
  if (!row) {
    const names = ['ideal', ...Object.keys(DEVIATIONS)].join(', ');
    throw new CounterpointError('bad-deviation', `there is no deviation '${name}': ${names}`);
  }
  const number = /^\d+$/.test(digits ?? '') ? Number(digits) : 0;
  const wanted = row.takes !== undefined;
  if (wanted ? number < 1 || number > LARGEST_NUMBER : digits !== undefined) {
    const form = wanted ? `${name}=<${row.takes}>, 1 to ${LARGEST_NUMBER}` : `${name} alone`;
    throw new CounterpointError('bad-deviation', `deviation '${item}': write ${form}`);
  }
  return row.on(number);
}

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
