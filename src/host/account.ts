import type { CostName } from './costs.ts';

/** What one row of the cost table has amounted to so far. */
export interface CostEntry {
  /** Times the operation was done. */
  times: number;
  /** Ticks spent under its name. */
  ticks: number;
}

export type SavedAccount = Readonly<Partial<Record<CostName, CostEntry>>>;

/** Where root-mode time went on one CPU, by row of the cost table. */
export class CostAccount {
  #entries = new Map<CostName, CostEntry>();
  #total = 0;

  add(name: CostName, times: number, ticks: number): void {
    this.#total += ticks;
    const entry = this.#entries.get(name);
    if (entry) {
      entry.times += times;
      entry.ticks += ticks;
    } else this.#entries.set(name, { times, ticks });
  }

  entry(name: CostName): Readonly<CostEntry> {
    return this.#entries.get(name) ?? { times: 0, ticks: 0 };
  }

  /** Rows that were used, in the order of first use. */
  *rows(): Iterable<{ name: CostName } & Readonly<CostEntry>> {
    for (const [name, { times, ticks }] of this.#entries) yield { name, times, ticks };
  }

  /** Ticks of all rows. */
  total(): number {
    return this.#total;
  }

  save(): SavedAccount {
    return Object.fromEntries([...this.#entries].map(([name, entry]) => [name, { ...entry }]));
  }

  restore(saved: SavedAccount): void {
    const entries = Object.entries(saved) as [CostName, CostEntry][];
    this.#entries = new Map(entries.map(([name, entry]) => [name, { ...entry }]));
    this.#total = entries.reduce((sum, [, { ticks }]) => sum + ticks, 0);
  }
}
