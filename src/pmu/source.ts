import type { Totals } from './ports.ts';
import { MOST_PER_TICK, type Total } from './totals.ts';

/**
 * What a counter counts, as a function of the totals: the sum of `plus` without the sum of `minus`,
 * divided by `per` and rounded down. It never decreases.
 */
export interface Source {
  readonly plus: readonly Total[];
  readonly minus?: readonly Total[];
  readonly per?: number;
}

/** Counts 0 for ever. */
export const NOTHING: Source = { plus: [] };

/** One count for each of these. */
export const of = (...plus: Total[]): Source => ({ plus });

/** The difference of two sources, neither of which divides. */
export const without = (a: Source, b: Source): Source => ({
  plus: [...a.plus, ...(b.minus ?? [])],
  minus: [...(a.minus ?? []), ...b.plus],
});

/** Every total that the source reads. */
export const readBy = ({ plus, minus = [] }: Source): readonly Total[] => [...plus, ...minus];

const sum = (names: readonly Total[], totals: Totals): bigint =>
  names.reduce((value, name) => value + totals.read(name), 0n);

const undivided = ({ plus, minus = [] }: Source, totals: Totals): bigint =>
  sum(plus, totals) - sum(minus, totals);

/** How often the source's event has happened. */
export const occurrences = (source: Source, totals: Totals): bigint =>
  undivided(source, totals) / BigInt(source.per ?? 1);

/**
 * Ticks that may pass before the source can have counted `remaining` more; at least 1, because the core stops
 * only between instructions.
 */
export function ticksUntil(source: Source, remaining: bigint, totals: Totals): number {
  const rate = source.plus.reduce((most, name) => most + MOST_PER_TICK[name], 0);
  if (rate === 0) return Number.POSITIVE_INFINITY;
  const per = BigInt(source.per ?? 1);
  const now = undivided(source, totals);
  const missing = (now / per + remaining) * per - now;
  return Math.max(1, Number(missing / BigInt(rate)));
}
