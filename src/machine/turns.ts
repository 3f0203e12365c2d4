import type { Left } from './budget.ts';

/**
 * Ticks each of several processors runs before the next one's turn. A prime, so that no loop ends every turn at the same
 * place: one that opens a lock for an instruction or two would never let anybody in.
 */
const QUANTUM = 9_973n;

/** A processor that takes turns with others. */
export interface TurnTaker {
  /** Its clock, in ticks. */
  now(): bigint;
  /** Runs on within what is left. Whether nothing of its own can ever wake it. */
  run(left: Left): boolean;
  /** Lets its clock reach `until` without doing anything. */
  wait(until: bigint): void;
  /** Whether something wants it to go on. */
  wakes(): boolean;
  /** Its turn has ended: others come before it goes on. */
  ended?(): void;
}

/** Processors that run one after the other, all to the end of a round before any begins the next: always in the same order. */
export class Turns {
  readonly #processors: readonly TurnTaker[];
  /** The tick at which all processors will have had their turn. */
  #round = 0n;
  #turn = 0;
  /** Processors that were asleep for ever at the end of their turn in this round. */
  #asleep = 0;

  constructor(processors: readonly TurnTaker[]) {
    this.#processors = processors;
  }

  /** Whose turn it is. */
  get current(): number {
    return this.#turn;
  }

  /**
   * Runs the processor whose turn it is, within what is left; one that sleeps waits for the end of the round, whatever
   * is left. Whether all of them sleep for ever.
   */
  run(left: Left): boolean {
    if (this.#turn === 0 && this.#processors[0]!.now() >= this.#round) {
      this.#round = this.#processors[0]!.now() + QUANTUM;
      this.#asleep = 0;
    }
    const processor = this.#processors[this.#turn]!;
    const until = this.#round - processor.now();
    if (until > 0n && processor.run({ ...left, ticks: until })) {
      this.#asleep += 1;
      processor.wait(this.#round);
    }
    if (processor.now() < this.#round) return false;
    processor.ended?.();
    this.#turn = (this.#turn + 1) % this.#processors.length;
    if (this.#turn !== 0 || this.#asleep < this.#processors.length) return false;
    // One that slept first may have been woken by one that slept later.
    return this.#processors.every((each) => !each.wakes());
  }

  save() {
    return { round: this.#round, turn: this.#turn, asleep: this.#asleep };
  }

  restore({ round, turn, asleep }: ReturnType<Turns['save']>): void {
    this.#round = round;
    this.#turn = turn;
    this.#asleep = asleep;
  }
}
