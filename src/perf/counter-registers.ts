import { bit } from '../bits/bitfield.ts';
import type { HostCpu } from '../host/cpu.ts';
import { FIXED_CTR, PERFEVTSEL } from '../msr/pmu.ts';
import type { PerfEventAttr } from './attr.ts';
import { FIXED_BASE, VLBR_INDEX } from './constraints.ts';
import { type GuestMsr, type GuestPebs, guestMsrs } from './guest-msrs.ts';
import type { HostPmu } from './host-pmu.ts';

// biome-ignore format: a table
const MSR = {
  PMC0: 0x0c1, PERFEVTSEL0: 0x186, FIXED_CTR0: 0x309, FIXED_CTR_CTRL: 0x38d, GLOBAL_STATUS: 0x38e, GLOBAL_CTRL: 0x38f,
  GLOBAL_OVF_CTRL: 0x390, A_PMC0: 0x4c1, LVTPC: 0x834,
} as const;

const RDPMC_FIXED = 0x4000_0000;

/** LVTPC as the host wants it: delivery mode NMI, not masked. */
const LVTPC_NMI = 0x400n;

/** The event selector of an attribute, without EN. INT is always on: perf folds short counters. */
export const hardwareConfig = (attr: PerfEventAttr): bigint =>
  attr.config |
  PERFEVTSEL.INT |
  (attr.excludeUser ? 0n : PERFEVTSEL.USR) |
  (attr.excludeKernel ? 0n : PERFEVTSEL.OS);

/** The registers of one CPU's PMU as the driver programs them; it knows what it last wrote and which side counts what. */
export class CounterRegisters {
  readonly shape: HostPmu;
  readonly #host: HostCpu;
  #fixedControl = 0n;
  #fixedControlWritten = 0n;
  /** Counters of events that exclude the host, of those that exclude guests, and of precise ones. */
  #excludeHost = 0n;
  #excludeGuest = 0n;
  #precise = 0n;
  #lvtProgrammed = false;

  constructor(host: HostCpu, shape: HostPmu) {
    this.#host = host;
    this.shape = shape;
  }

  /** Every counter of this PMU, as GLOBAL_CTRL names them. */
  get all(): bigint {
    return this.shape.gp | (this.shape.fixed << BigInt(FIXED_BASE));
  }

  /** Nothing counts any more. */
  close(): void {
    this.#host.wrmsr(MSR.GLOBAL_CTRL, 0n);
  }

  /** Everything that is enabled counts, on the host's side. Changes to fixed counters take effect here. */
  open(): void {
    if (this.#fixedControl !== this.#fixedControlWritten) {
      this.#host.wrmsr(MSR.FIXED_CTR_CTRL, this.#fixedControl);
      this.#fixedControlWritten = this.#fixedControl;
    }
    this.#host.wrmsr(MSR.GLOBAL_CTRL, this.all & ~this.#excludeHost);
  }

  /** Lets a counter count for an event; `config` is its selector without EN. */
  enable(index: number, attr: PerfEventAttr, config: bigint): void {
    const mask = bit(index);
    if (attr.excludeHost) this.#excludeHost |= mask;
    if (attr.excludeGuest) this.#excludeGuest |= mask;
    if (index === VLBR_INDEX) return;
    if (attr.preciseIp > 0) this.#precise |= mask;
    if (index < FIXED_BASE) {
      this.#host.wrmsr(MSR.PERFEVTSEL0 + index, config | PERFEVTSEL.EN);
      return;
    }
    const nibble =
      FIXED_CTR.PMI |
      (attr.excludeUser ? 0n : FIXED_CTR.USR) |
      (attr.excludeKernel ? 0n : FIXED_CTR.OS);
    this.#fixedControl |= nibble << BigInt(4 * (index - FIXED_BASE));
  }

  disable(index: number, config: bigint): void {
    const mask = bit(index);
    this.#excludeHost &= ~mask;
    this.#excludeGuest &= ~mask;
    this.#precise &= ~mask;
    if (index === VLBR_INDEX) return;
    if (index < FIXED_BASE) this.#host.wrmsr(MSR.PERFEVTSEL0 + index, config);
    else this.#fixedControl &= ~(0xfn << BigInt(4 * (index - FIXED_BASE)));
  }

  read(index: number): bigint {
    return this.#host.rdpmc(index < FIXED_BASE ? index : RDPMC_FIXED | (index - FIXED_BASE));
  }

  load(index: number, value: bigint): void {
    const general = this.shape.fullWidthWrites ? MSR.A_PMC0 : MSR.PMC0;
    const address = index < FIXED_BASE ? general + index : MSR.FIXED_CTR0 + index - FIXED_BASE;
    this.#host.wrmsr(address, value);
  }

  /** Counters that have overflowed, acknowledged by being asked. */
  takeStatus(): bigint {
    const status = this.#host.rdmsr(MSR.GLOBAL_STATUS);
    if (status !== 0n) this.#host.wrmsr(MSR.GLOBAL_OVF_CTRL, status);
    return status;
  }

  /** LVTPC delivers the next PMI as an NMI. */
  armLvtpc(): void {
    this.#host.wrmsr(MSR.LVTPC, LVTPC_NMI);
    this.#lvtProgrammed = true;
  }

  /** Arms LVTPC if nobody has yet (perf_events_lapic_init). */
  initialiseLvtpc(): void {
    if (!this.#lvtProgrammed) this.armLvtpc();
  }

  /** Counters of precise events that count for a guest. */
  get guestPrecise(): bigint {
    return this.#precise & ~this.#excludeGuest;
  }

  /** What must change with the side at a VM entry; the counters may count if they are `open`. */
  guestMsrs(open: boolean, guest: GuestPebs | undefined): GuestMsr[] {
    const sides = {
      enabled: open ? this.all : 0n,
      excludeHost: this.#excludeHost,
      excludeGuest: this.#excludeGuest,
      precise: this.#precise,
    };
    return guestMsrs(sides, this.shape.pebs, guest);
  }

  save() {
    return {
      fixedControl: this.#fixedControl,
      fixedControlWritten: this.#fixedControlWritten,
      excludeHost: this.#excludeHost,
      excludeGuest: this.#excludeGuest,
      precise: this.#precise,
      lvtProgrammed: this.#lvtProgrammed,
    };
  }

  /** The registers themselves are the processor's to restore. */
  restore(saved: ReturnType<CounterRegisters['save']>): void {
    this.#fixedControl = saved.fixedControl;
    this.#fixedControlWritten = saved.fixedControlWritten;
    this.#excludeHost = saved.excludeHost;
    this.#excludeGuest = saved.excludeGuest;
    this.#precise = saved.precise;
    this.#lvtProgrammed = saved.lvtProgrammed;
  }
}
