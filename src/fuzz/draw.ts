import seedrandom from 'seedrandom';

const { alea } = seedrandom as unknown as { alea: (seed: string) => seedrandom.PRNG };

/** Draws from one seed; the same seed draws the same for ever. */
export class Draw {
  readonly #next: () => number;

  constructor(seed: string) {
    this.#next = alea(seed);
  }

  /** A whole number from 0 to `limit` − 1. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  /** One of the rows, as often as its weight says. */
  weighted<T>(rows: readonly (readonly [weight: number, choice: T])[]): T {
    let rest = this.#next() * rows.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, choice] of rows) {
      rest -= weight;
      if (rest < 0) return choice;
    }
    return rows.at(-1)![1];
  }

  bits64(): bigint {
    const half = () => BigInt(Math.floor(this.#next() * 2 ** 32));
    return (half() << 32n) | half();
  }
}
