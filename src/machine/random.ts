import seedrandom from 'seedrandom';

/** 64 random bits at a time, the same for a seed for ever. */
export class RandomSource {
  #random: seedrandom.StatefulPRNG<seedrandom.State.Arc4>;
  /** What was saved or restored last, while nothing has been drawn since. */
  #unmoved: seedrandom.State.Arc4 | undefined;

  constructor(seed: string) {
    this.#random = seedrandom(seed, { state: true });
  }

  readonly next = (): bigint => {
    this.#unmoved = undefined;
    const word = () => BigInt(this.#random.int32() >>> 0);
    return (word() << 32n) | word();
  };

  save(): seedrandom.State.Arc4 {
    this.#unmoved ??= this.#random.state();
    return this.#unmoved;
  }

  restore(saved: seedrandom.State.Arc4): void {
    if (saved === this.#unmoved) return;
    this.#random = seedrandom('', { state: saved });
    this.#unmoved = saved;
  }
}
