import type { EventRow, Exactness } from '../pmu/events.ts';
import { occurrences, readBy, type Source } from '../pmu/source.ts';
import { type Timing, timed } from '../pmu/timing.ts';
import type { Total } from '../pmu/totals.ts';
import type { Machine } from './machine.ts';

/** How often an event happened in a region, and what stands behind the number. */
export interface Truth {
  readonly count: bigint;
  readonly exactness: Exactness;
  /** Intel's name of the event. */
  readonly event: string;
}

/** Exact counts of a guest's regions, of all processors together, taken by watching where it is: not an instruction is added. */
export class GroundTruth {
  readonly #machine: Machine;
  /** By processor and region, the totals at its begin. */
  readonly #open: readonly Map<string, ReadonlyMap<Total, bigint>>[];
  readonly #sums = new Map<string, Map<Total, bigint>>();
  readonly #passes = new Map<string, number>();
  readonly #totals: readonly Total[];
  readonly #timing: Timing;

  /** Attach before the guest runs. @param encodings events to be asked for */
  constructor(machine: Machine, encodings: readonly { event: number; umask: number }[]) {
    this.#machine = machine;
    this.#timing = machine.hardware.profile.timing ? 'modelled' : 'unit';
    const sources = encodings.flatMap(({ event, umask }) => this.#source(event, umask) ?? []);
    this.#totals = [...new Set(sources.flatMap(readBy))];
    const { processors } = machine.hardware;
    this.#open = processors.map(() => new Map());
    for (const [id, { cpu, instruments }] of processors.entries()) {
      instruments.keep(this.#totals, this);
      for (const { name, begin, end } of machine.regions) {
        cpu.watch(begin, () => this.#begin(id, name));
        cpu.watch(end, () => this.#end(id, name));
      }
    }
  }

  /** How often a region was passed through to its end. */
  passes(region: string): number {
    return this.#passes.get(region) ?? 0;
  }

  /** What a counter of this event, on throughout the region's passes, must have counted; `undefined` if it never was. */
  count(region: string, event: number, umask: number): Truth | undefined {
    const sums = this.#sums.get(region);
    const row = this.#row(event, umask);
    const source = this.#source(event, umask);
    if (!sums || !row || !source) return undefined;
    const count = occurrences(source, { read: (name) => sums.get(name) ?? 0n });
    return { count, exactness: row.exactness, event: row.name };
  }

  save() {
    return {
      open: this.#open.map((regions) =>
        [...regions].map(([name, totals]) => [name, [...totals]] as const),
      ),
      sums: [...this.#sums].map(([name, totals]) => [name, [...totals]] as const),
      passes: [...this.#passes],
    };
  }

  /** For the same regions and events. */
  restore(saved: ReturnType<GroundTruth['save']>): void {
    for (const [id, regions] of this.#open.entries()) {
      regions.clear();
      for (const [name, totals] of saved.open[id]!) regions.set(name, new Map(totals));
    }
    this.#sums.clear();
    for (const [name, totals] of saved.sums) this.#sums.set(name, new Map(totals));
    this.#passes.clear();
    for (const [name, times] of saved.passes) this.#passes.set(name, times);
  }

  #row(event: number, umask: number): EventRow | undefined {
    return this.#machine.hardware.profile.pmu.events.find(
      (row) => row.event === event && row.umask === umask && row.select === undefined,
    );
  }

  #source(event: number, umask: number): Source | undefined {
    const row = this.#row(event, umask);
    return row && timed(row.source, this.#timing);
  }

  #begin(processor: number, region: string): void {
    const ledger = this.#machine.ledgers[processor]!;
    this.#open[processor]!.set(
      region,
      new Map(this.#totals.map((name) => [name, ledger.read(name)])),
    );
  }

  #end(processor: number, region: string): void {
    const open = this.#open[processor]!;
    const ledger = this.#machine.ledgers[processor]!;
    const before = open.get(region);
    if (!before) return;
    open.delete(region);
    this.#passes.set(region, this.passes(region) + 1);
    const sums = this.#sums.get(region) ?? new Map<Total, bigint>();
    this.#sums.set(region, sums);
    for (const name of this.#totals) {
      const passed = ledger.read(name) - before.get(name)!;
      sums.set(name, (sums.get(name) ?? 0n) + passed);
    }
  }
}
