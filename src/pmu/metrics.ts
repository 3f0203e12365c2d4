import { extract, insert } from '../bits/bitfield.ts';
import { PERF_METRICS } from '../msr/pmu.ts';
import type { Totals } from './ports.ts';
import { NOTHING, occurrences, of, readBy, type Source } from './source.ts';
import { type Timing, timed } from './timing.ts';
import type { Total } from './totals.ts';

/** The eight fractions of MSR_PERF_METRICS and what each counts; the second half refines the first. */
// biome-ignore format: a table
const FRACTIONS: readonly { readonly field: bigint; readonly source: Source }[] = [
  { field: PERF_METRICS.RETIRING,           source: of('slotsRetiring') },
  { field: PERF_METRICS.BAD_SPECULATION,    source: of('slotsBadSpeculation') },
  { field: PERF_METRICS.FRONT_END_BOUND,    source: of('slotsFrontEnd') },
  { field: PERF_METRICS.BACK_END_BOUND,     source: of('slotsBackEnd') },
  { field: PERF_METRICS.HEAVY_OPERATIONS,   source: NOTHING },
  { field: PERF_METRICS.BRANCH_MISPREDICTS, source: of('slotsBadSpeculation') },
  { field: PERF_METRICS.FETCH_LATENCY,      source: of('slotsFrontEnd') },
  { field: PERF_METRICS.MEMORY_BOUND,       source: of('slotsMemoryBound') },
];

const WHOLE = 255n;

/**
 * MSR_PERF_METRICS: what share of the slots that fixed counter 3 has counted went where, each as a fraction of 255.
 * Vol. 3, "Performance Metrics".
 */
export class PerfMetrics {
  /** The totals that it reads while it runs. */
  readonly reads: readonly Total[];
  readonly #totals: Totals;
  readonly #sources: readonly Source[];
  #counts: bigint[] = FRACTIONS.map(() => 0n);
  #from: bigint[] | undefined;

  constructor(totals: Totals, timing: Timing) {
    this.#totals = totals;
    // Unit timing wastes no slot: what it has nothing for is 0.
    this.#sources = FRACTIONS.map(({ source }) => timed(source, timing) ?? NOTHING);
    this.reads = this.#sources.flatMap(readBy);
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
    return this.#sources.map((source) => occurrences(source, this.#totals));
  }
}
