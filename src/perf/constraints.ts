import { bit, isSet, ones } from '../bits/bitfield.ts';
import { type PerfEventAttr, RAW_EVENT_MASK, VLBR_EVENT } from './attr.ts';
import type { HostPebs } from './host-pmu.ts';

/** First bit of the fixed counters in a counter bitmap, and the number of the first of them. */
export const FIXED_BASE = 32;

/** The counters an event may live on, and how many they are. */
export interface Constraint {
  readonly counters: bigint;
  readonly weight: number;
}

/** The counters a PMU has, as perf sees them. */
export interface CounterShape {
  readonly gp: bigint;
  readonly fixed: bigint;
  /** Entries of the legacy LBR stack. */
  readonly lbrStack: number;
  /** Without one nothing can be sampled precisely. */
  readonly pebs: HostPebs | undefined;
}

/** INTEL_PMC_IDX_FIXED_VLBR: no counter, but the place of the one event that claims the LBR stack for a guest. */
export const VLBR_INDEX = 58;

/** Events with a fixed counter. `generalToo`: any general-purpose counter will do as well. */
// biome-ignore format: a table
const FIXED_EVENTS: readonly { config: bigint; fixed: number; generalToo: boolean }[] = [
  { config: 0x00c0n, fixed: 0, generalToo: true  }, // INST_RETIRED.ANY
  { config: 0x003cn, fixed: 1, generalToo: true  }, // CPU_CLK_UNHALTED.CORE
  { config: 0x0300n, fixed: 2, generalToo: false }, // CPU_CLK_UNHALTED.REF_TSC: pseudo encoding
  { config: 0x0400n, fixed: 3, generalToo: false }, // TOPDOWN.SLOTS: pseudo encoding
];

const population = (mask: bigint): number => {
  let count = 0;
  for (let rest = mask; rest > 0n; rest &= rest - 1n) count += 1;
  return count;
};

/** Where an event may live. Edge, inversion and counter mask exist on general-purpose counters only. */
export function constraintOf(
  { config, counter, preciseIp }: Pick<PerfEventAttr, 'config' | 'counter' | 'preciseIp'>,
  { gp, fixed, lbrStack, pebs }: CounterShape,
): Constraint {
  const event = config & RAW_EVENT_MASK;
  if (event === VLBR_EVENT) {
    return lbrStack > 0 ? { counters: bit(VLBR_INDEX), weight: 1 } : { counters: 0n, weight: 0 };
  }
  const row = FIXED_EVENTS.find((candidate) => candidate.config === event);
  let counters = gp;
  if (row) {
    counters = isSet(fixed, bit(row.fixed)) ? bit(FIXED_BASE + row.fixed) : 0n;
    if (row.generalToo) counters |= gp;
  }
  if (counter >= 0) counters &= bit(counter);
  if (preciseIp > 0) counters &= preciseCounters(preciseIp, counters, pebs);
  return { counters, weight: population(counters) };
}

/**
 * Counters that can sample at all: fixed ones with PEBS_BASELINE only. At the highest level those with a precise
 * distribution, of an event that has any (icl_, glc_get_event_constraints).
 */
function preciseCounters(level: number, counters: bigint, pebs: HostPebs | undefined): bigint {
  if (!pebs) return 0n;
  const sampling = pebs.baseline ? counters : counters & ones(FIXED_BASE);
  const exact = sampling & pebs.precise;
  return level === 3 && exact !== 0n ? exact : sampling;
}

/** The lowest free counter of the constraint, a fixed one before any other; -1 if all are taken. */
function pick({ counters }: Constraint, used: bigint): number {
  const free = counters & ~used;
  const fixed = free >> BigInt(FIXED_BASE);
  const [from, base] = fixed > 0n ? [fixed, FIXED_BASE] : [free & ones(FIXED_BASE), 0];
  if (from === 0n) return -1;
  let index = 0;
  while (!isSet(from, bit(index))) index += 1;
  return base + index;
}

/**
 * Gives each event a counter, or answers `undefined` when they do not all fit. `previous` are the
 * counters the events had last; they are kept if every one still fits, otherwise the most constrained
 * event chooses first. `taken` counters are not to be had.
 */
export function assignCounters(
  events: readonly { readonly constraint: Constraint; readonly previous: number }[],
  taken = 0n,
): number[] | undefined {
  let used = taken;
  const kept: number[] = [];
  for (const { constraint, previous } of events) {
    if (previous < 0 || !isSet(constraint.counters, bit(previous)) || isSet(used, bit(previous))) {
      break;
    }
    used |= bit(previous);
    kept.push(previous);
  }
  if (kept.length === events.length) return kept;

  used = taken;
  const assigned = new Array<number>(events.length).fill(-1);
  const byWeight = events
    .map(({ constraint }, place) => ({ constraint, place }))
    .sort((a, b) => a.constraint.weight - b.constraint.weight || a.place - b.place);
  for (const { constraint, place } of byWeight) {
    const index = pick(constraint, used);
    if (index < 0) return undefined;
    used |= bit(index);
    assigned[place] = index;
  }
  return assigned;
}
