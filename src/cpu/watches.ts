type Watch = (cpl: number) => void;

/** The lab's watchpoints: who wants to look before the instruction at a linear address is executed. */
export class Watches {
  readonly #at = new Map<bigint, readonly Watch[]>();
  readonly #changed: (addresses: ReadonlySet<bigint>) => void;

  constructor(changed: (addresses: ReadonlySet<bigint>) => void) {
    this.#changed = changed;
  }

  /** @returns how to end it */
  add(rip: bigint, callback: Watch): () => void {
    this.#set(rip, [...this.at(rip), callback]);
    return () =>
      this.#set(
        rip,
        this.at(rip).filter((other) => other !== callback),
      );
  }

  at(rip: bigint): readonly Watch[] {
    return this.#at.get(rip) ?? [];
  }

  get none(): boolean {
    return this.#at.size === 0;
  }

  #set(rip: bigint, callbacks: readonly Watch[]): void {
    if (callbacks.length > 0) this.#at.set(rip, callbacks);
    else this.#at.delete(rip);
    this.#changed(new Set(this.#at.keys()));
  }
}
