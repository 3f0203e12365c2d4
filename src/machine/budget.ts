import { TICKS_PER_SECOND } from '../platform/clock.ts';

/** How far a run may go, counted from power-up. */
export interface Budget {
  /** Instructions that the guest retires. */
  readonly maxInstructions?: bigint;
  /** Ticks of the machine's clock. */
  readonly maxTicks?: bigint;
}

/** Ticks of one stretch that nothing bounds: then somebody looks whether the guest still does anything. */
const LONGEST_STRETCH = BigInt(TICKS_PER_SECOND);
/** A guest that has retired nothing for an hour of its time will not be woken by what keeps firing unheard. */
const AN_HOUR = 3600n * BigInt(TICKS_PER_SECOND);

/** What is left of a budget, never more than a stretch; none or less when it is used up. */
export interface Left {
  /** Ticks that may pass. */
  readonly ticks: bigint;
  /** Instructions, and with them ticks of a running processor, that may pass. */
  readonly instructions: bigint;
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);

export function leftOf(
  { maxInstructions, maxTicks }: Budget,
  spent: { instructions: bigint; ticks: bigint },
): Left {
  const within = (most: bigint | undefined, used: bigint) =>
    most === undefined ? LONGEST_STRETCH : least(LONGEST_STRETCH, most - used);
  return {
    ticks: within(maxTicks, spent.ticks),
    instructions: within(maxInstructions, spent.instructions),
  };
}

export const isUsedUp = ({ ticks, instructions }: Left): boolean =>
  ticks <= 0n || instructions <= 0n;

/** Ticks in which neither part of what is left can be overdrawn. */
export const runningLeft = ({ ticks, instructions }: Left): bigint => least(ticks, instructions);

/** Notices a guest that sleeps for ever although some device keeps interrupting in vain. */
export class Stillness {
  #instructions = 0n;
  #since = 0n;

  /** Whether the guest has retired nothing for too long. */
  lasts({ instructions, ticks }: { instructions: bigint; ticks: bigint }): boolean {
    if (instructions === this.#instructions) return ticks - this.#since > AN_HOUR;
    this.#instructions = instructions;
    this.#since = ticks;
    return false;
  }

  save() {
    return { instructions: this.#instructions, since: this.#since };
  }

  restore(saved: ReturnType<Stillness['save']>): void {
    this.#instructions = saved.instructions;
    this.#since = saved.since;
  }
}
