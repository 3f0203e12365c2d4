import { readBy, type Source } from './source.ts';
import type { Total } from './totals.ts';

/**
 * Where cycles come from. `'unit'`: every instruction, and every further iteration of a REP, takes one cycle and
 * fills its one slot, nothing misses and nothing is mispredicted. `'modelled'`: from the core's micro-architecture model.
 */
export type Timing = 'unit' | 'modelled';

/** What counts in unit timing instead of totals that only the model moves. */
const IN_UNIT_TIMING: ReadonlyMap<Total, Total> = new Map([
  ['cycles', 'unhaltedTicks'],
  ['slots', 'unhaltedTicks'],
  ['slotsRetiring', 'unhaltedTicks'],
]);

/** The totals that only the model moves and unit timing has nothing for. */
// biome-ignore format: a table
const MODEL_ONLY: ReadonlySet<Total> = new Set([
  'slotsBadSpeculation', 'slotsFrontEnd', 'slotsBackEnd', 'slotsMemoryBound', 'mispredictedBranches',
  'mispredictedConditional', 'l1dMisses', 'l2Misses', 'llcReferences', 'llcMisses', 'loadWalks', 'storeWalks', 'codeWalks',
]);

/** A source as it is read under this timing; undefined if only the model could say. */
export function timed(source: Source, timing: Timing): Source | undefined {
  if (timing === 'modelled') return source;
  if (readBy(source).some((name) => MODEL_ONLY.has(name))) return undefined;
  const inUnits = (names: readonly Total[]) =>
    names.map((name) => IN_UNIT_TIMING.get(name) ?? name);
  return { ...source, plus: inUnits(source.plus), minus: inUnits(source.minus ?? []) };
}
