import { bit, isSet } from '../../bits/bitfield.ts';
import type { HostCpu } from '../../host/cpu.ts';
import { perfEventAttr, RAW_EVENT_MASK } from '../../perf/attr.ts';
import { PerfError } from '../../perf/error.ts';
import type { PerfEvent } from '../../perf/event.ts';
import type { Perf } from '../../perf/perf.ts';
import type { VpmuOwner } from './contract.ts';
import type { VpmuDesign } from './designs.ts';

/** kvm_pmc as plain data, its event by number. */
export interface SavedPerfCounter {
  readonly counter: bigint;
  readonly emulated: bigint;
  readonly config: bigint;
  readonly event: number | undefined;
  readonly paused: boolean;
  readonly interrupt: boolean;
}

interface PerfCounterParts {
  readonly owner: VpmuOwner;
  readonly perf: Perf;
  readonly design: VpmuDesign;
  /** Of the guest's counter; fixed ones from 32. */
  readonly index: number;
  /** All ones in the width of a counter. */
  readonly mask: bigint;
}

/** One guest counter with an event of host perf behind it (kvm_pmc): its value is the sum of its parts. */
export class PerfCounter {
  readonly #parts: PerfCounterParts;
  /** Value when the event was last folded in. */
  #counter = 0n;
  /** Increments by emulated instructions that are not folded in yet. */
  #emulated = 0n;
  /** Selector, or fixed nibble, that the event was made for. */
  #config = 0n;
  #event: PerfEvent | undefined;
  #paused = false;
  #interrupt = false;

  constructor(parts: PerfCounterParts) {
    this.#parts = parts;
  }

  /** Whether its event samples into the guest's memory. */
  get isPrecise(): boolean {
    return (this.#event?.attr.preciseIp ?? 0) > 0;
  }

  /** The host counter behind it; undefined if there is none now. */
  get hostIndex(): number | undefined {
    const index = this.#event?.hw.index ?? -1;
    return index < 0 ? undefined : index;
  }

  /** Whether an overflow asks for a PMI. */
  get interrupts(): boolean {
    return this.#interrupt;
  }

  /** An instruction that KVM carried out is one of its events. */
  add(): void {
    this.#emulated += 1n;
  }

  /** pmc_read_counter. An event in ERROR adds nothing: its counter stands still. */
  read(): bigint {
    const event = this.#paused ? undefined : this.#event;
    const live = event ? (this.#parts.perf.read(event)?.count ?? event.count) : 0n;
    return (this.#counter + this.#emulated + live) & this.#parts.mask;
  }

  /** pmc_write_counter: relative to what the event behind it has counted, which stays. */
  write(value: bigint): void {
    this.#emulated = 0n;
    this.#counter = (this.#counter + value - this.read()) & this.#parts.mask;
    const event = this.#event;
    if (!event || this.#paused || !event.isSampling) return;
    this.#host.within('perf-event-period', () => this.#parts.perf.setPeriod(event, this.#period));
  }

  /** pmc_pause_counter: folds everything into the counter; true if emulated instructions made it wrap. */
  pause(): boolean {
    const { perf, mask } = this.#parts;
    const event = this.#event;
    if (event && !this.#paused) {
      this.#counter += this.#host.within('perf-event-pause', () => perf.pause(event, true));
    }
    const before = this.#counter & mask;
    this.#counter = (before + this.#emulated) & mask;
    this.#emulated = 0n;
    this.#paused = true;
    return this.#counter < before;
  }

  /** pmc_resume_counter; false if there is no event, or one for something else. */
  resume(config: bigint, samples: boolean): boolean {
    const event = this.#event;
    if (!event || this.#config !== config || this.isPrecise !== samples) return false;
    const { perf } = this.#parts;
    this.#host.within('perf-event-resume', () => {
      if (event.isSampling) perf.setPeriod(event, this.#period);
      perf.enable(event);
    });
    this.#paused = false;
    return true;
  }

  /** pmc_reprogram_counter: a new event; false if perf refused it. */
  create(
    config: bigint,
    eventsel: bigint,
    control: {
      readonly os: boolean;
      readonly user: boolean;
      readonly interrupt: boolean;
      readonly samples: boolean;
    },
    overflow: () => void,
  ): boolean {
    const { perf, owner, design, index } = this.#parts;
    this.#config = config;
    const attr = perfEventAttr({
      config: eventsel & RAW_EVENT_MASK,
      pinned: true,
      priority: design.alwaysWins,
      counter: design.identity ? index : -1,
      excludeHost: true,
      excludeIdle: true,
      excludeUser: !control.user,
      excludeKernel: !control.os,
      samplePeriod: this.#period,
      preciseIp: control.samples ? this.#precision : 0,
    });
    try {
      this.#event = this.#host.within('perf-event-create', () =>
        perf.create(attr, { task: owner.task }, { overflow }),
      );
    } catch (error) {
      if (error instanceof PerfError) return false;
      throw error;
    }
    this.#paused = false;
    this.#interrupt = control.interrupt;
    return true;
  }

  /** pmc_stop_counter: the value stays, the event goes. */
  stop(): void {
    this.#counter = this.read();
    this.#emulated = 0n;
    this.release();
  }

  release(): void {
    const event = this.#event;
    if (!event) return;
    this.#host.within('perf-event-release', () => this.#parts.perf.release(event));
    this.#event = undefined;
    this.#config = 0n;
  }

  reset(): void {
    this.release();
    this.#counter = 0n;
    this.#emulated = 0n;
    this.#config = 0n;
    this.#paused = false;
    this.#interrupt = false;
  }

  save(): SavedPerfCounter {
    return {
      counter: this.#counter,
      emulated: this.#emulated,
      config: this.#config,
      event: this.#event?.id,
      paused: this.#paused,
      interrupt: this.#interrupt,
    };
  }

  /** The event must have been restored with perf. */
  restore(saved: SavedPerfCounter, overflow: () => void): void {
    this.#counter = saved.counter;
    this.#emulated = saved.emulated;
    this.#config = saved.config;
    this.#paused = saved.paused;
    this.#interrupt = saved.interrupt;
    this.#event = saved.event === undefined ? undefined : this.#parts.perf.event(saved.event);
    if (this.#event) this.#event.overflowHandler = overflow;
  }

  get #host(): HostCpu {
    return this.#parts.owner.host();
  }

  /** pmc_get_pebs_precise_level: the highest where the counter of this index is a precise one on the host. */
  get #precision(): 1 | 3 {
    const { pebs } = this.#parts.perf.cpu(this.#host.id).pmu.shape;
    return isSet(pebs?.precise ?? 0n, bit(this.#parts.index)) ? 3 : 1;
  }

  /** get_sample_period: events until the counter's base wraps. */
  get #period(): bigint {
    const left = -this.#counter & this.#parts.mask;
    return left === 0n ? this.#parts.mask + 1n : left;
  }
}
