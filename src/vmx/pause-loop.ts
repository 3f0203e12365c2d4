/** Plain data. */
export interface SavedPauseLoop {
  readonly first: bigint;
  readonly last: bigint | undefined;
}

/**
 * Executions of PAUSE at CPL 0 since VM entry, in ticks of the TSC: which of them are one loop, and how long it has lasted.
 * Vol. 3, "Instructions That Cause VM Exits Conditionally".
 */
export class PauseLoop {
  #first = 0n;
  #last: bigint | undefined;

  /** Takes an execution of PAUSE. @returns whether its loop has lasted longer than the window */
  exceeds(now: bigint, gap: number, window: number): boolean {
    const last = this.#last;
    this.#last = now;
    if (last === undefined || now - last > gap) {
      this.#first = now;
      return false;
    }
    return now - this.#first > window;
  }

  save(): SavedPauseLoop {
    return { first: this.#first, last: this.#last };
  }

  restore(saved: SavedPauseLoop): void {
    this.#first = saved.first;
    this.#last = saved.last;
  }
}
