/** What a host retires while those of its events count that exclude guests, by what its processor did. */
export interface HostWork {
  readonly instructions: bigint;
  /** How often the PMU, or with it the processor, went to the guest. */
  readonly turns: number;
}

/** Adds up what is the host's alone: it is told whenever the PMU changes sides. */
export class HostWorkMeter {
  readonly #retired: () => bigint;
  #sum = 0n;
  #from: bigint | undefined;
  #turns = 0;

  /** @param retired instructions that the processor has retired, whoever's */
  constructor(retired: () => bigint) {
    this.#retired = retired;
  }

  begin(): void {
    this.#sum = 0n;
    this.#turns = 0;
    this.#from = this.#retired();
  }

  /** The guest has it. */
  leave(): void {
    if (this.#from === undefined) return;
    this.#sum += this.#retired() - this.#from;
    this.#from = undefined;
    this.#turns += 1;
  }

  /** The host has it again. */
  enter(): void {
    this.#from ??= this.#retired();
  }

  read(): HostWork {
    const running = this.#from === undefined ? 0n : this.#retired() - this.#from;
    return { instructions: this.#sum + running, turns: this.#turns };
  }
}
