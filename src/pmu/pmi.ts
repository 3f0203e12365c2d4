import type { Deviations } from './silicon.ts';

/** What an interrupt request on its way needs to resume; plain data. */
export interface SavedPmi {
  readonly due: bigint | undefined;
  readonly requests: number;
}

/** An interrupt request between the overflow and its delivery: at once, or after the skid of a silicon profile. */
export class Pmi {
  readonly #deviations: Deviations;
  readonly #deliver: () => void;
  #due: bigint | undefined;
  #requests = 0;

  /** @param deliver freezes what is to be frozen and asks the interrupt controller. */
  constructor(deviations: Deviations, deliver: () => void) {
    this.#deviations = deviations;
    this.#deliver = deliver;
  }

  /** Whether a request is under way. */
  get pending(): boolean {
    return this.#due !== undefined;
  }

  /** A counter has overflowed at tick `now` and asks for an interrupt; one that is under way serves both. */
  request(now: bigint): void {
    this.#due ??= now + BigInt(this.#deviations.skid);
  }

  /** Makes the request if it is due. */
  elapse(now: bigint): void {
    if (this.#due !== undefined && now >= this.#due) this.flush();
  }

  /** Makes the request now if one is under way: a halted CPU has no next instruction to skid to. */
  flush(): void {
    if (this.#due === undefined) return;
    this.#due = undefined;
    this.#requests += 1;
    const { losesPmi } = this.#deviations;
    if (losesPmi === 0 || this.#requests % losesPmi !== 0) this.#deliver();
  }

  /** Ticks until the request is made. */
  horizon(now: bigint): number {
    return this.#due === undefined ? Number.POSITIVE_INFINITY : Number(this.#due - now);
  }

  clear(): void {
    this.restore({ due: undefined, requests: 0 });
  }

  save(): SavedPmi {
    return { due: this.#due, requests: this.#requests };
  }

  restore({ due, requests }: SavedPmi): void {
    this.#due = due;
    this.#requests = requests;
  }
}
