import { isSet } from '../bits/bitfield.ts';
import type { MsrBus } from '../msr/bus.ts';
import { MISC_ENABLE, PERF_GLOBAL, pmuMsrs } from '../msr/pmu.ts';
import { ArchitecturalPebs } from './architectural-pebs.ts';
import { CounterBank, type SavedCounters } from './counter-bank.ts';
import { attachExtensions, reload } from './counter-extensions.ts';
import { Demands } from './demands.ts';
import { EventChoice, type UnsupportedEvent } from './event-choice.ts';
import { GlobalRegisters, type SavedGlobals } from './global-registers.ts';
import { Lbr, type SavedLbr, type TakenBranch } from './lbr.ts';
import { LbrState } from './lbr-state.ts';
import { PerfMetrics } from './metrics.ts';
import { Pebs } from './pebs.ts';
import { Pmi, type SavedPmi } from './pmi.ts';
import type { PmuCore, Totals } from './ports.ts';
import type { PmuProfile } from './profiles.ts';
import { attachRegisters } from './registers.ts';
import type { Sampler } from './sampler.ts';
import { countingName, type Deviations, IDEAL } from './silicon.ts';
import type { Slot } from './slot.ts';
import { readBy } from './source.ts';
import type { Timing } from './timing.ts';

/** What a PMU needs to resume; plain data. */
export interface SavedPmu {
  readonly counters: SavedCounters;
  readonly globals: SavedGlobals;
  readonly fastStrings: bigint;
  readonly cpl: number;
  readonly halted: boolean;
  readonly pmi: SavedPmi;
  readonly unsupported: readonly UnsupportedEvent[];
  readonly metrics: readonly bigint[] | undefined;
  readonly lbr: SavedLbr | undefined;
  readonly pebs: unknown;
}

/** The performance-monitoring unit of one CPU: counts on its totals, asks for a PMI on overflow. */
export class Pmu {
  readonly profile: PmuProfile;
  readonly deviations: Deviations;
  readonly timing: Timing;
  /** Architectural LBRs as XSAVES sees them, where there are any. */
  readonly lbrState: LbrState | undefined;
  readonly #msrs: ReturnType<typeof pmuMsrs>;
  readonly #totals: Totals;
  readonly #demands: Demands;
  readonly #choice: EventChoice;
  readonly #pmi: Pmi;
  readonly #bank: CounterBank;
  readonly #globals: GlobalRegisters;
  /** Those that count now. */
  #running: readonly Slot[] = [];
  /** Whether MSR_PERF_METRICS does. */
  #metered = false;
  readonly #metrics: PerfMetrics | undefined;
  readonly #lbr: Lbr | undefined;
  readonly #pebs: Sampler | undefined;
  #fastStrings = MISC_ENABLE.FAST_STRINGS;
  #cpl = 0;
  #halted = false;

  /** @throws RangeError if the profile has PEBS and the core offers no state to sample. */
  constructor(parts: {
    profile: PmuProfile;
    totals: Totals;
    core: PmuCore;
    raisePmi: () => void;
    deviations?: Deviations;
    timing?: Timing;
  }) {
    const { profile, totals, core, raisePmi, deviations = IDEAL, timing = 'unit' } = parts;
    const { shape, events } = profile;
    const change = (effect: () => void) => this.#change(effect);
    this.profile = profile;
    this.deviations = deviations;
    this.timing = timing;
    this.#msrs = pmuMsrs(shape);
    this.#demands = new Demands(core);
    this.#choice = new EventChoice({ events, deviations, timing });
    this.#globals = new GlobalRegisters(shape);
    this.#pmi = new Pmi(deviations, () => {
      if (this.#globals.freeze()) this.#rerun();
      raisePmi();
    });
    this.#lbr = shape.lbr && new Lbr(shape, change);
    if (this.#lbr && shape.lbr?.kind === 'architectural') {
      this.lbrState = new LbrState(this.#lbr, change);
    }
    this.#totals = {
      read: (name) => (name === 'lbrInserts' ? (this.#lbr?.inserts ?? 0n) : totals.read(name)),
    };
    this.#bank = new CounterBank(shape, this.#totals, this.#choice);
    this.#metrics = shape.perfMetrics ? new PerfMetrics(this.#totals, timing) : undefined;
    if (shape.pebs || shape.architecturalPebs) {
      const { sampling } = core;
      if (!sampling) throw new RangeError(`${profile.name} has PEBS: the core must be sampled`);
      const lbr = this.#lbr;
      this.#pebs = shape.pebs
        ? new Pebs({ shape, pebs: shape.pebs, sampling, lbr, change })
        : new ArchitecturalPebs({ shape, slots: this.#bank.all, sampling, lbr });
    }
    this.#clear();
  }

  /** `ideal`, or `silicon` and the deviations that are on. */
  get counting(): string {
    return countingName(this.deviations);
  }

  /** IA32_DEBUGCTL; its BTF bit is the core's to obey. */
  get debugctl(): bigint {
    return this.#globals.debugctl;
  }

  /** Puts the PMU's registers on a bus. */
  attach(bus: MsrBus): void {
    const { shape } = this.profile;
    const change = (effect: () => void) => this.#change(effect);
    attachRegisters(bus, this.#msrs, {
      bank: this.#bank,
      globals: this.#globals,
      metrics: this.#metrics,
      misc: {
        read: () => this.#miscEnable(),
        write: (value) => {
          this.#fastStrings = value;
        },
      },
      sampling: () => this.#pebs?.enabled ?? 0n,
      settled: (read) => this.#settled(read),
      load: (slot, value) => this.#load(slot, value),
      change,
    });
    attachExtensions(bus, shape, this.#bank, change);
    this.#lbr?.attach(bus);
    this.#pebs?.attach(bus);
  }

  /** RDPMC of the counter that ECX names. Vol. 2, "RDPMC—Read Performance-Monitoring Counters". */
  rdpmc(ecx: number): bigint | '#GP' {
    const type = (ecx >>> 16) & 0xffff;
    const index = ecx & 0xffff;
    if (type === 0x2000 && index === 0 && this.#metrics) {
      return this.#settled(() => this.#metrics!.read(this.#bank.slotsCounted));
    }
    const bank = type === 0 ? this.#bank.gp : type === 0x4000 ? this.#bank.fixed : undefined;
    const slot = bank?.get(index);
    if (!slot) return '#GP';
    return this.#cpl === 3 && slot.userDisabled ? 0n : this.#settled(() => slot.counter.value);
  }

  /** Brings everything up to date; sets status and asks for one PMI if any counter overflowed. */
  settle(): void {
    let status = 0n;
    let overflowed = 0n;
    let pmi = false;
    this.#metrics?.settle();
    for (const slot of this.#running) {
      const settled = slot.counter.settle();
      if (settled === 'still') continue;
      if (settled === 'wrapped') overflowed |= slot.mask;
      if (this.#pebs && isSet(this.#pebs.enabled, slot.mask)) {
        if (!this.#pebs.moved(slot, settled === 'wrapped')) continue;
        status |= this.#pebs.threshold;
        pmi = true;
      } else if (settled === 'wrapped') {
        status |= slot.mask;
        pmi ||= slot.selection.pmi;
      }
    }
    if (overflowed !== 0n) reload(this.#bank, overflowed);
    if (this.#metrics && isSet(status, PERF_GLOBAL.FIXED_0 << 3n))
      status |= PERF_GLOBAL.PERF_METRICS;
    this.#globals.status |= status;
    if (pmi) this.#pmi.request(this.#now());
    if (this.#pmi.pending) this.#pmi.elapse(this.#now());
  }

  /** The CPU has changed privilege level, halted or woken. The core settles before the change. */
  modeChanged({ cpl, halted }: { cpl: number; halted: boolean }): void {
    if (cpl === this.#cpl && halted === this.#halted) return;
    this.#cpl = cpl;
    this.#halted = halted;
    this.#rerun();
    if (halted) this.#pmi.flush();
  }

  /** A transfer was taken; the core reports it while it traces branches, in order, before it settles. */
  branch(taken: TakenBranch): void {
    if (this.#recording()) this.#lbr?.record(taken);
  }

  /** Ticks that may pass before anything is due, as of the last settling; no event happens while halted. */
  horizon(): number {
    if (this.#halted) return Number.POSITIVE_INFINITY;
    let least = this.#pmi.pending ? this.#pmi.horizon(this.#now()) : Number.POSITIVE_INFINITY;
    for (const { counter, recordsNext } of this.#running) {
      least = Math.min(least, recordsNext ? counter.horizon(1n) : counter.horizon());
    }
    return least;
  }

  /** Vol. 3, "Processor State After Reset": INIT leaves the counters and their controls as they are. */
  reset(kind: 'power-up' | 'init'): void {
    this.settle();
    this.#globals.debugctl = 0n;
    this.#lbr?.reset(kind);
    if (kind === 'power-up') this.#clear();
    this.#rerun();
  }

  /** Events that software enabled and this model cannot count, in the order in which they were first met. */
  unsupportedEvents(): readonly UnsupportedEvent[] {
    return this.#choice.unsupported();
  }

  save(): SavedPmu {
    this.settle();
    return {
      counters: this.#bank.save(),
      globals: this.#globals.save(),
      fastStrings: this.#fastStrings,
      cpl: this.#cpl,
      halted: this.#halted,
      pmi: this.#pmi.save(),
      unsupported: this.unsupportedEvents(),
      metrics: this.#metrics?.save(),
      lbr: this.#lbr?.save(),
      pebs: this.#pebs?.save(),
    };
  }

  /** Resumes from what a PMU of the same profile saved; the totals must already be those of that moment. */
  restore(saved: SavedPmu): void {
    if (saved.metrics) this.#metrics?.restore(saved.metrics);
    if (saved.lbr) this.#lbr?.restore(saved.lbr);
    if (saved.pebs) this.#pebs?.restore(saved.pebs);
    this.#bank.restore(saved.counters);
    this.#globals.restore(saved.globals);
    this.#fastStrings = saved.fastStrings;
    this.#cpl = saved.cpl;
    this.#halted = saved.halted;
    this.#pmi.restore(saved.pmi);
    this.#choice.restore(saved.unsupported);
    this.#rerun();
  }

  #clear(): void {
    this.#globals.control = this.#msrs.IA32_PERF_GLOBAL_CTRL.reset ?? 0n;
    this.#globals.status = 0n;
    this.#fastStrings = MISC_ENABLE.FAST_STRINGS;
    this.#pmi.clear();
    this.#choice.restore([]);
    this.#metrics?.write(0n, 0n);
    this.#pebs?.reset();
    this.#bank.clear();
  }

  /** Reads something that may be behind. */
  #settled<T>(read: () => T): T {
    this.settle();
    return read();
  }

  /** Gives a counter a value, from which on it may overflow sooner. */
  #load(slot: Slot, value: bigint): void {
    this.settle();
    this.#bank.load(slot, value);
    if (slot.counter.source) this.#demands.changed();
  }

  /** Changes something that decides what counts. */
  #change(effect: () => void): void {
    this.settle();
    effect();
    this.#rerun();
  }

  /** Starts, stops and redirects what is settled, and tells the core what to keep and until when. */
  #rerun(): void {
    let redirected = false;
    for (const slot of this.#bank.all) {
      const { selection, counter } = slot;
      const source = this.#counts(slot) ? selection.source : undefined;
      if (source === undefined && counter.source === undefined) continue;
      redirected ||= source !== counter.source;
      counter.run(source);
    }
    if (redirected) {
      this.#running = this.#bank.all.filter(({ counter }) => counter.source !== undefined);
    }
    const metering = this.#metering();
    this.#metrics?.run(metering);
    if (redirected || metering !== this.#metered) {
      this.#metered = metering;
      const totals = new Set(this.#running.flatMap(({ counter }) => readBy(counter.source!)));
      if (metering) for (const name of this.#metrics!.reads) totals.add(name);
      this.#demands.keep(totals);
    }
    this.#demands.tell({
      branches: this.#recording(),
      sampling: (this.#pebs?.enabled ?? 0n) !== 0n,
    });
  }

  #counts({ mask, selection }: Slot): boolean {
    const level = this.#cpl === 0 ? selection.os : selection.usr;
    return selection.enabled && level && this.#globals.lets(mask);
  }

  /** Whether MSR_PERF_METRICS counts: its own global bit, and fixed counter 3. */
  #metering(): boolean {
    const slotsRun = this.#bank.fixed.get(3)?.counter.source !== undefined;
    return slotsRun && this.#globals.meters;
  }

  /** Whether taken branches go to the LBRs. */
  #recording(): boolean {
    if (!this.#lbr || this.#globals.lbrsFrozen) return false;
    return this.#lbr.enabled || this.#globals.recordsBranches;
  }

  #now(): bigint {
    return this.#totals.read('ticks');
  }

  #miscEnable(): bigint {
    const constants = (this.#msrs.IA32_MISC_ENABLE.reset ?? 0n) & ~MISC_ENABLE.FAST_STRINGS;
    return constants | this.#fastStrings;
  }
}
