import { bit, isSet } from '../bits/bitfield.ts';
import { signed } from '../bits/u64.ts';
import type { MsrBus } from '../msr/bus.ts';
import { DEBUGCTL, INUSE_PMI, PERF_GLOBAL, PERFEVTSEL, pmuMsrs } from '../msr/pmu.ts';
import { indices } from '../msr/pmu-shape.ts';
import { Counter } from './counter.ts';
import { type EventRow, FIXED_EVENTS } from './events.ts';
import type { PmuCore, Totals } from './ports.ts';
import type { PmuProfile } from './profiles.ts';
import {
  encoding,
  fixedSelection,
  generalSelection,
  OFF,
  type Selection,
  selectedEncoding,
} from './select.ts';
import { NOTHING } from './source.ts';
import type { Total } from './totals.ts';

/** A counter in its place: which bit stands for it in the global registers, and what it was told to do. */
interface Slot {
  readonly counter: Counter;
  readonly mask: bigint;
  selection: Selection;
}

/** An event that software selected and this model does not know: it counts 0. */
export interface UnsupportedEvent {
  readonly event: number;
  readonly umask: number;
}

/** What a PMU needs to resume; plain data. */
export interface SavedPmu {
  readonly gp: readonly { value: bigint; select: bigint }[];
  readonly fixed: readonly bigint[];
  readonly fixedControl: bigint;
  readonly globalControl: bigint;
  readonly globalStatus: bigint;
  readonly debugctl: bigint;
  readonly cpl: number;
  readonly halted: boolean;
  readonly unsupported: readonly UnsupportedEvent[];
}

/** The performance-monitoring unit of one CPU: counts on its totals, asks for a PMI on overflow. */
export class Pmu {
  readonly profile: PmuProfile;
  readonly #msrs: ReturnType<typeof pmuMsrs>;
  readonly #core: PmuCore;
  readonly #raisePmi: () => void;
  readonly #events: ReadonlyMap<number, EventRow>;
  readonly #gp = new Map<number, Slot>();
  readonly #fixed = new Map<number, Slot>();
  readonly #slots: readonly Slot[];
  readonly #selects = new Map<number, bigint>();
  readonly #unsupported = new Map<number, UnsupportedEvent>();
  #fixedControl = 0n;
  #globalControl = 0n;
  #globalStatus = 0n;
  #debugctl = 0n;
  #cpl = 0;
  #halted = false;
  #armed = '';

  constructor(parts: {
    profile: PmuProfile;
    totals: Totals;
    core: PmuCore;
    raisePmi: () => void;
  }) {
    const { profile, totals, core, raisePmi } = parts;
    const { shape, events } = profile;
    this.profile = profile;
    this.#msrs = pmuMsrs(shape);
    this.#core = core;
    this.#raisePmi = raisePmi;
    this.#events = new Map(events.map((row) => [encoding(row.event, row.umask), row]));
    for (const index of shape.version >= 1 ? indices(shape.gp) : []) {
      this.#gp.set(index, slot(new Counter(shape.gpWidth, totals), bit(index)));
      this.#selects.set(index, 0n);
    }
    for (const index of shape.version >= 2 ? indices(shape.fixed) : []) {
      const counter = new Counter(shape.fixedWidth, totals);
      this.#fixed.set(index, slot(counter, PERF_GLOBAL.FIXED_0 << BigInt(index)));
    }
    this.#slots = [...this.#gp.values(), ...this.#fixed.values()];
    this.#clear();
  }

  /** Puts the PMU's registers on a bus. */
  attach(bus: MsrBus): void {
    const clear = (v: bigint) =>
      this.#change(() => {
        this.#globalStatus &= ~v;
      });
    const value = (i: number) => this.#settled(() => gp(i).counter.value);
    const gp = (i: number) => this.#gp.get(i) as Slot;
    const fixed = (i: number) => this.#fixed.get(i) as Slot;

    // biome-ignore format: a table
    bus.attach(this.#msrs, {
      // Two addresses, one counter: the older takes 32 bits and sign-extends them, the alias takes all.
      IA32_PMC:                      { read: value, write: (v, i) => this.#change(() => gp(i).counter.load(signed(32, v))) },
      IA32_A_PMC:                    { read: value, write: (v, i) => this.#change(() => gp(i).counter.load(v)) },
      IA32_PERFEVTSEL:               { read: (i) => this.#selects.get(i) ?? 0n, write: (v, i) => this.#change(() => this.#select(i, v)) },
      IA32_FIXED_CTR:                { read: (i) => this.#settled(() => fixed(i).counter.value), write: (v, i) => this.#change(() => fixed(i).counter.load(v)) },
      IA32_FIXED_CTR_CTRL:           { read: () => this.#fixedControl, write: (v) => this.#change(() => this.#selectFixed(v)) },
      IA32_PERF_GLOBAL_CTRL:         { read: () => this.#settled(() => this.#globalControl), write: (v) => this.#change(() => { this.#globalControl = v; }) },
      IA32_PERF_GLOBAL_STATUS:       { read: () => this.#settled(() => this.#globalStatus) },
      IA32_PERF_GLOBAL_OVF_CTRL:     { read: () => 0n, write: clear },
      IA32_PERF_GLOBAL_STATUS_RESET: { read: () => 0n, write: clear },
      IA32_PERF_GLOBAL_STATUS_SET:   { read: () => 0n, write: (v) => this.#change(() => { this.#globalStatus |= v; }) },
      IA32_PERF_GLOBAL_INUSE:        { read: () => this.#inUse() },
      IA32_DEBUGCTL:                 { read: () => this.#debugctl, write: (v) => { this.#debugctl = v; } },
    });
  }

  /** RDPMC of the counter that ECX names. Vol. 2, "RDPMC—Read Performance-Monitoring Counters". */
  rdpmc(ecx: number): bigint | '#GP' {
    const type = (ecx >>> 16) & 0xffff;
    const bank = type === 0 ? this.#gp : type === 0x4000 ? this.#fixed : undefined;
    const named = bank?.get(ecx & 0xffff);
    return named ? this.#settled(() => named.counter.value) : '#GP';
  }

  /** Brings every counter up to date; sets status and asks for one PMI if any wrapped. */
  settle(): void {
    let wrapped = 0n;
    let pmi = false;
    for (const { counter, mask, selection } of this.#slots) {
      if (!counter.settle()) continue;
      wrapped |= mask;
      pmi ||= selection.pmi;
    }
    if (wrapped === 0n) return;
    this.#globalStatus |= wrapped;
    if (!pmi) return;
    if (isSet(this.#debugctl, DEBUGCTL.FREEZE_PERFMON_ON_PMI)) this.#freeze();
    this.#raisePmi();
  }

  /** The CPU has changed privilege level, halted or woken. The core settles before the change. */
  modeChanged({ cpl, halted }: { cpl: number; halted: boolean }): void {
    this.#cpl = cpl;
    this.#halted = halted;
    this.#rerun();
  }

  /** Ticks that may pass before a counter can overflow, as of the last settling; none pass while halted. */
  horizon(): number {
    if (this.#halted) return Number.POSITIVE_INFINITY;
    return this.#slots.reduce(
      (least, { counter }) => Math.min(least, counter.horizon()),
      Number.POSITIVE_INFINITY,
    );
  }

  /** Vol. 3, "Processor State After Reset": INIT leaves the counters and their controls as they are. */
  reset(kind: 'power-up' | 'init'): void {
    this.settle();
    this.#debugctl = 0n;
    if (kind === 'power-up') this.#clear();
    this.#rerun();
  }

  /** Events that software selected and this model does not know, in the order of their first selection. */
  unsupportedEvents(): readonly UnsupportedEvent[] {
    return [...this.#unsupported.values()];
  }

  save(): SavedPmu {
    this.settle();
    return {
      gp: [...this.#gp].map(([index, { counter }]) => ({
        value: counter.value,
        select: this.#selects.get(index) ?? 0n,
      })),
      fixed: [...this.#fixed.values()].map(({ counter }) => counter.value),
      fixedControl: this.#fixedControl,
      globalControl: this.#globalControl,
      globalStatus: this.#globalStatus,
      debugctl: this.#debugctl,
      cpl: this.#cpl,
      halted: this.#halted,
      unsupported: this.unsupportedEvents(),
    };
  }

  /** Resumes from what a PMU of the same shape saved; the totals must already be those of that moment. */
  restore(saved: SavedPmu): void {
    this.#unsupported.clear();
    for (const { event, umask } of saved.unsupported) {
      this.#unsupported.set(encoding(event, umask), { event, umask });
    }
    [...this.#gp].forEach(([index, { counter }], at) => {
      const { value, select } = saved.gp[at]!;
      counter.load(value);
      this.#select(index, select);
    });
    [...this.#fixed.values()].forEach(({ counter }, at) => {
      counter.load(saved.fixed[at]!);
    });
    this.#selectFixed(saved.fixedControl);
    this.#globalControl = saved.globalControl;
    this.#globalStatus = saved.globalStatus;
    this.#debugctl = saved.debugctl;
    this.#cpl = saved.cpl;
    this.#halted = saved.halted;
    for (const { counter } of this.#slots) counter.run(undefined);
    this.#rerun();
  }

  #clear(): void {
    this.#globalControl = this.#msrs.IA32_PERF_GLOBAL_CTRL.reset ?? 0n;
    this.#globalStatus = 0n;
    for (const { counter } of this.#slots) counter.load(0n);
    for (const index of this.#gp.keys()) this.#select(index, 0n);
    this.#selectFixed(0n);
    this.#unsupported.clear();
  }

  /** Reads something that may be behind. */
  #settled<T>(read: () => T): T {
    this.settle();
    return read();
  }

  /** Changes something that decides what counts. */
  #change(effect: () => void): void {
    this.settle();
    effect();
    this.#rerun();
  }

  #select(index: number, select: bigint): void {
    const named = selectedEncoding(select);
    const row = this.#events.get(named);
    this.#selects.set(index, select);
    (this.#gp.get(index) as Slot).selection = generalSelection(select, row);
    if (!row && isSet(select, PERFEVTSEL.EN) && !this.#unsupported.has(named)) {
      this.#unsupported.set(named, { event: named & 0xff, umask: named >> 8 });
    }
  }

  #selectFixed(control: bigint): void {
    this.#fixedControl = control;
    for (const [index, each] of this.#fixed) {
      each.selection = fixedSelection(control, index, FIXED_EVENTS[index]?.source ?? NOTHING);
    }
  }

  /** Starts, stops and redirects the settled counters, and tells the core what to keep and until when. */
  #rerun(): void {
    const armed = new Set<Total>();
    for (const each of this.#slots) {
      each.counter.run(this.#counts(each) ? each.selection.source : undefined);
      const { plus = [], minus = [] } = each.counter.source ?? {};
      for (const name of [...plus, ...minus]) armed.add(name);
    }
    const names = [...armed].sort();
    const key = names.join(' ');
    if (key !== this.#armed) {
      this.#armed = key;
      this.#core.arm(names);
    }
    this.#core.changed();
  }

  #counts({ mask, selection }: Slot): boolean {
    const gated = this.profile.shape.version >= 2 && !isSet(this.#globalControl, mask);
    const frozen = isSet(this.#globalStatus, PERF_GLOBAL.CTR_FRZ);
    const level = this.#cpl === 0 ? selection.os : selection.usr;
    return selection.enabled && level && !gated && !frozen;
  }

  /** Vol. 3, "Freezing LBR and Performance Counters on PMI": legacy until version 3, streamlined from version 4. */
  #freeze(): void {
    if (this.profile.shape.version >= 4) this.#globalStatus |= PERF_GLOBAL.CTR_FRZ;
    else this.#globalControl = 0n;
    this.#rerun();
  }

  #inUse(): bigint {
    let inUse = 0n;
    for (const [index, { mask, selection }] of this.#gp) {
      if (isSet(this.#selects.get(index) ?? 0n, PERFEVTSEL.EVENT)) inUse |= mask;
      if (selection.pmi) inUse |= INUSE_PMI;
    }
    for (const { mask, selection } of this.#fixed.values()) {
      if (selection.enabled) inUse |= mask;
      if (selection.pmi) inUse |= INUSE_PMI;
    }
    return inUse;
  }
}

const slot = (counter: Counter, mask: bigint): Slot => ({ counter, mask, selection: OFF });
