import { isSet } from '../bits/bitfield.ts';
import { signed } from '../bits/u64.ts';
import type { MsrBus } from '../msr/bus.ts';
import { DEBUGCTL, INUSE_PMI, MISC_ENABLE, PERF_GLOBAL, pmuMsrs, selectMask } from '../msr/pmu.ts';
import { Demands } from './demands.ts';
import { EventChoice, type UnsupportedEvent } from './event-choice.ts';
import { Lbr, type SavedLbr, type TakenBranch } from './lbr.ts';
import { PerfMetrics } from './metrics.ts';
import { Pebs, type SavedPebs } from './pebs.ts';
import { Pmi, type SavedPmi } from './pmi.ts';
import type { PmuCore, Totals } from './ports.ts';
import type { PmuProfile } from './profiles.ts';
import { countingName, type Deviations, IDEAL } from './silicon.ts';
import { type Slot, slots } from './slot.ts';
import { readBy } from './source.ts';
import type { Timing } from './timing.ts';
import type { Total } from './totals.ts';

/** What a PMU needs to resume; plain data. */
export interface SavedPmu {
  readonly counters: readonly { value: bigint; control: bigint; recordsNext: boolean }[];
  readonly globalControl: bigint;
  readonly globalStatus: bigint;
  readonly debugctl: bigint;
  readonly fastStrings: bigint;
  readonly cpl: number;
  readonly halted: boolean;
  readonly pmi: SavedPmi;
  readonly unsupported: readonly UnsupportedEvent[];
  readonly metrics: readonly bigint[] | undefined;
  readonly lbr: SavedLbr | undefined;
  readonly pebs: SavedPebs | undefined;
}

/** The performance-monitoring unit of one CPU: counts on its totals, asks for a PMI on overflow. */
export class Pmu {
  readonly profile: PmuProfile;
  readonly deviations: Deviations;
  readonly timing: Timing;
  readonly #msrs: ReturnType<typeof pmuMsrs>;
  readonly #totals: Totals;
  readonly #demands: Demands;
  readonly #choice: EventChoice;
  readonly #pmi: Pmi;
  readonly #gp: ReadonlyMap<number, Slot>;
  readonly #fixed: ReadonlyMap<number, Slot>;
  readonly #slots: readonly Slot[];
  /** Those that count now. */
  #running: readonly Slot[] = [];
  readonly #metrics: PerfMetrics | undefined;
  readonly #lbr: Lbr | undefined;
  readonly #pebs: Pebs | undefined;
  #globalControl = 0n;
  #globalStatus = 0n;
  #debugctl = 0n;
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
    this.#pmi = new Pmi(deviations, () => {
      this.#freeze();
      raisePmi();
    });
    this.#lbr = shape.lbr && new Lbr(shape, change);
    this.#totals = {
      read: (name) => (name === 'lbrInserts' ? (this.#lbr?.inserts ?? 0n) : totals.read(name)),
    };
    const { gp, fixed } = slots(shape, this.#totals);
    this.#gp = gp;
    this.#fixed = fixed;
    this.#slots = [...gp.values(), ...fixed.values()];
    this.#metrics = shape.perfMetrics ? new PerfMetrics(this.#totals, timing) : undefined;
    if (shape.pebs) {
      const { sampling } = core;
      if (!sampling) throw new RangeError(`${profile.name} has PEBS: the core must be sampled`);
      this.#pebs = new Pebs({ shape, pebs: shape.pebs, sampling, lbr: this.#lbr, change });
    }
    this.#clear();
  }

  /** `ideal`, or `silicon` and the deviations that are on. */
  get counting(): string {
    return countingName(this.deviations);
  }

  /** IA32_DEBUGCTL; its BTF bit is the core's to obey. */
  get debugctl(): bigint {
    return this.#debugctl;
  }

  /** Puts the PMU's registers on a bus. */
  attach(bus: MsrBus): void {
    const gp = (i: number) => this.#gp.get(i)!;
    const fixed = (i: number) => this.#fixed.get(i)!;
    const gpValue = (i: number) => this.#settled(() => gp(i).counter.value);
    const loadGp = (v: bigint, i: number) => this.#change(() => this.#load(gp(i), v));
    const select = {
      read: (i: number) => gp(i).control,
      write: (v: bigint, i: number) => this.#writeSelect(gp(i), v),
    };
    const fixedCounter = {
      read: (i: number) => this.#settled(() => fixed(i).counter.value),
      write: (v: bigint, i: number) => this.#change(() => this.#load(fixed(i), v)),
    };
    const clear = {
      read: () => 0n,
      write: (v: bigint) =>
        this.#change(() => {
          this.#globalStatus &= ~v;
        }),
    };
    const slotsCounted = () => this.#fixed.get(3)?.counter.value ?? 0n;

    // biome-ignore format: a table
    bus.attach(this.#msrs, {
      // Three addresses, one counter: the oldest takes 32 bits and sign-extends them, the aliases take all.
      IA32_PMC:                      { read: gpValue, write: (v, i) => loadGp(signed(32, v), i) },
      IA32_A_PMC:                    { read: gpValue, write: loadGp },
      IA32_PMC_GP_CTR:               { read: gpValue, write: loadGp },
      IA32_PERFEVTSEL:               select,
      IA32_PMC_GP_CFG_A:             select,
      IA32_FIXED_CTR:                fixedCounter,
      IA32_PMC_FX_CTR:               fixedCounter,
      IA32_FIXED_CTR_CTRL:           { read: () => this.#fixedControl(), write: (v) => this.#change(() => this.#selectFixed(v)) },
      IA32_PERF_GLOBAL_CTRL:         { read: () => this.#settled(() => this.#globalControl), write: (v) => this.#changeTo(v, () => this.#globalControl, () => { this.#globalControl = v; }) },
      IA32_PERF_GLOBAL_STATUS:       { read: () => this.#settled(() => this.#globalStatus) },
      IA32_PERF_GLOBAL_OVF_CTRL:     clear,
      IA32_PERF_GLOBAL_STATUS_RESET: clear,
      IA32_PERF_GLOBAL_STATUS_SET:   { read: () => 0n, write: (v) => this.#change(() => { this.#globalStatus |= v; }) },
      IA32_PERF_GLOBAL_INUSE:        { read: () => this.#inUse() },
      IA32_DEBUGCTL:                 { read: () => this.#settled(() => this.#debugctl), write: (v) => this.#changeTo(v, () => this.#debugctl, () => { this.#debugctl = v; }) },
      IA32_MISC_ENABLE:              { read: () => this.#miscEnable(), write: (v) => { this.#fastStrings = v; } },
      MSR_PERF_METRICS:              { read: () => this.#settled(() => this.#metrics!.read(slotsCounted())), write: (v) => this.#change(() => this.#metrics!.write(v, slotsCounted())) },
    });
    this.#lbr?.attach(bus);
    this.#pebs?.attach(bus);
  }

  /** RDPMC of the counter that ECX names. Vol. 2, "RDPMC—Read Performance-Monitoring Counters". */
  rdpmc(ecx: number): bigint | '#GP' {
    const type = (ecx >>> 16) & 0xffff;
    const index = ecx & 0xffff;
    if (type === 0x2000 && index === 0 && this.#metrics) {
      return this.#settled(() => this.#metrics!.read(this.#fixed.get(3)?.counter.value ?? 0n));
    }
    const bank = type === 0 ? this.#gp : type === 0x4000 ? this.#fixed : undefined;
    const slot = bank?.get(index);
    if (!slot) return '#GP';
    return this.#cpl === 3 && slot.userDisabled ? 0n : this.#settled(() => slot.counter.value);
  }

  /** Brings everything up to date; sets status and asks for one PMI if any counter overflowed. */
  settle(): void {
    let status = 0n;
    let pmi = false;
    this.#metrics?.settle();
    for (const slot of this.#running) {
      const settled = slot.counter.settle();
      if (settled === 'still') continue;
      if (this.#pebs && isSet(this.#pebs.enabled, slot.mask)) {
        if (!this.#sample(slot, settled === 'wrapped')) continue;
        status |= PERF_GLOBAL.OVF_BUFFER;
        pmi = true;
      } else if (settled === 'wrapped') {
        status |= slot.mask;
        pmi ||= slot.selection.pmi;
      }
    }
    if (this.#metrics && isSet(status, PERF_GLOBAL.FIXED_0 << 3n))
      status |= PERF_GLOBAL.PERF_METRICS;
    this.#globalStatus |= status;
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
    this.#debugctl = 0n;
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
      counters: this.#slots.map(({ counter, control, recordsNext }) => ({
        value: counter.value,
        control,
        recordsNext,
      })),
      globalControl: this.#globalControl,
      globalStatus: this.#globalStatus,
      debugctl: this.#debugctl,
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
    this.#slots.forEach((slot, i) => {
      const { value, control, recordsNext } = saved.counters[i]!;
      slot.counter.run(undefined);
      slot.counter.load(value);
      slot.recordsNext = recordsNext;
      if (slot.control === control) return;
      slot.control = control;
      this.#choice.choose(slot);
    });
    this.#globalControl = saved.globalControl;
    this.#globalStatus = saved.globalStatus;
    this.#debugctl = saved.debugctl;
    this.#fastStrings = saved.fastStrings;
    this.#cpl = saved.cpl;
    this.#halted = saved.halted;
    this.#pmi.restore(saved.pmi);
    this.#choice.restore(saved.unsupported);
    this.#rerun();
  }

  #clear(): void {
    this.#globalControl = this.#msrs.IA32_PERF_GLOBAL_CTRL.reset ?? 0n;
    this.#globalStatus = 0n;
    this.#fastStrings = MISC_ENABLE.FAST_STRINGS;
    this.#pmi.clear();
    this.#choice.restore([]);
    this.#metrics?.write(0n, 0n);
    this.#pebs?.reset();
    for (const slot of this.#slots) {
      slot.control = 0n;
      this.#load(slot, 0n);
      this.#choice.choose(slot);
    }
  }

  /** Reads something that may be behind. */
  #settled<T>(read: () => T): T {
    this.settle();
    return read();
  }

  /** A register that VM entry and VM exit load takes a value, as a rule the one that it has. */
  #changeTo(value: bigint, current: () => bigint, effect: () => void): void {
    this.settle();
    if (value !== current()) this.#change(effect);
  }

  /** Changes something that decides what counts. */
  #change(effect: () => void): void {
    this.settle();
    effect();
    this.#rerun();
  }

  #load(slot: Slot, value: bigint): void {
    slot.counter.load(value);
    slot.recordsNext = false;
  }

  #writeSelect(slot: Slot, value: bigint): '#GP' | undefined {
    if ((value & ~selectMask(this.profile.shape, slot.index)) !== 0n) return '#GP';
    this.#change(() => {
      slot.control = value;
      this.#choice.choose(slot);
    });
    return undefined;
  }

  /** Four bits for each counter, and those that lie 32 above them. */
  #selectFixed(control: bigint): void {
    for (const slot of this.#fixed.values()) {
      slot.control = (control >> BigInt(4 * slot.index)) & 0xf_0000_000fn;
      this.#choice.choose(slot);
    }
  }

  #fixedControl(): bigint {
    let control = 0n;
    for (const { index, control: part } of this.#fixed.values())
      control |= part << BigInt(4 * index);
    return control;
  }

  /** Starts, stops and redirects what is settled, and tells the core what to keep and until when. */
  #rerun(): void {
    const totals = new Set<Total>();
    for (const slot of this.#slots) {
      const { selection, counter } = slot;
      counter.run(this.#counts(slot) ? selection.source : undefined);
      if (counter.source) for (const name of readBy(counter.source)) totals.add(name);
    }
    this.#running = this.#slots.filter(({ counter }) => counter.source !== undefined);
    const metering = this.#metering();
    this.#metrics?.run(metering);
    if (metering) for (const name of this.#metrics!.reads) totals.add(name);
    this.#demands.tell({
      totals,
      branches: this.#recording(),
      sampling: (this.#pebs?.enabled ?? 0n) !== 0n,
    });
  }

  #counts({ mask, selection }: Slot): boolean {
    const gated = this.profile.shape.version >= 2 && !isSet(this.#globalControl, mask);
    const frozen = isSet(this.#globalStatus, PERF_GLOBAL.CTR_FRZ);
    const level = this.#cpl === 0 ? selection.os : selection.usr;
    return selection.enabled && level && !gated && !frozen;
  }

  /** Whether MSR_PERF_METRICS counts: its own global bit, and fixed counter 3. */
  #metering(): boolean {
    const slotsRun = this.#fixed.get(3)?.counter.source !== undefined;
    return slotsRun && isSet(this.#globalControl, PERF_GLOBAL.PERF_METRICS);
  }

  /** Whether taken branches go to the LBRs. */
  #recording(): boolean {
    if (!this.#lbr || isSet(this.#globalStatus, PERF_GLOBAL.LBR_FRZ)) return false;
    return this.#lbr.enabled || isSet(this.#debugctl, DEBUGCTL.LBR);
  }

  /**
   * A sampling counter has moved: writes the record that is due, reloads the counter.
   * @returns whether the DS buffer has reached its threshold.
   */
  #sample(slot: Slot, wrapped: boolean): boolean {
    const pebs = this.#pebs!;
    const later = wrapped && slot.counter.value > 0n;
    const due = slot.recordsNext || later || (wrapped && pebs.precise(slot.mask));
    slot.recordsNext = wrapped && !due;
    if (!due) return false;
    const outcome = pebs.record(slot.mask, slot.adaptive);
    const reset = pebs.resetValue(slot.index, slot.fixed);
    if (reset !== undefined) slot.counter.load(reset);
    return outcome === 'threshold';
  }

  /**
   * Before the interrupt of a PMI. Legacy freezing clears the enables; streamlined freezing, from version 4, sets
   * status bits that overrule them. Vol. 3, "Freezing LBR and Performance Counters on PMI".
   */
  #freeze(): void {
    const { CTR_FRZ, LBR_FRZ } = PERF_GLOBAL;
    const counters = isSet(this.#debugctl, DEBUGCTL.FREEZE_PERFMON_ON_PMI);
    const lbrs = isSet(this.#debugctl, DEBUGCTL.FREEZE_LBRS_ON_PMI);
    if (!counters && !lbrs) return;
    if (this.profile.shape.version >= 4) {
      this.#globalStatus |= (counters ? CTR_FRZ : 0n) | (lbrs ? LBR_FRZ : 0n);
    } else {
      if (counters) this.#globalControl = 0n;
      if (lbrs) this.#debugctl &= ~DEBUGCTL.LBR;
    }
    this.#rerun();
  }

  #inUse(): bigint {
    const sampling = this.#pebs?.enabled ?? 0n;
    return this.#slots.reduce((inUse, slot) => {
      const used = slot.inUse ? slot.mask : 0n;
      const asks = slot.asksForPmi || isSet(sampling, slot.mask);
      return inUse | used | (asks ? INUSE_PMI : 0n);
    }, 0n);
  }

  #now(): bigint {
    return this.#totals.read('ticks');
  }

  #miscEnable(): bigint {
    const constants = (this.#msrs.IA32_MISC_ENABLE.reset ?? 0n) & ~MISC_ENABLE.FAST_STRINGS;
    return constants | this.#fastStrings;
  }
}
