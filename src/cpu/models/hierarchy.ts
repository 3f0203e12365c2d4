import { Cache, type CacheShape } from './cache.ts';

/** Where a line was found. */
export type Level = 'L1' | 'L2' | 'LLC' | 'memory';

/** What an access found, and so did to each level. */
export interface HierarchyShape {
  readonly l1d: CacheShape;
  readonly l1i: CacheShape;
  readonly l2: CacheShape;
  readonly llc: CacheShape;
}

/** Two first-level caches, a second level and the last level behind them; a miss fills every level it passed. */
export class Hierarchy {
  readonly #l1d: Cache;
  readonly #l1i: Cache;
  readonly #l2: Cache;
  readonly #llc: Cache;

  constructor({ l1d, l1i, l2, llc }: HierarchyShape) {
    this.#l1d = new Cache(l1d);
    this.#l1i = new Cache(l1i);
    this.#l2 = new Cache(l2);
    this.#llc = new Cache(llc);
  }

  /** @param line physical address without its low six bits' worth. */
  access(kind: 'data' | 'code', line: number): Level {
    if ((kind === 'data' ? this.#l1d : this.#l1i).access(line)) return 'L1';
    if (this.#l2.access(line)) return 'L2';
    return this.#llc.access(line) ? 'LLC' : 'memory';
  }

  /** CLFLUSH: the line leaves every level. */
  flush(line: number): void {
    for (const cache of this.#all) cache.drop(line);
  }

  /** WBINVD, INVD. */
  clear(): void {
    for (const cache of this.#all) cache.clear();
  }

  save(): readonly (readonly number[])[] {
    return this.#all.map((cache) => cache.save());
  }

  restore(saved: readonly (readonly number[])[]): void {
    this.#all.forEach((cache, i) => {
      cache.restore(saved[i]!);
    });
  }

  get #all(): readonly Cache[] {
    return [this.#l1d, this.#l1i, this.#l2, this.#llc];
  }
}
