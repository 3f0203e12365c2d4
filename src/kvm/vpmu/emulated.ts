import { bit, isSet } from '../../bits/bitfield.ts';
import type { HostCpu } from '../../host/cpu.ts';
import type { ReadOutcome, WriteOutcome } from '../../msr/bus.ts';
import { perfEventAttr, RAW_EVENT_MASK } from '../../perf/attr.ts';
import { PerfError } from '../../perf/error.ts';
import type { PerfEvent } from '../../perf/event.ts';
import type { Perf } from '../../perf/perf.ts';
import type { GlobalCtrlSwitch, Vpmu, VpmuOwner, VpmuParts } from './contract.ts';
import type { VpmuDesign } from './designs.ts';
import { isAllowed } from './event-filter.ts';
import { guestPmuShape } from './exposure.ts';
import { GuestLbr } from './guest-lbr.ts';
import { FIXED_BASE, GuestPmu, type Pmc, type SavedGuestPmu } from './guest-pmu.ts';
import { MSR } from './registers.ts';

/** kvm_pmc beside what the guest wrote: the counter's value is the sum of its parts. */
interface Backing {
  /** Value when the event behind it was last folded in. */
  counter: bigint;
  /** Increments by emulated instructions that are not folded in yet. */
  emulated: bigint;
  /** Selector, or fixed nibble, that the event was made for. */
  config: bigint;
  event: PerfEvent | undefined;
  paused: boolean;
  /** An overflow asks for a PMI. */
  interrupt: boolean;
}

interface SavedEmulated {
  readonly pmu: SavedGuestPmu;
  readonly counters: readonly (Omit<Backing, 'event'> & { readonly event: number | undefined })[];
  readonly reprogram: bigint;
  readonly inUse: bigint;
  readonly needsCleanup: boolean;
  readonly lbr: ReturnType<GuestLbr['save']> | undefined;
}

/**
 * The emulated vPMU: behind each enabled guest counter stands a pinned event of host perf that follows the
 * vCPU's thread and excludes the host. perf decides on which counter it lives, and whether it lives at all.
 */
export class EmulatedVpmu implements Vpmu {
  readonly design: VpmuDesign;
  readonly pmu: GuestPmu;
  readonly rdpmcExits = true;
  readonly #owner: VpmuOwner;
  readonly #perf: Perf;
  readonly #backing = new Map<number, Backing>();
  readonly #passesGlobalCtrl: boolean;
  readonly #lbr: GuestLbr | undefined;
  /** Counters to look at again before the next entry. */
  #reprogram = 0n;
  /** Counters that were touched in this scheduling slice. */
  #inUse = 0n;
  #needsCleanup = false;

  constructor({ owner, perf, host, design, exposure }: VpmuParts) {
    this.design = design;
    this.#owner = owner;
    this.#perf = perf;
    const hostPmu = perf.cpu(host.id).pmu.shape;
    const shape = guestPmuShape(hostPmu, exposure);
    const isWhole = shape.gp === hostPmu.gp && shape.fixed === hostPmu.fixed;
    this.#passesGlobalCtrl = design.identity && isWhole;
    this.pmu = new GuestPmu(shape, {
      read: (pmc) => this.#read(pmc),
      write: (pmc, value) => this.#write(pmc, value),
      changed: (pmc) => this.#request(pmc),
    });
    for (const { index } of this.pmu.pmcs) this.#backing.set(index, fresh());
    const { lbr } = this.pmu.shape;
    if (lbr?.kind === 'legacy') this.#lbr = new GuestLbr(owner, perf, lbr.depth);
  }

  /**
   * With guest counters where host counters are, the guest may open and close them itself. A guest that lacks one of
   * the host's would reach that one's enable, too: then it may not.
   */
  intercepts(address: number): boolean {
    return !(this.#passesGlobalCtrl && address === MSR.GLOBAL_CTRL);
  }

  rdmsr(address: number): ReadOutcome {
    const lbr = this.#lbr?.rdmsr(address) ?? 'unclaimed';
    return lbr === 'unclaimed' ? this.pmu.rdmsr(address) : lbr;
  }

  wrmsr(address: number, value: bigint): WriteOutcome {
    const lbr = this.#lbr?.wrmsr(address, value) ?? 'unclaimed';
    return lbr === 'unclaimed' ? this.pmu.wrmsr(address, value) : lbr;
  }

  debugctlWritten(value: bigint): void {
    this.#lbr?.debugctlWritten(value);
  }

  rdpmc(ecx: number): bigint | '#GP' {
    return this.pmu.rdpmc(ecx);
  }

  load(): void {
    this.#perf.enterGuest(this.#host.id);
  }

  put(): void {
    this.#perf.exitGuest(this.#host.id);
  }

  sync(): void {
    this.#lbr?.sync();
  }

  hostWantsPmu(): boolean {
    return true;
  }

  /** atomic_switch_perf_msrs: whatever perf says must differ between the two sides. */
  globalCtrlSwitch(): GlobalCtrlSwitch | undefined {
    const { host, guest } = this.#perf.guestMsrs(this.#host.id)[0]!;
    if (this.design.identity) {
      // Counters the guest can see follow its own enables, whoever's event is on them.
      const seen = this.#seen;
      const opened = (guest & ~seen) | (this.pmu.globalCtrl & seen);
      return { guest: opened, host, save: this.#passesGlobalCtrl };
    }
    return host === guest ? undefined : { guest, host, save: false };
  }

  exited(saved: bigint | undefined): void {
    if (saved === undefined) return;
    this.#host.spend('vmread');
    this.pmu.globalCtrl = saved & this.#seen;
  }

  instructionRetired({ branch, cpl }: { branch: boolean; cpl: number }): void {
    for (const pmc of this.pmu.pmcs) {
      if (!this.pmu.countsRetired(pmc, { branch, cpl })) continue;
      if (!isAllowed(this.#owner.filter(), pmc)) continue;
      this.#of(pmc).emulated += 1n;
      this.#request(pmc);
    }
  }

  /** Its fastpath exits count like any other. */
  countsRetired(): boolean {
    return false;
  }

  /** kvm_pmu_handle_event. What perf refuses now is tried again at the next opportunity, without asking for one. */
  handleRequests(): void {
    const bitmap = this.#reprogram;
    this.#reprogram = 0n;
    for (const pmc of this.pmu.pmcs) {
      if (!isSet(bitmap, bit(pmc.index))) continue;
      if (!this.#reprogramCounter(pmc)) this.#reprogram |= bit(pmc.index);
    }
    if (this.#needsCleanup) this.#cleanup();
  }

  mediatedPmi(): void {}

  schedIn(): void {
    this.#needsCleanup = true;
    this.#owner.requestPmu();
  }

  schedOut(): void {}

  refresh(): void {
    for (const pmc of this.pmu.pmcs) this.#request(pmc);
  }

  reset(): void {
    this.#reprogram = 0n;
    this.#lbr?.release();
    for (const pmc of this.pmu.pmcs) {
      this.#release(pmc);
      Object.assign(this.#of(pmc), fresh());
    }
    this.pmu.reset();
  }

  release(): void {
    this.#lbr?.release();
    for (const pmc of this.pmu.pmcs) this.#release(pmc);
  }

  save(): SavedEmulated {
    return {
      pmu: this.pmu.save(),
      counters: this.pmu.pmcs.map((pmc) => {
        const backing = this.#of(pmc);
        return { ...backing, event: backing.event?.id };
      }),
      reprogram: this.#reprogram,
      inUse: this.#inUse,
      needsCleanup: this.#needsCleanup,
      lbr: this.#lbr?.save(),
    };
  }

  /** The events behind the counters must have been restored with perf. */
  restore(saved: unknown): void {
    const { pmu, counters, reprogram, inUse, needsCleanup, lbr } = saved as SavedEmulated;
    if (lbr) this.#lbr?.restore(lbr);
    this.pmu.restore(pmu);
    this.pmu.pmcs.forEach((pmc, at) => {
      const { event: id, ...rest } = counters[at]!;
      const event = id === undefined ? undefined : this.#perf.event(id);
      if (event) event.overflowHandler = () => this.#overflowed(pmc);
      Object.assign(this.#of(pmc), rest, { event });
    });
    this.#reprogram = reprogram;
    this.#inUse = inUse;
    this.#needsCleanup = needsCleanup;
  }

  /** The guest's counters, as GLOBAL_CTRL names them. */
  get #seen(): bigint {
    const { gp, fixed } = this.pmu.shape;
    return gp | (fixed << BigInt(FIXED_BASE));
  }

  get #host(): HostCpu {
    return this.#owner.host();
  }

  #of({ index }: Pmc): Backing {
    return this.#backing.get(index)!;
  }

  #request(pmc: Pmc): void {
    this.#inUse |= bit(pmc.index);
    this.#reprogram |= bit(pmc.index);
    this.#owner.requestPmu();
  }

  /** pmc_read_counter. An event in ERROR adds nothing: its counter stands still. */
  #read(pmc: Pmc): bigint {
    this.#inUse |= bit(pmc.index);
    const { counter, emulated, event, paused } = this.#of(pmc);
    const live = event && !paused ? (this.#perf.read(event)?.count ?? event.count) : 0n;
    return (counter + emulated + live) & this.pmu.mask;
  }

  /** pmc_write_counter: relative to what the event behind it has counted, which stays. */
  #write(pmc: Pmc, value: bigint): void {
    this.#inUse |= bit(pmc.index);
    const backing = this.#of(pmc);
    backing.emulated = 0n;
    backing.counter = (backing.counter + value - this.#read(pmc)) & this.pmu.mask;
    const { event, paused } = backing;
    if (!event || paused || !event.isSampling) return;
    this.#host.within('perf-event-period', () => this.#perf.setPeriod(event, this.#period(pmc)));
  }

  /** get_sample_period: events until the counter's base wraps. */
  #period(pmc: Pmc): bigint {
    const left = -this.#of(pmc).counter & this.pmu.mask;
    return left === 0n ? this.pmu.mask + 1n : left;
  }

  /** reprogram_counter; false if perf refused the event. */
  #reprogramCounter(pmc: Pmc): boolean {
    const backing = this.#of(pmc);
    const wrapped = this.#pause(pmc);
    const control = this.pmu.localControl(pmc);
    // Where GLOBAL_CTRL passes, the hardware gates: the event is there as long as it is locally enabled.
    const gated = !this.design.identity && !this.pmu.isGloballyEnabled(pmc);
    if (!control.enabled || gated) return true;
    if (!isAllowed(this.#owner.filter(), pmc)) return true;
    if (wrapped) this.#overflow(pmc);

    const config =
      pmc.index < FIXED_BASE
        ? pmc.eventsel
        : (this.pmu.fixedCtrl >> BigInt(4 * (pmc.index - FIXED_BASE))) & 0xfn;
    if (backing.config === config && this.#resume(pmc)) return true;
    this.#release(pmc);
    backing.config = config;
    return this.#create(pmc, control);
  }

  /** pmc_pause_counter: folds everything into the counter; true if emulated instructions made it wrap. */
  #pause(pmc: Pmc): boolean {
    const backing = this.#of(pmc);
    const { event } = backing;
    if (event && !backing.paused) {
      backing.counter += this.#host.within('perf-event-pause', () => this.#perf.pause(event, true));
    }
    const before = backing.counter & this.pmu.mask;
    backing.counter = (before + backing.emulated) & this.pmu.mask;
    backing.emulated = 0n;
    backing.paused = true;
    return backing.counter < before;
  }

  /** pmc_resume_counter. */
  #resume(pmc: Pmc): boolean {
    const backing = this.#of(pmc);
    const { event } = backing;
    if (!event) return false;
    this.#host.within('perf-event-resume', () => {
      if (event.isSampling) this.#perf.setPeriod(event, this.#period(pmc));
      this.#perf.enable(event);
    });
    backing.paused = false;
    return true;
  }

  #create(pmc: Pmc, control: { os: boolean; user: boolean; interrupt: boolean }): boolean {
    const backing = this.#of(pmc);
    const attr = perfEventAttr({
      config: pmc.eventsel & RAW_EVENT_MASK,
      pinned: true,
      priority: this.design.alwaysWins,
      counter: this.design.identity ? pmc.index : -1,
      excludeHost: true,
      excludeIdle: true,
      excludeUser: !control.user,
      excludeKernel: !control.os,
      samplePeriod: this.#period(pmc),
    });
    try {
      backing.event = this.#host.within('perf-event-create', () =>
        this.#perf.create(
          attr,
          { task: this.#owner.task },
          { overflow: () => this.#overflowed(pmc) },
        ),
      );
    } catch (error) {
      if (error instanceof PerfError) return false;
      throw error;
    }
    backing.paused = false;
    backing.interrupt = control.interrupt;
    return true;
  }

  #release(pmc: Pmc): void {
    const backing = this.#of(pmc);
    const { event } = backing;
    if (!event) return;
    this.#host.within('perf-event-release', () => this.#perf.release(event));
    backing.event = undefined;
    backing.config = 0n;
  }

  /** kvm_perf_overflow, in the host's NMI: ignored if the counter is to be reprogrammed anyway. */
  #overflowed(pmc: Pmc): void {
    if (isSet(this.#reprogram, bit(pmc.index))) return;
    this.#request(pmc);
    this.#overflow(pmc);
  }

  #overflow(pmc: Pmc): void {
    this.pmu.globalStatus |= bit(pmc.index);
    if (this.#of(pmc).interrupt) this.#owner.requestPmi();
  }

  /** kvm_pmu_cleanup: events of counters that a whole scheduling slice did not touch are given back. */
  #cleanup(): void {
    this.#needsCleanup = false;
    for (const pmc of this.pmu.pmcs) {
      const used = isSet(this.#inUse, bit(pmc.index));
      if (used || this.pmu.localControl(pmc).enabled) continue;
      const backing = this.#of(pmc);
      backing.counter = this.#read(pmc);
      backing.emulated = 0n;
      this.#release(pmc);
    }
    this.#inUse = 0n;
    this.#lbr?.cleanup();
  }
}

const fresh = (): Backing => ({
  counter: 0n,
  emulated: 0n,
  config: 0n,
  event: undefined,
  paused: false,
  interrupt: false,
});
