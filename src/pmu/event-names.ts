import { insert, maskOf } from '../bits/bitfield.ts';
import { PERFEVTSEL } from '../msr/pmu.ts';
import { type EventRow, FIXED_EVENTS } from './events.ts';

const { EVENT, UMASK, UMASK2, EDGE, PC, ANY_THREAD, INV, CMASK, EQ } = PERFEVTSEL;

/** The bits of IA32_PERFEVTSELx that choose an event; the others are whoever programs the counter's to set. */
export const EVENT_CHOICE = maskOf(EVENT, UMASK, UMASK2, EDGE, PC, ANY_THREAD, INV, CMASK, EQ);

/** The bits of IA32_PERFEVTSELx that choose this event. */
export const configOf = ({ event, umask, select = 0n }: EventRow): bigint =>
  insert(select, EVENT, BigInt(event)) | insert(0n, UMASK, BigInt(umask));

/** perf's generic names, and the encodings that Linux gives them on Intel; 0300H and 0400H are fixed counters'. */
// biome-ignore format: a table
export const GENERIC_EVENTS: Readonly<Record<string, bigint>> = {
  'cpu-cycles':          0x003cn,  'cycles':       0x003cn,  'instructions':  0x00c0n,
  'cache-references':    0x4f2en,  'cache-misses': 0x412en,
  'branch-instructions': 0x00c4n,  'branches':     0x00c4n,  'branch-misses': 0x00c5n,
  'bus-cycles':          0x013cn,  'ref-cycles':   0x0300n,  'slots':         0x0400n,
};

/** perf's names of cache events, and Intel's of what Linux counts for them; the offcore ones are not there. */
// biome-ignore format: a table
const CACHE_EVENTS: Readonly<Record<string, string>> = {
  'L1-dcache-loads':  'MEM_INST_RETIRED.ALL_LOADS',       'L1-dcache-load-misses': 'L1D.REPLACEMENT',
  'L1-dcache-stores': 'MEM_INST_RETIRED.ALL_STORES',
  'dTLB-loads':       'MEM_INST_RETIRED.ALL_LOADS',       'dTLB-load-misses':      'DTLB_LOAD_MISSES.WALK_COMPLETED',
  'dTLB-stores':      'MEM_INST_RETIRED.ALL_STORES',      'dTLB-store-misses':     'DTLB_STORE_MISSES.WALK_COMPLETED',
  'iTLB-load-misses': 'ITLB_MISSES.WALK_COMPLETED',
  'branch-loads':     'BR_INST_RETIRED.ALL_BRANCHES',     'branch-load-misses':    'BR_MISP_RETIRED.ALL_BRANCHES',
};

/** The row that `config` selects: the one defined with these very CMASK, INV and EDGE, or the plain one of its encoding. */
export function eventOf(config: bigint, events: readonly EventRow[]): EventRow | undefined {
  const all = [...events, ...FIXED_EVENTS];
  const encoding = config & (EVENT | UMASK | UMASK2);
  return (
    all.find((row) => row.select !== undefined && configOf(row) === (config & EVENT_CHOICE)) ??
    all.find((row) => row.select === undefined && configOf(row) === encoding)
  );
}

/** The encoding of a generic, cache or Intel name, in any case. */
export function configNamed(name: string, events: readonly EventRow[]): bigint | undefined {
  const wanted = name.toLowerCase();
  const generic = Object.hasOwn(GENERIC_EVENTS, wanted) ? GENERIC_EVENTS[wanted] : undefined;
  if (generic !== undefined) return generic;
  const cache = Object.keys(CACHE_EVENTS).find((each) => each.toLowerCase() === wanted);
  const intel = (cache ? CACHE_EVENTS[cache]! : name).toLowerCase();
  const row = [...events, ...FIXED_EVENTS].find((each) => each.name.toLowerCase() === intel);
  return row && configOf(row);
}

/** The known name that is most like `name`, if any is like it at all. */
export function likeliest(name: string, events: readonly EventRow[]): string | undefined {
  const known = [
    ...Object.keys(GENERIC_EVENTS),
    ...Object.keys(CACHE_EVENTS),
    ...[...events, ...FIXED_EVENTS].map((e) => e.name),
  ];
  const ranked = known
    .map((each) => ({ each, distance: editDistance(name.toLowerCase(), each.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.max(2, name.length / 4) ? best.each : undefined;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
