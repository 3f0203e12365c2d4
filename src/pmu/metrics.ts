import { extract, insert } from '../bits/bitfield.ts';
import { PERF_METRICS } from '../msr/pmu.ts';
import type { Totals } from './ports.ts';
import { occurrences, of, type Source } from './source.ts';
import type { Total } from './totals.ts';

/** The eight fractions of MSR_PERF_METRICS and what each counts; the second half refines the first. */
// biome-ignore format: a table
const FRACTIONS: readonly { readonly field: bigint; readonly source: Source }[] = [
  { field: PERF_METRICS.RETIRING,           source: of('slotsRetiring') },
  { field: PERF_METRICS.BAD_SPECULATION,    source: of('slotsBadSpeculation') },
  { field: PERF_METRICS.FRONT_END_BOUND,    source: of('slotsFrontEnd') },
  { field: PERF_METRICS.BACK_END_BOUND,     source: of('slotsBackEnd') },
  { field: PERF_METRICS.HEAVY_OPERATIONS,   source: { plus: [] } },
  { field: PERF_METRICS.BRANCH_MISPREDICTS, source: of('slotsBadSpeculation') },
  { field: PERF_METRICS.FETCH_LATENCY,      source: of('slotsFrontEnd') },
  { field: PERF_METRICS.MEMORY_BOUND,       source: of('slotsMemoryBound') },
];

/** The totals that running metrics read. */
export const METRICS_READ: readonly Total[] = FRACTIONS.flatMap(({ source }) => source.plus);

const WHOLE = 255n;

/**
 * MSR_PERF_METRICS: what share of the slots that fixed counter 3 has counted went where, each as a fraction of 255.
 * Vol. 3, "Performance Metrics".
 */
export class PerfMetrics {
  readonly #totals: Totals;
  #counts: bigint[] = FRACTIONS.map(() => 0n);
  #from: bigint[] | undefined;

  constructor(totals: Totals) {
    this.#totals = totals;
  }

  /** Counts what has happened since the last settling. */
  settle(): void {
    if (!this.#from) return;
    const from = this.#from;
    const now = this.#now();
    this.#counts = this.#counts.map((count, i) => count + now[i]! - from[i]!);
    this.#from = now;
  }

  /** Lets settled metrics count from here on, or stops them. */
  run(running: boolean): void {
    this.#from = running ? this.#now() : undefined;
  }

  /** The register, given what fixed counter 3 holds; rounded to the nearest, 0 before the first slot. */
  read(slots: bigint): bigint {
    return FRACTIONS.reduce((value, { field }, i) => {
      const share = slots === 0n ? 0n : (this.#counts[i]! * WHOLE * 2n + slots) / (slots * 2n);
      return insert(value, field, share > WHOLE ? WHOLE : share);
    }, 0n);
  }

  /** Takes the fractions over, of the slots that fixed counter 3 holds now; writing 0 starts a measurement. */
  write(value: bigint, slots: bigint): void {
    this.#counts = FRACTIONS.map(({ field }) => (extract(value, field) * slots) / WHOLE);
  }

  save(): readonly bigint[] {
    return [...this.#counts];
  }

  restore(counts: readonly bigint[]): void {
    this.#counts = [...counts];
    this.#from = undefined;
  }

  #now(): bigint[] {
    return FRACTIONS.map(({ source }) => occurrences(source, this.#totals));
  }
}
