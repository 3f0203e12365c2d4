import { hex } from '../bits/hex.ts';
import { signed } from '../bits/u64.ts';
import { exitName } from './accesses.ts';
import type { Machine } from './machine.ts';
import type { ComparedAccess } from './reference-pmu.ts';
import { VirtualMachine } from './virtual.ts';

/** A moment of the guest's: where it read the PMU, and how much it had retired by then. */
export interface Place {
  readonly rip: bigint;
  readonly instructions: bigint;
}

/** A stretch of a run in which a counter did not count what its guest did. */
export interface LostWindow {
  /** `PMC 0`, `fixed 0`. */
  readonly counter: string;
  /** Counted less the events that happened: negative where some were lost, positive where foreign ones were counted. */
  readonly events: bigint;
  /** The last reading that agreed, or the start, and the first that did not. */
  readonly from: Place;
  readonly to: Place;
  /** VM exits in between, by reason. */
  readonly exits: Readonly<Record<string, number>>;
}

/** Every lost window of a run. */
export interface LossReport {
  /** Readings of the PMU that were held against the ideal. */
  readonly compared: number;
  /** Those that told something else, by register. */
  readonly wrong: Readonly<Record<string, number>>;
  readonly windows: number;
  /** Sums over all windows: events that were missed, and events that were not the guest's. */
  readonly missed: bigint;
  readonly foreign: bigint;
  /** The first of them. */
  readonly first: readonly LostWindow[];
}

/** Windows told one by one. */
const KEPT = 100;
/** Bit of the first fixed counter in the global registers. */
const FIXED_BASE = 32;

/** What was last known of one counter: by how much it was off, where, and after which exits. */
interface Drift {
  readonly off: bigint;
  readonly at: Place;
  readonly exits: ReadonlyMap<string, number>;
}

/** Holds what a guest reads against the ideal and says where counting went astray. */
export class LostWindows {
  readonly #machine: Machine;
  readonly #drifts = new Map<number, Drift>();
  readonly #exits = new Map<string, number>();
  /** RIP of the last VM exit. */
  #exitRip = 0n;
  #compared = 0;
  readonly #wrong = new Map<string, number>();
  #windows = 0;
  #missed = 0n;
  #foreign = 0n;
  readonly #first: LostWindow[] = [];

  /** Attach before the guest runs. */
  constructor(machine: Machine) {
    this.#machine = machine;
    if (!(machine instanceof VirtualMachine)) return;
    machine.watch({
      exit: ({ vcpu, reason, rip }) => {
        if (vcpu !== 0) return;
        const name = exitName(reason);
        this.#exits.set(name, (this.#exits.get(name) ?? 0) + 1);
        this.#exitRip = rip;
      },
    });
  }

  /** The guest has read something of its PMU, or written a counter. */
  access({ kind, address, value, expected, intercepted, counter }: ComparedAccess): void {
    const { hardware, ledger } = this.#machine;
    const { msrs, state } = hardware.processors[0]!;
    if (kind !== 'WRMSR') this.#compared += 1;
    if (value !== expected) {
      const register = kind === 'RDPMC' ? `RDPMC ${hex(address)}` : msrs.name(address);
      this.#wrong.set(register, (this.#wrong.get(register) ?? 0) + 1);
    }
    if (counter === undefined || value === '#GP' || expected === '#GP') return;
    const rip = intercepted ? this.#exitRip : state.rip;
    const at = { rip, instructions: ledger.read('instructions') };
    const off = signed(hardware.profile.pmu.shape.gpWidth, value - expected);
    const before = this.#drifts.get(counter);
    this.#drifts.set(counter, { off, at, exits: new Map(this.#exits) });
    const events = off - (before?.off ?? 0n);
    if (off !== 0n && events !== 0n) this.#lost(counter, events, before, at);
  }

  report(): LossReport {
    return {
      compared: this.#compared,
      wrong: Object.fromEntries(this.#wrong),
      windows: this.#windows,
      missed: this.#missed,
      foreign: this.#foreign,
      first: this.#first,
    };
  }

  save() {
    return {
      drifts: [...this.#drifts].map(([counter, { off, at, exits }]) => ({
        counter,
        off,
        at,
        exits: [...exits],
      })),
      exits: [...this.#exits],
      exitRip: this.#exitRip,
      compared: this.#compared,
      wrong: [...this.#wrong],
      windows: this.#windows,
      missed: this.#missed,
      foreign: this.#foreign,
      first: [...this.#first],
    };
  }

  restore(saved: ReturnType<LostWindows['save']>): void {
    this.#drifts.clear();
    for (const { counter, off, at, exits } of saved.drifts) {
      this.#drifts.set(counter, { off, at, exits: new Map(exits) });
    }
    this.#exits.clear();
    for (const [reason, times] of saved.exits) this.#exits.set(reason, times);
    this.#exitRip = saved.exitRip;
    this.#compared = saved.compared;
    this.#wrong.clear();
    for (const [register, times] of saved.wrong) this.#wrong.set(register, times);
    this.#windows = saved.windows;
    this.#missed = saved.missed;
    this.#foreign = saved.foreign;
    this.#first.splice(0, Infinity, ...saved.first);
  }

  #lost(counter: number, events: bigint, before: Drift | undefined, to: Place): void {
    this.#windows += 1;
    if (events < 0n) this.#missed -= events;
    else this.#foreign += events;
    if (this.#first.length >= KEPT) return;
    const exits = [...this.#exits]
      .map(([reason, times]) => [reason, times - (before?.exits.get(reason) ?? 0)] as const)
      .filter(([, times]) => times > 0);
    this.#first.push({
      counter: counter < FIXED_BASE ? `PMC ${counter}` : `fixed ${counter - FIXED_BASE}`,
      events,
      from: before?.at ?? { rip: 0n, instructions: 0n },
      to,
      exits: Object.fromEntries(exits),
    });
  }
}
