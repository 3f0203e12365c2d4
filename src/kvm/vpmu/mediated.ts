import { CounterpointError } from '../../bits/error.ts';
import type { HostCpu } from '../../host/cpu.ts';
import type { ReadOutcome, WriteOutcome } from '../../msr/bus.ts';
import { PERFEVTSEL } from '../../msr/pmu.ts';
import { indices } from '../../msr/pmu-shape.ts';
import type { HostPmu } from '../../perf/host-pmu.ts';
import type { Perf } from '../../perf/perf.ts';
import type { GlobalCtrlSwitch, Vpmu, VpmuOwner, VpmuParts } from './contract.ts';
import type { VpmuDesign } from './designs.ts';
import { isAllowed } from './event-filter.ts';
import { guestPmuShape, isWhole } from './exposure.ts';
import { ExtraState } from './extras.ts';
import { FIXED_BASE, GuestPmu, type Pmc, type SavedGuestPmu } from './guest-pmu.ts';
import { MSR, registerKind } from './registers.ts';

interface SavedMediated {
  readonly pmu: SavedGuestPmu;
  readonly counters: readonly (readonly [number, bigint])[];
  readonly selectorHw: readonly (readonly [number, bigint])[];
  readonly fixedCtrlHw: bigint;
  readonly loaded: boolean;
  readonly lvtpcMasked: boolean;
  readonly extras: ReturnType<ExtraState['save']>;
}

/** STATUS_SET, which LOAD restores a guest's overflows with, comes with this version. */
const LEAST_VERSION = 4;

/**
 * Whether the host's PMU can be loaded and put (is_mediated_pmu_supported). Linux falls back to the emulated vPMU in
 * silence; here nobody measures another design than the one asked for.
 * @throws CounterpointError `mediated-unsupported`
 */
export function checkHostPmu({ kind, name }: VpmuDesign, host: HostPmu): void {
  if (kind !== 'mediated' || (host.version >= LEAST_VERSION && host.fullWidthWrites)) return;
  const writes = host.fullWidthWrites ? 'with' : 'without';
  throw new CounterpointError(
    'mediated-unsupported',
    `design ${name} needs a host PMU of version ${LEAST_VERSION} or later with full-width writes: this one is version ${host.version} ${writes} them`,
  );
}

/**
 * The mediated vPMU (the passthrough one of its first postings): guest counter i is hardware counter i. The
 * registers are loaded before the guest runs and taken back after; GLOBAL_CTRL opens and closes with VM entry
 * and VM exit. Of each control there are two copies: what the guest wrote, and what the hardware may hold.
 */
export class MediatedVpmu implements Vpmu {
  readonly design: VpmuDesign;
  readonly pmu: GuestPmu;
  readonly rdpmcExits: boolean;
  readonly #owner: VpmuOwner;
  readonly #perf: Perf;
  readonly #hostPmu: HostPmu;
  /** Guest values while the hardware does not hold them. */
  readonly #counters = new Map<number, bigint>();
  readonly #selectorHw = new Map<number, bigint>();
  #fixedCtrlHw = 0n;
  readonly #extras: ExtraState;
  /** Between load and put. */
  #loaded = false;
  /** Whether the physical LVTPC is masked: as the guest's, and by the delivery of a PMI. */
  #lvtpcMasked = false;
  #whole: boolean;

  constructor({ owner, perf, host, design, exposure }: VpmuParts) {
    this.design = design;
    this.#owner = owner;
    this.#perf = perf;
    this.#hostPmu = perf.cpu(host.id).pmu.shape;
    this.pmu = new GuestPmu(guestPmuShape(this.#hostPmu, exposure, design), {
      read: (pmc) => this.#read(pmc),
      write: (pmc, value) => this.#write(pmc, value),
      changed: (pmc) => this.#changed(pmc),
    });
    this.#whole = isWhole(this.pmu.shape, this.#hostPmu);
    this.#extras = new ExtraState(this.#passes('extras') ? this.pmu.shape : undefined);
    this.rdpmcExits = !this.#passes('rdpmc');
    this.reset();
  }

  intercepts(address: number): boolean {
    const kind = registerKind(address, this.pmu.shape);
    return !this.#passes(kind);
  }

  rdmsr(address: number): ReadOutcome {
    if (this.#loaded && address === MSR.GLOBAL_STATUS) this.#readStatus();
    return this.pmu.rdmsr(address);
  }

  wrmsr(address: number, value: bigint): WriteOutcome {
    const outcome = this.pmu.wrmsr(address, value);
    if (this.#loaded && address === MSR.GLOBAL_STATUS_RESET && outcome === 'done') {
      this.#host.wrmsr(MSR.GLOBAL_STATUS_RESET, value);
    }
    return outcome;
  }

  rdpmc(ecx: number): bigint | '#GP' {
    return this.pmu.rdpmc(ecx);
  }

  /** Legacy LBRs are not virtualised, architectural ones do not need it. */
  debugctlWritten(): void {}

  /** kvm_mediated_pmu_load. */
  load(): void {
    const host = this.#host;
    if (this.#hostHasPmu) this.#perf.loadGuestContext(host.id, this.#meeting);
    host.wrmsr(MSR.GLOBAL_CTRL, 0n);
    this.#lvtpcMasked = this.#owner.pmiMasked();
    this.#perf.loadGuestLvtpc(host.id, this.#lvtpcMasked);
    for (const pmc of this.pmu.pmcs) {
      const value = this.#counters.get(pmc.index)!;
      if (!this.design.elides || host.rdpmc(rdpmcIndex(pmc)) !== value) {
        host.wrmsr(counterAddress(pmc), value);
      }
      if (pmc.index < FIXED_BASE) {
        host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, this.#selectorHw.get(pmc.index)!);
      }
    }
    if (this.design.zeroesUnexposed) this.#zeroUnexposed(host);
    const status = host.rdmsr(MSR.GLOBAL_STATUS);
    const toggled = status ^ this.pmu.globalStatus;
    if ((toggled & status) !== 0n) host.wrmsr(MSR.GLOBAL_STATUS_RESET, toggled & status);
    if ((toggled & ~status) !== 0n) host.wrmsr(MSR.GLOBAL_STATUS_SET, toggled & ~status);
    host.wrmsr(MSR.FIXED_CTR_CTRL, this.#fixedCtrlHw);
    this.#extras.load(host);
    this.#loaded = true;
  }

  /** kvm_mediated_pmu_put. The VM exit has closed GLOBAL_CTRL. */
  put(): void {
    const host = this.#host;
    this.#extras.put(host);
    this.pmu.globalStatus = host.rdmsr(MSR.GLOBAL_STATUS);
    if (this.pmu.globalStatus !== 0n) host.wrmsr(MSR.GLOBAL_STATUS_RESET, this.pmu.globalStatus);
    if (this.#passes('selectors')) this.#readBackSelectors(host);
    if (this.#fixedCtrlHw !== 0n) host.wrmsr(MSR.FIXED_CTR_CTRL, 0n);
    for (const pmc of this.pmu.pmcs) {
      const value = host.rdpmc(rdpmcIndex(pmc));
      this.#counters.set(pmc.index, value);
      if (value !== 0n) host.wrmsr(counterAddress(pmc), 0n);
      if (pmc.index < FIXED_BASE && this.#selectorHw.get(pmc.index) !== 0n) {
        host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, 0n);
      }
    }
    this.#loaded = false;
    this.#perf.putGuestLvtpc(host.id);
    if (this.#hostHasPmu) this.#perf.putGuestContext(host.id);
  }

  /** The guest may have masked or opened its LVTPC since, or a PMI have masked the physical one. */
  sync(): void {
    const masked = this.#owner.pmiMasked();
    if (masked === this.#lvtpcMasked) return;
    this.#perf.loadGuestLvtpc(this.#host.id, masked);
    this.#lvtpcMasked = masked;
  }

  hostWantsPmu(): boolean {
    return this.#hostHasPmu && this.#perf.hasEvents(this.#host.id);
  }

  switchedMsrs(): readonly [] {
    return [];
  }

  globalCtrlSwitch(): GlobalCtrlSwitch {
    return { guest: this.pmu.globalCtrl, host: 0n, save: this.#passes('global') };
  }

  exited(saved: bigint | undefined): void {
    if (saved === undefined) return;
    this.#host.spend('vmread');
    this.pmu.globalCtrl = saved;
  }

  /** The counter is where the value is: loaded, it is a register increment. */
  instructionRetired(instruction: { branch: boolean; cpl: number }): void {
    for (const pmc of this.pmu.pmcs) {
      if (!this.pmu.countsRetired(pmc, instruction)) continue;
      if (!isAllowed(this.#owner.filter(), pmc)) continue;
      const value = (this.#read(pmc) + 1n) & this.pmu.mask;
      this.#write(pmc, value);
      if (value !== 0n) continue;
      this.pmu.globalStatus |= pmc.mask;
      if (this.#loaded) this.#host.wrmsr(MSR.GLOBAL_STATUS_SET, pmc.mask);
      if (this.pmu.localControl(pmc).interrupt) this.#owner.requestPmi();
    }
  }

  countsRetired(): boolean {
    const instruction = { branch: true, cpl: 0 };
    return this.pmu.pmcs.some(
      (pmc) =>
        this.pmu.countsRetired(pmc, instruction) ||
        this.pmu.countsRetired(pmc, { ...instruction, cpl: 3 }),
    );
  }

  handleRequests(): void {}

  mediatedPmi(): void {
    this.#lvtpcMasked = true;
    this.#owner.requestPmi();
  }

  schedIn(): void {}

  schedOut(): void {}

  refresh(): void {
    for (const pmc of this.pmu.pmcs) this.#changed(pmc);
  }

  reset(): void {
    if (this.#loaded) this.#clearHardware(this.#host);
    this.pmu.reset();
    for (const { index } of this.pmu.pmcs) {
      this.#counters.set(index, 0n);
      if (index < FIXED_BASE) this.#selectorHw.set(index, 0n);
    }
    this.#fixedCtrlHw = 0n;
    this.#extras.reset();
  }

  release(): void {}

  save(): SavedMediated {
    return {
      pmu: this.pmu.save(),
      counters: [...this.#counters],
      selectorHw: [...this.#selectorHw],
      fixedCtrlHw: this.#fixedCtrlHw,
      loaded: this.#loaded,
      lvtpcMasked: this.#lvtpcMasked,
      extras: this.#extras.save(),
    };
  }

  restore(saved: unknown): void {
    const from = saved as SavedMediated;
    this.pmu.restore(from.pmu);
    for (const [index, value] of from.counters) this.#counters.set(index, value);
    for (const [index, value] of from.selectorHw) this.#selectorHw.set(index, value);
    this.#fixedCtrlHw = from.fixedCtrlHw;
    this.#loaded = from.loaded;
    this.#lvtpcMasked = from.lvtpcMasked;
    this.#extras.restore(from.extras);
  }

  get #host(): HostCpu {
    return this.#owner.host();
  }

  get #hostHasPmu(): boolean {
    return this.design.hostRule !== 'none';
  }

  get #meeting(): 'displace' | 'error' {
    return this.design.hostRule === 'error' || this.design.hostRule === 'error-scoped'
      ? 'error'
      : 'displace';
  }

  #readStatus(): void {
    this.pmu.globalStatus = this.#host.rdmsr(MSR.GLOBAL_STATUS);
  }

  #passes(kind: keyof VpmuDesign['interception']): boolean {
    const rule = this.design.interception[kind];
    return rule === 'pass' || (rule === 'pass-if-whole' && this.#whole);
  }

  #read(pmc: Pmc): bigint {
    return this.#loaded ? this.#host.rdpmc(rdpmcIndex(pmc)) : this.#counters.get(pmc.index)!;
  }

  #write(pmc: Pmc, value: bigint): void {
    if (this.#loaded) this.#host.wrmsr(counterAddress(pmc), value);
    else this.#counters.set(pmc.index, value);
  }

  /** The hardware copy: what the guest wrote, without what the filter denies. */
  #changed(pmc: Pmc): void {
    const allowed = isAllowed(this.#owner.filter(), pmc);
    if (pmc.index < FIXED_BASE) {
      const selector = allowed ? pmc.eventsel : pmc.eventsel & ~PERFEVTSEL.EN;
      this.#selectorHw.set(pmc.index, selector);
      if (this.#loaded) this.#host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, selector);
      return;
    }
    const nibble = 0xfn << BigInt(4 * (pmc.index - FIXED_BASE));
    this.#fixedCtrlHw =
      (this.#fixedCtrlHw & ~nibble) | (allowed ? this.pmu.fixedCtrl & nibble : 0n);
    if (this.#loaded) this.#host.wrmsr(MSR.FIXED_CTR_CTRL, this.#fixedCtrlHw);
  }

  /** Selectors that the guest wrote without an exit. */
  #readBackSelectors(host: HostCpu): void {
    for (const pmc of this.pmu.pmcs) {
      if (pmc.index >= FIXED_BASE) continue;
      pmc.eventsel = host.rdmsr(MSR.PERFEVTSEL0 + pmc.index);
      this.#selectorHw.set(pmc.index, pmc.eventsel);
    }
    this.pmu.fixedCtrl = host.rdmsr(MSR.FIXED_CTR_CTRL);
    this.#fixedCtrlHw = this.pmu.fixedCtrl;
  }

  /** What the hardware holds for the guest goes, too. */
  #clearHardware(host: HostCpu): void {
    for (const pmc of this.pmu.pmcs) {
      host.wrmsr(counterAddress(pmc), 0n);
      if (pmc.index < FIXED_BASE) host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, 0n);
    }
    host.wrmsr(MSR.FIXED_CTR_CTRL, 0n);
    host.wrmsr(MSR.GLOBAL_STATUS_RESET, host.rdmsr(MSR.GLOBAL_STATUS));
  }

  #zeroUnexposed(host: HostCpu): void {
    const { gp, fixed, perfMetrics } = this.pmu.shape;
    for (const index of indices(this.#hostPmu.gp & ~gp)) {
      host.wrmsr(MSR.A_PMC0 + index, 0n);
      host.wrmsr(MSR.PERFEVTSEL0 + index, 0n);
    }
    for (const index of indices(this.#hostPmu.fixed & ~fixed)) {
      host.wrmsr(MSR.FIXED_CTR0 + index, 0n);
    }
    // RDPMC reads them as well.
    if (this.#hostPmu.perfMetrics && !perfMetrics) host.wrmsr(MSR.PERF_METRICS, 0n);
  }
}

const RDPMC_FIXED = 0x4000_0000;

const rdpmcIndex = ({ index }: Pmc): number =>
  index < FIXED_BASE ? index : RDPMC_FIXED | (index - FIXED_BASE);

const counterAddress = ({ index }: Pmc): number =>
  index < FIXED_BASE ? MSR.A_PMC0 + index : MSR.FIXED_CTR0 + index - FIXED_BASE;
