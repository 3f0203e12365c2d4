import { extract, isSet } from '../bits/bitfield.ts';
import { FIXED_CTR, PERFEVTSEL } from '../msr/pmu.ts';
import type { EventRow } from './events.ts';
import { NOTHING, type Source } from './source.ts';

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

/** An encoding as event select and unit mask in one number, as `r00c0` writes it. */
export const encoding = (event: number, umask: number): number => (umask << 8) | event;

/** The encoding that an IA32_PERFEVTSELx value selects. */
export const selectedEncoding = (select: bigint): number =>
  Number(select & (PERFEVTSEL.EVENT | PERFEVTSEL.UMASK));

/** How IA32_PERFEVTSELx reads, given the row of the event it selects, if the model has one. */
export function generalSelection(select: bigint, row: EventRow | undefined): Selection {
  return {
    enabled: isSet(select, PERFEVTSEL.EN),
    usr: isSet(select, PERFEVTSEL.USR),
    os: isSet(select, PERFEVTSEL.OS),
    pmi: isSet(select, PERFEVTSEL.INT),
    source: row
      ? perCycle(row, {
          atLeast: Number(extract(select, PERFEVTSEL.CMASK)),
          inverted: isSet(select, PERFEVTSEL.INV),
        })
      : NOTHING,
  };
}

/** How fixed counter `index`'s nibble of IA32_FIXED_CTR_CTRL reads. */
export function fixedSelection(control: bigint, index: number, source: Source): Selection {
  const nibble = control >> BigInt(4 * index);
  const usr = isSet(nibble, FIXED_CTR.USR);
  const os = isSet(nibble, FIXED_CTR.OS);
  return { enabled: usr || os, usr, os, pmi: isSet(nibble, FIXED_CTR.PMI), source };
}

/**
 * CMASK and INV: not occurrences, but modelled cycles with at least (less than) so many of them.
 * The modelled core has at most one occurrence of an event in a cycle, and slots fill whole cycles.
 */
function perCycle(row: EventRow, compare: { atLeast: number; inverted: boolean }): Source {
  const { source, perCycle: most = 1 } = row;
  const { atLeast, inverted } = compare;
  if (atLeast === 0) return source;
  const never = atLeast > most;
  if (inverted) return never ? { plus: ['cycles'] } : { plus: ['cycles'], minus: source.plus };
  return never ? NOTHING : { ...source, per: most };
}
