/** Ticks of the machine's clock in one second. See docs/contracts.md, "Time". */
export const TICKS_PER_SECOND = 3_000_000_000;

/** The machine's clock as devices see it. */
export interface Clock {
  /** Ticks since power-up; exact up to 2^53. */
  now(): number;
}

/** Below it the quotient by `TICKS_PER_SECOND` of a whole number never rounds up to the next whole number. */
const EXACT_QUOTIENTS = 2 ** 50;

/** A frequency beside the machine's clock, exact in both directions. */
export class Frequency {
  readonly hertz: bigint;
  readonly #perSecond: number;
  readonly #ticksPerSecond = BigInt(TICKS_PER_SECOND);

  constructor(hertz: number) {
    this.#perSecond = hertz;
    this.hertz = BigInt(hertz);
  }

  /** Whole cycles in `ticks`. Devices are polled: as long as doubles are exact, no BigInt. */
  cycles(ticks: number): number {
    const product = ticks * this.#perSecond;
    if (product < EXACT_QUOTIENTS) return Math.floor(product / TICKS_PER_SECOND);
    return Number((BigInt(ticks) * this.hertz) / this.#ticksPerSecond);
  }

  /** Ticks until `cycles` cycles have passed. */
  ticks(cycles: number): number {
    return Number((BigInt(cycles) * this.#ticksPerSecond + this.hertz - 1n) / this.hertz);
  }
}

/** A device that has something to do at a known tick. */
export interface Timed {
  /** The tick of its next event, Infinity when there is none. */
  nextDeadline(): number;
  /** Does what the clock has reached. */
  elapse(): void;
}
