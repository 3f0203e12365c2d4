import { extract, isSet } from '../bits/bitfield.ts';
import { FIXED_CTR, PERFEVTSEL } from '../msr/pmu.ts';
import type { EventRow, Spread } from './events.ts';
import { NOTHING, of, type Source, without } from './source.ts';

/** What a counter has been told to do, however it was told. */
export interface Selection {
  readonly enabled: boolean;
  readonly usr: boolean;
  readonly os: boolean;
  /** Ask for a PMI on overflow. */
  readonly pmi: boolean;
  readonly source: Source;
}

export const OFF: Selection = {
  enabled: false,
  usr: false,
  os: false,
  pmi: false,
  source: NOTHING,
};

/** An encoding as event select and unit mask in one number, as `r00c0` writes it; UMASK2 from bit 16 on. */
export const encoding = (event: number, umask: number): number => (umask << 8) | event;

/** The encoding that an IA32_PERFEVTSELx value selects. */
export const selectedEncoding = (select: bigint): number =>
  Number(select & (PERFEVTSEL.EVENT | PERFEVTSEL.UMASK)) |
  (Number(extract(select, PERFEVTSEL.UMASK2)) << 16);

/**
 * How IA32_PERFEVTSELx reads, given the row of the event it selects.
 * @returns undefined if the model does not know the event, or nothing of it in single cycles when that is asked.
 */
export function generalSelection(select: bigint, row: EventRow | undefined): Selection | undefined {
  const source = row && filtered(row, select);
  if (!source) return undefined;
  return {
    enabled: isSet(select, PERFEVTSEL.EN),
    usr: isSet(select, PERFEVTSEL.USR) && row.level !== 'os',
    os: isSet(select, PERFEVTSEL.OS) && row.level !== 'usr',
    pmi: isSet(select, PERFEVTSEL.INT),
    source,
  };
}

/** How a fixed counter's part of IA32_FIXED_CTR_CTRL reads. */
export function fixedSelection(control: bigint, source: Source): Selection {
  const usr = isSet(control, FIXED_CTR.USR);
  const os = isSet(control, FIXED_CTR.OS);
  return { enabled: usr || os, usr, os, pmi: isSet(control, FIXED_CTR.PMI), source };
}

const CYCLES = of('cycles');
const WAKES = of('halts');

/**
 * CMASK, INV, EQ and EDGE: not occurrences, but modelled cycles whose number of occurrences compares, or the changes
 * from a cycle that does not to one that does. Vol. 3, "Architectural Performance Monitoring Version 1".
 */
function filtered({ source, spread }: EventRow, select: bigint): Source | undefined {
  const edge = isSet(select, PERFEVTSEL.EDGE);
  const cmask = Number(extract(select, PERFEVTSEL.CMASK));
  if (cmask === 0 && !edge) return source;
  if (spread === 'unmodelled') return undefined;

  const { width, cycles, rises }: Spread = spread ?? { width: 1, cycles: source, rises: source };
  const threshold = cmask === 0 ? 1 : cmask;
  const inverted = cmask !== 0 && isSet(select, PERFEVTSEL.INV);
  const holds = (count: number): boolean =>
    (isSet(select, PERFEVTSEL.EQ) ? count === threshold : count >= threshold) !== inverted;

  if (!holds(width) && !holds(0)) return NOTHING;
  if (holds(width) && holds(0)) return edge ? WAKES : CYCLES;
  if (edge) return rises;
  return holds(width) ? cycles : without(CYCLES, cycles);
}
