/** What the APIC timer needs of the world. */
export interface ApicClock {
  /** Ticks since power-up; exact up to 2^53. */
  now(): number;
  /** The time-stamp counter, modulo 2^64. */
  tsc(): bigint;
}

/** Modes by bits 18:17 of the timer's LVT entry. Vol. 3, "APIC Timer". */
export const TIMER_MODE = { ONE_SHOT: 0, PERIODIC: 1, TSC_DEADLINE: 2 } as const;

/** The divide configuration register's bits 3, 1, 0 to the divisor. */
// biome-ignore format: a table
const DIVISORS: Readonly<Record<number, number>> = {
  0: 2,  1: 4,  2: 8,  3: 16,  8: 32,  9: 64,  10: 128,  11: 1,
};

export interface SavedTimer {
  mode: number;
  divide: number;
  initialCount: number;
  /** Tick at which the count reaches 0; -1 while stopped. */
  zeroAt: number;
  tscDeadline: bigint;
}

/** The local APIC's timer in its three modes. It counts nothing: it knows the tick at which the count reaches zero. */
export class ApicTimer {
  readonly #clock: ApicClock;
  readonly #ticksPerCount: number;
  #mode: number = TIMER_MODE.ONE_SHOT;
  #divide = 0;
  #initialCount = 0;
  #zeroAt = -1;
  #tscDeadline = 0n;

  /** @param ticksPerCount ticks in one period of the timer's undivided clock. */
  constructor(clock: ApicClock, ticksPerCount = 1) {
    this.#clock = clock;
    this.#ticksPerCount = ticksPerCount;
  }

  reset(): void {
    this.#mode = TIMER_MODE.ONE_SHOT;
    this.#divide = 0;
    this.#initialCount = 0;
    this.#zeroAt = -1;
    this.#tscDeadline = 0n;
  }

  get divide(): number {
    return this.#divide;
  }

  /** A running count goes on from where it stands, at the new rate. */
  set divide(value: number) {
    const count = this.#zeroAt < 0 ? undefined : this.#remaining();
    this.#divide = value & 0b1011;
    if (count !== undefined) this.#zeroAt = this.#clock.now() + count * this.#period();
  }

  /** Going to or from TSC-deadline mode disarms the timer. */
  set mode(mode: number) {
    if (mode === this.#mode) return;
    if ((mode === TIMER_MODE.TSC_DEADLINE) !== (this.#mode === TIMER_MODE.TSC_DEADLINE)) {
      this.#zeroAt = -1;
      this.#initialCount = 0;
      this.#tscDeadline = 0n;
    }
    this.#mode = mode;
  }

  get initialCount(): number {
    return this.#initialCount;
  }

  /** Starts the count; 0 stops it. Dropped in TSC-deadline mode. */
  set initialCount(count: number) {
    if (this.#mode === TIMER_MODE.TSC_DEADLINE) return;
    this.#initialCount = count;
    this.#zeroAt = count === 0 ? -1 : this.#clock.now() + count * this.#period();
  }

  /** The count as it stands: 0 when expired, stopped or in TSC-deadline mode. */
  get currentCount(): number {
    return this.#zeroAt < 0 ? 0 : this.#remaining();
  }

  get tscDeadline(): bigint {
    return this.#tscDeadline;
  }

  /** Arms the timer; 0 disarms it. Dropped outside TSC-deadline mode. */
  set tscDeadline(deadline: bigint) {
    if (this.#mode === TIMER_MODE.TSC_DEADLINE) this.#tscDeadline = deadline;
  }

  /** The tick at which the timer next expires, Infinity when it is not armed. */
  nextDeadline(): number {
    if (this.#mode !== TIMER_MODE.TSC_DEADLINE) return this.#zeroAt < 0 ? Infinity : this.#zeroAt;
    if (this.#tscDeadline === 0n) return Infinity;
    const left = this.#tscDeadline - this.#clock.tsc();
    return this.#clock.now() + (left > 0n ? Number(left) : 0);
  }

  /** Whether the timer has expired by now; if so it is re-armed (periodic) or stopped. */
  expire(): boolean {
    const deadline = this.nextDeadline();
    if (deadline === Infinity) return false;
    const now = this.#clock.now();
    if (deadline > now) return false;
    if (this.#mode === TIMER_MODE.TSC_DEADLINE) {
      this.#tscDeadline = 0n;
    } else if (this.#mode === TIMER_MODE.PERIODIC) {
      const period = this.#initialCount * this.#period();
      this.#zeroAt += (Math.floor((now - this.#zeroAt) / period) + 1) * period;
    } else {
      this.#zeroAt = -1;
    }
    return true;
  }

  save(): SavedTimer {
    return {
      mode: this.#mode,
      divide: this.#divide,
      initialCount: this.#initialCount,
      zeroAt: this.#zeroAt,
      tscDeadline: this.#tscDeadline,
    };
  }

  restore(saved: SavedTimer): void {
    this.#mode = saved.mode;
    this.#divide = saved.divide;
    this.#initialCount = saved.initialCount;
    this.#zeroAt = saved.zeroAt;
    this.#tscDeadline = saved.tscDeadline;
  }

  /** Ticks in one count. */
  #period(): number {
    return DIVISORS[this.#divide]! * this.#ticksPerCount;
  }

  #remaining(): number {
    return Math.max(0, Math.ceil((this.#zeroAt - this.#clock.now()) / this.#period()));
  }
}
