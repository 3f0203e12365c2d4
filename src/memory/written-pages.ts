/** Which pages of a memory were written since each of several moments. */
export class WrittenPages {
  /** Pages that every set has already. */
  readonly #known: Uint8Array;
  readonly #sets = new Set<Set<number>>();

  constructor(pages: number) {
    this.#known = new Uint8Array(pages);
  }

  /** The pages written from now on. Whoever caches that a page is known must forget it. */
  since(): Set<number> {
    const pages = new Set<number>();
    this.#sets.add(pages);
    this.#known.fill(0);
    return pages;
  }

  /** Nobody asks for this set any more. */
  release(pages: Set<number>): void {
    this.#sets.delete(pages);
  }

  isKnown(page: number): boolean {
    return this.#known[page] !== 0;
  }

  add(page: number): void {
    if (this.#known[page] !== 0) return;
    this.#known[page] = 1;
    for (const set of this.#sets) set.add(page);
  }

  /** The pages of a set are what they were; since the other moments they may have changed. */
  putBack(pages: Set<number>): void {
    for (const page of pages) {
      for (const other of this.#sets) if (other !== pages) other.add(page);
      this.#known[page] = 0;
    }
    pages.clear();
  }
}
