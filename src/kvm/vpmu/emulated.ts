import { bit, isSet } from '../../bits/bitfield.ts';
import type { HostCpu } from '../../host/cpu.ts';
import type { ReadOutcome, WriteOutcome } from '../../msr/bus.ts';
import { PERF_GLOBAL } from '../../msr/pmu.ts';
import type { GuestMsr, GuestPebs } from '../../perf/guest-msrs.ts';
import type { Perf } from '../../perf/perf.ts';
import type { GlobalCtrlSwitch, Vpmu, VpmuOwner, VpmuParts } from './contract.ts';
import type { VpmuDesign } from './designs.ts';
import { isAllowed } from './event-filter.ts';
import { guestPmuShape, isWhole } from './exposure.ts';
import { GuestLbr } from './guest-lbr.ts';
import { FIXED_BASE, GuestPmu, type Pmc, type SavedGuestPmu } from './guest-pmu.ts';
import { PerfCounter, type SavedPerfCounter } from './perf-counter.ts';
import { MSR } from './registers.ts';

interface SavedEmulated {
  readonly pmu: SavedGuestPmu;
  readonly counters: readonly SavedPerfCounter[];
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
  readonly #counters = new Map<number, PerfCounter>();
  readonly #passesGlobalCtrl: boolean;
  readonly #lbr: GuestLbr | undefined;
  /** Counters to look at again before the next entry. */
  #reprogram = 0n;
  /** Counters that were touched in this scheduling slice. */
  #inUse = 0n;
  #needsCleanup = false;
  /** What the next entry loads beside GLOBAL_CTRL. */
  #switched: readonly GuestMsr[] = [];

  constructor({ owner, perf, host, design, exposure }: VpmuParts) {
    this.design = design;
    this.#owner = owner;
    this.#perf = perf;
    const hostPmu = perf.cpu(host.id).pmu.shape;
    const shape = guestPmuShape(hostPmu, exposure, design);
    this.#passesGlobalCtrl = design.identity && isWhole(shape, hostPmu);
    this.pmu = new GuestPmu(shape, {
      read: (pmc) => this.#read(pmc),
      write: (pmc, value) => this.#write(pmc, value),
      changed: (pmc) => this.#request(pmc),
    });
    const { mask } = this.pmu;
    for (const { index } of this.pmu.pmcs) {
      this.#counters.set(index, new PerfCounter({ owner, perf, design, index, mask }));
    }
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
    const [control, ...others] = this.#perf.guestMsrs(this.#host.id, this.#pebs());
    this.#switched = others;
    const { host, guest } = control!;
    if (this.design.identity) {
      // Counters the guest can see follow its own enables, whoever's event is on them.
      const seen = this.#seen;
      const opened = (guest & ~seen) | (this.pmu.globalCtrl & seen);
      return { guest: opened, host, save: this.#passesGlobalCtrl };
    }
    return host === guest ? undefined : { guest, host, save: false };
  }

  switchedMsrs(): readonly GuestMsr[] {
    return this.#switched;
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
      this.#of(pmc).add();
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
      if (!isSet(bitmap, pmc.mask)) continue;
      if (!this.#reprogramCounter(pmc)) this.#reprogram |= pmc.mask;
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
      this.#of(pmc).reset();
    }
    this.pmu.reset();
  }

  release(): void {
    this.#lbr?.release();
    for (const counter of this.#counters.values()) counter.release();
  }

  save(): SavedEmulated {
    return {
      pmu: this.pmu.save(),
      counters: this.pmu.pmcs.map((pmc) => this.#of(pmc).save()),
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
      this.#of(pmc).restore(counters[at]!, () => this.#overflowed(pmc));
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

  #of({ index }: Pmc): PerfCounter {
    return this.#counters.get(index)!;
  }

  #request(pmc: Pmc): void {
    this.#inUse |= pmc.mask;
    this.#reprogram |= pmc.mask;
    this.#owner.requestPmu();
  }

  #read(pmc: Pmc): bigint {
    this.#inUse |= pmc.mask;
    return this.#of(pmc).read();
  }

  #write(pmc: Pmc, value: bigint): void {
    this.#inUse |= pmc.mask;
    this.#of(pmc).write(value);
  }

  /** reprogram_counter; false if perf refused the event. */
  #reprogramCounter(pmc: Pmc): boolean {
    const counter = this.#of(pmc);
    const wrapped = counter.pause();
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
    const samples = this.pmu.samples(pmc);
    if (counter.resume(config, samples)) return true;
    counter.release();
    const asked = { ...control, samples };
    return counter.create(config, pmc.eventsel, asked, () => this.#overflowed(pmc));
  }

  /** kvm_perf_overflow, in the host's NMI: ignored if the counter is to be reprogrammed anyway. */
  #overflowed(pmc: Pmc): void {
    if (isSet(this.#reprogram, pmc.mask)) return;
    this.#request(pmc);
    if (this.#of(pmc).isPrecise) this.#bufferFull(pmc);
    else this.#overflow(pmc);
  }

  /** Emulated instructions write no records, so a sampling counter that they make wrap says nothing. */
  #overflow(pmc: Pmc): void {
    if (!this.#of(pmc).isPrecise) this.#tell(pmc, pmc.mask);
  }

  /** The guest's DS buffer has reached its threshold: one PMI until the guest has seen to it. */
  #bufferFull(pmc: Pmc): void {
    const { OVF_BUFFER } = PERF_GLOBAL;
    if (!isSet(this.pmu.globalStatus, OVF_BUFFER)) this.#tell(pmc, OVF_BUFFER);
  }

  /** Sets a status bit of the guest, with a PMI where the counter asks for one. */
  #tell(pmc: Pmc, status: bigint): void {
    this.pmu.globalStatus |= status;
    if (this.#of(pmc).interrupts) this.#owner.requestPmi();
  }

  /** What perf is told of the guest's PEBS; nothing where the guest has none. */
  #pebs(): GuestPebs | undefined {
    if (!this.pmu.shape.pebs) return undefined;
    const { dsArea, pebsEnable, globalCtrl } = this.pmu;
    const crossMapped = isSet(pebsEnable, globalCtrl) ? this.#crossMapped() : 0n;
    return { dsArea, pebsEnable, crossMapped };
  }

  /** intel_pmu_cross_mapped_check: host counters behind enabled guest counters of another index, sampling or not. */
  #crossMapped(): bigint {
    return this.pmu.pmcs.reduce((mask, pmc) => {
      const enabled = this.pmu.isGloballyEnabled(pmc) && this.pmu.localControl(pmc).enabled;
      const index = enabled ? this.#of(pmc).hostIndex : undefined;
      return index === undefined || index === pmc.index ? mask : mask | bit(index);
    }, 0n);
  }

  /** kvm_pmu_cleanup: events of counters that a whole scheduling slice did not touch are given back. */
  #cleanup(): void {
    this.#needsCleanup = false;
    for (const pmc of this.pmu.pmcs) {
      const used = isSet(this.#inUse, pmc.mask);
      if (used || this.pmu.localControl(pmc).enabled) continue;
      this.#of(pmc).stop();
    }
    this.#inUse = 0n;
    this.#lbr?.cleanup();
  }
}
