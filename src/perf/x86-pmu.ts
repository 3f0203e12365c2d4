import { ones } from '../bits/bitfield.ts';
import type { HostCpu } from '../host/cpu.ts';
import type { PerfEventAttr } from './attr.ts';
import { constraintOf, VLBR_INDEX } from './constraints.ts';
import { CounterRegisters, hardwareConfig } from './counter-registers.ts';
import type { HardwareEvent, PerfEvent } from './event.ts';
import type { GuestMsr, GuestPebs } from './guest-msrs.ts';
import { type HostPmu, hostPmuOf } from './host-pmu.ts';
import { HardwareEvents, isGuestOnly } from './hw-events.ts';

export interface X86PmuOptions {
  /** Shortest period the driver programs: Linux refuses to program 1. */
  readonly minimumPeriod?: bigint;
  /**
   * An event that excludes the host and one that excludes guests may live on one counter, which is then switched
   * between them at VM entry and exit. Judged too costly for Linux.
   */
  readonly sharesSides?: boolean;
}

/** Bit of IA32_PERF_GLOBAL_STATUS: the DS buffer has reached its threshold. As the host has none it is a guest's, any event of whom will do. */
const DS_BUFFER = 62;

/** Positions of the bits that are set, ascending. */
function bitsOf(mask: bigint): number[] {
  const positions: number[] = [];
  for (let at = 0, rest = mask; rest > 0n; at++, rest >>= 1n)
    if ((rest & 1n) === 1n) positions.push(at);
  return positions;
}

const clamp = (value: bigint, low: bigint, high: bigint): bigint =>
  value < low ? low : value > high ? high : value;

/**
 * Linux's x86 driver on one CPU: which events have which counter, and the register writes that make it so.
 * It reaches the PMU by RDMSR, WRMSR and RDPMC only.
 */
export class X86Pmu {
  readonly shape: HostPmu;
  readonly #host: HostCpu;
  readonly #registers: CounterRegisters;
  readonly #minimumPeriod: bigint;
  readonly #sharesSides: boolean;
  readonly #mask: bigint;
  readonly #hw: HardwareEvents;
  /** Events that are started, by counter. */
  readonly #active = new Map<number, PerfEvent>();
  /** Started events without their counter, which an event of the other side has for now. */
  readonly #asleep = new Map<number, PerfEvent>();
  /** Bumped whenever a counter changes hands, for each side where sides share. */
  readonly #tags = new Map<string, number>();
  #disabled = 0;
  #enabled = false;

  constructor(host: HostCpu, { minimumPeriod = 2n, sharesSides = false }: X86PmuOptions = {}) {
    this.#host = host;
    this.#minimumPeriod = minimumPeriod;
    this.#sharesSides = sharesSides;
    this.shape = hostPmuOf(host);
    this.#registers = new CounterRegisters(host, this.shape);
    this.#mask = ones(this.shape.width);
    const counters = bitsOf(this.#registers.all).length;
    this.#hw = new HardwareEvents({ counters, sharesSides });
  }

  /**
   * Longest period one counter run can cover: half the counter's range, and where writes reach bit 31 only and are
   * sign-extended, half of theirs, fixed counters included.
   */
  get maximumPeriod(): bigint {
    return (this.shape.fullWidthWrites ? this.#mask : ones(32)) >> 1n;
  }

  /** Events that have a counter, started or stopped. */
  get events(): readonly PerfEvent[] {
    return this.#hw.all;
  }

  /** Events on the PMU, by counter. */
  get running(): ReadonlyMap<number, PerfEvent> {
    return this.#active;
  }

  /** Whether a guest's claim on the LBR stack is on. */
  get hasGuestLbr(): boolean {
    return this.#active.has(VLBR_INDEX);
  }

  newHardwareEvent(attr: PerfEventAttr): HardwareEvent {
    // In frequency mode the first sample comes at once and says how far off the period is.
    const period = attr.sampleFreq > 0 ? 1n : attr.samplePeriod || this.maximumPeriod;
    return {
      index: -1,
      lastCpu: -1,
      lastTag: -1,
      config: hardwareConfig(attr),
      constraint: constraintOf(attr, this.shape),
      previous: 0n,
      samplePeriod: period,
      lastPeriod: period,
      periodLeft: period,
      stopped: true,
      upToDate: true,
      keepStopped: false,
      interrupts: 0,
      interruptsTick: -1,
      throttled: false,
      freqTimeStamp: 0n,
      freqCountStamp: 0n,
    };
  }

  /** Whether the events would fit a PMU that has nothing else to do. */
  couldHold(events: readonly PerfEvent[]): boolean {
    return this.#hw.couldHold(events);
  }

  /** perf_pmu_disable: nothing counts until the matching `enable`. */
  disable(): void {
    this.#disabled += 1;
    if (this.#disabled > 1 || !this.#enabled) return;
    this.#hw.settled();
    this.#enabled = false;
    this.#registers.close();
  }

  /** perf_pmu_enable: moves events to the counters they were given, starts what is new, opens the global gate. */
  enable(): void {
    this.#disabled -= 1;
    if (this.#disabled > 0 || this.#enabled) return;
    if (this.#hw.old < this.#hw.all.length) this.#applyAssignment();
    this.#hw.settled();
    this.#enabled = true;
    this.#registers.open();
  }

  /** Begins a group: `add` only collects until `commit`. */
  begin(): void {
    this.disable();
    this.#hw.begin();
  }

  /** Whether everything collected since `begin` fits beside what is there. If not, `cancel` must follow. */
  commit(): boolean {
    if (!this.#hw.commit()) return false;
    this.enable();
    return true;
  }

  cancel(): void {
    this.#hw.cancel();
    this.enable();
  }

  /** Collects one event of the group under way; false if there are more events than counters. */
  add(event: PerfEvent): boolean {
    if (!this.#hw.hasRoomFor(event)) return false;
    this.#host.spend('perf-event-sched');
    this.#hw.add(event);
    event.hw.stopped = true;
    event.hw.upToDate = true;
    event.hw.keepStopped = false;
    return true;
  }

  /** Takes an event off the PMU, its count brought up to date. */
  delete(event: PerfEvent): void {
    if (this.#hw.inTransaction) return;
    this.#host.spend('perf-event-sched');
    this.stop(event, true);
    this.#hw.remove(event);
  }

  start(event: PerfEvent, reload: boolean): void {
    const { hw } = event;
    if (!hw.stopped) return;
    hw.stopped = false;
    hw.keepStopped = false;
    const other = this.#active.get(hw.index);
    if (other && isGuestOnly(event)) {
      this.#asleep.set(hw.index, event);
      return;
    }
    if (other) this.#sleep(other);
    if (reload) this.setPeriod(event);
    hw.upToDate = false;
    this.#active.set(hw.index, event);
    this.#enableEvent(event);
  }

  stop(event: PerfEvent, update: boolean): void {
    const hadCounter = this.#active.get(event.hw.index) === event;
    if (hadCounter) {
      this.#disableEvent(event);
      this.#active.delete(event.hw.index);
      event.hw.stopped = true;
    } else if (this.#asleep.get(event.hw.index) === event) {
      this.#asleep.delete(event.hw.index);
      event.hw.stopped = true;
    }
    if (update && !event.hw.upToDate) {
      this.update(event);
      event.hw.upToDate = true;
    }
    // Only now: the counter is loaded anew for whoever shares it.
    if (hadCounter) this.#wake(event.hw.index);
  }

  /** Adds to the event what its counter has counted since the last time. */
  update(event: PerfEvent): void {
    const { hw } = event;
    if (hw.index === VLBR_INDEX || this.#asleep.get(hw.index) === event) return;
    const value = this.#registers.read(hw.index);
    const delta = (value - hw.previous) & this.#mask;
    hw.previous = value;
    event.count += delta;
    hw.periodLeft -= delta;
  }

  /** Loads the counter with what is left of the period; true if a period was completed. */
  setPeriod(event: PerfEvent): boolean {
    const { hw } = event;
    if (hw.index === VLBR_INDEX) return false;
    const period = hw.samplePeriod;
    let completed = false;
    if (hw.periodLeft <= -period) {
      hw.periodLeft = period;
      hw.lastPeriod = period;
      completed = true;
    }
    if (hw.periodLeft <= 0n) {
      hw.periodLeft += period;
      hw.lastPeriod = period;
      completed = true;
    }
    const left = clamp(hw.periodLeft, this.#minimumPeriod, this.maximumPeriod);
    hw.previous = -left & this.#mask;
    this.#registers.load(hw.index, hw.previous);
    return completed;
  }

  /**
   * intel_pmu_handle_irq: folds every overflowed counter, calls `overflowed` for each completed period, and
   * arms LVTPC again. Answers how many counters it found overflowed.
   */
  handleIrq(overflowed: (event: PerfEvent) => void): number {
    const wasEnabled = this.#enabled;
    this.#enabled = false;
    this.#registers.close();
    let handled = 0;
    for (;;) {
      const status = this.#registers.takeStatus();
      if (status === 0n) break;
      for (const index of bitsOf(status)) {
        // A bit of a counter that no event owns is acknowledged all the same.
        handled += 1;
        if (index === DS_BUFFER) {
          const [guest] = bitsOf(this.#registers.guestPrecise);
          if (guest !== undefined) overflowed(this.#active.get(guest)!);
          continue;
        }
        const event = this.#active.get(index);
        if (!event) continue;
        this.update(event);
        if (this.setPeriod(event)) overflowed(event);
      }
    }
    this.#enabled = wasEnabled;
    if (wasEnabled) this.#registers.open();
    this.#registers.armLvtpc();
    return handled;
  }

  /** perf_guest_get_msrs, GLOBAL_CTRL first. */
  guestMsrs(guest?: GuestPebs): GuestMsr[] {
    return this.#registers.guestMsrs(this.#enabled, guest);
  }

  /** Before VM entry: events of the guest's side take the counters they share. */
  enterGuest(): void {
    this.#swapSides(isGuestOnly);
  }

  /** After VM exit: the host's side takes them back. */
  exitGuest(): void {
    this.#swapSides((event) => !isGuestOnly(event));
  }

  armLvtpc(): void {
    this.#registers.armLvtpc();
  }

  save() {
    const ids = (map: ReadonlyMap<number, PerfEvent>) =>
      [...map].map(([index, { id }]) => [index, id] as const);
    return {
      hw: this.#hw.save(),
      active: ids(this.#active),
      asleep: ids(this.#asleep),
      tags: [...this.#tags],
      enabled: this.#enabled,
      registers: this.#registers.save(),
    };
  }

  /** Resumes outside any change; the registers themselves are the processor's to restore. */
  restore(saved: ReturnType<X86Pmu['save']>, event: (id: number) => PerfEvent): void {
    const fill = (map: Map<number, PerfEvent>, pairs: readonly (readonly [number, number])[]) => {
      map.clear();
      for (const [index, id] of pairs) map.set(index, event(id));
    };
    this.#hw.restore(saved.hw, event);
    fill(this.#active, saved.active);
    fill(this.#asleep, saved.asleep);
    this.#tags.clear();
    for (const [holder, tag] of saved.tags) this.#tags.set(holder, tag);
    this.#enabled = saved.enabled;
    this.#registers.restore(saved.registers);
  }

  /** Gives each counter that is shared by sides to the events for which `side` holds. Nothing counts meanwhile. */
  #swapSides(side: (event: PerfEvent) => boolean): void {
    const coming = [...this.#asleep.values()].filter(side);
    if (coming.length === 0) return;
    this.disable();
    for (const event of coming) {
      const other = this.#active.get(event.hw.index);
      if (other) this.#sleep(other);
      this.#asleep.delete(event.hw.index);
      if (other) this.#asleep.set(event.hw.index, other);
      this.#rouse(event);
    }
    this.enable();
  }

  /** A started event gives its counter up to one of the other side. */
  #sleep(event: PerfEvent): void {
    const { index } = event.hw;
    this.#disableEvent(event);
    this.update(event);
    event.hw.upToDate = true;
    this.#active.delete(index);
    this.#asleep.set(index, event);
  }

  /** The event that shared a counter has it for itself. */
  #wake(index: number): void {
    const event = this.#asleep.get(index);
    if (!event) return;
    this.#asleep.delete(index);
    this.#rouse(event);
  }

  #rouse(event: PerfEvent): void {
    this.setPeriod(event);
    event.hw.upToDate = false;
    this.#active.set(event.hw.index, event);
    this.#enableEvent(event);
  }

  /** Which holder of a counter is meant: one, or one per side where sides share. */
  #holder(event: PerfEvent, index: number): string {
    return this.#sharesSides && isGuestOnly(event) ? `guest ${index}` : `${index}`;
  }

  #keepsCounter(event: PerfEvent, place: number): boolean {
    const { hw } = event;
    const index = this.#hw.assigned(place);
    const tag = this.#tags.get(this.#holder(event, index)) ?? 0;
    return hw.index === index && hw.lastCpu === this.#host.id && hw.lastTag === tag;
  }

  #applyAssignment(): void {
    const { old, all } = this.#hw;
    for (let place = 0; place < old; place++) {
      const event = all[place]!;
      if (event.hw.index < 0 || this.#keepsCounter(event, place)) continue;
      if (event.hw.stopped) event.hw.keepStopped = true;
      this.stop(event, true);
    }
    for (const [place, event] of all.entries()) {
      const { hw } = event;
      if (!this.#keepsCounter(event, place)) {
        const index = this.#hw.assigned(place);
        const holder = this.#holder(event, index);
        const tag = (this.#tags.get(holder) ?? 0) + 1;
        this.#tags.set(holder, tag);
        Object.assign(hw, { index, lastCpu: this.#host.id, lastTag: tag });
      } else if (place < old) continue;
      if (!hw.keepStopped) this.start(event, true);
    }
    this.#registers.initialiseLvtpc();
  }

  #enableEvent({ attr, hw }: PerfEvent): void {
    this.#registers.enable(hw.index, attr, hw.config);
  }

  #disableEvent({ hw }: PerfEvent): void {
    this.#registers.disable(hw.index, hw.config);
  }
}
