import { ones } from '../bits/bitfield.ts';
import type { Totals } from './ports.ts';
import { occurrences, type Source, ticksUntil } from './source.ts';

/** What settling found: no event, some, or so many that the counter went round. */
export type Settled = 'still' | 'moved' | 'wrapped';

/**
 * A counter: a number that wraps at its width. It does not run; it remembers from which point of its source on it
 * has yet to count, and is brought up to date by `settle`.
 */
export class Counter {
  readonly #modulus: bigint;
  readonly #totals: Totals;
  #value = 0n;
  #source: Source | undefined;
  #from = 0n;

  constructor(width: number, totals: Totals) {
    this.#modulus = ones(width) + 1n;
    this.#totals = totals;
  }

  /** The value as of the last settling. */
  get value(): bigint {
    return this.#value;
  }

  /** What it counts; nothing while it is stopped. */
  get source(): Source | undefined {
    return this.#source;
  }

  /** Replaces the value of a settled counter, modulo its width. */
  load(value: bigint): void {
    this.#value = value & (this.#modulus - 1n);
  }

  /** Lets a settled counter count `source` from here on, or stops it. */
  run(source: Source | undefined): void {
    this.#source = source;
    this.#from = source ? occurrences(source, this.#totals) : 0n;
  }

  /** Counts what has happened since the last settling. */
  settle(): Settled {
    if (!this.#source) return 'still';
    const now = occurrences(this.#source, this.#totals);
    if (now === this.#from) return 'still';
    const sum = this.#value + now - this.#from;
    this.#from = now;
    this.#value = sum & (this.#modulus - 1n);
    return sum >= this.#modulus ? 'wrapped' : 'moved';
  }

  /** Ticks that may pass before a settled counter can have wrapped, or seen `events` more if told. */
  horizon(events = this.#modulus - this.#value): number {
    if (!this.#source) return Number.POSITIVE_INFINITY;
    return ticksUntil(this.#source, events, this.#totals);
  }
}
