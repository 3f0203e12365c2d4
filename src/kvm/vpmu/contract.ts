import type { HostCpu } from '../../host/cpu.ts';
import type { ReadOutcome, WriteOutcome } from '../../msr/bus.ts';
import type { GuestMsr } from '../../perf/guest-msrs.ts';
import type { Perf, PerfTask } from '../../perf/perf.ts';
import type { VpmuDesign } from './designs.ts';
import type { PmuEventFilter } from './event-filter.ts';
import type { PmuExposure } from './exposure.ts';
import type { GuestPmu } from './guest-pmu.ts';

/** What a vPMU may use of the vCPU it belongs to. */
export interface VpmuOwner {
  /** The thread the vCPU runs in. */
  readonly task: PerfTask;
  /** The physical CPU the vCPU is on. */
  host(): HostCpu;
  /** KVM_REQ_PMU: `handleRequests` must run before the next entry. */
  requestPmu(): void;
  /** KVM_REQ_PMI: deliver a PMI through the guest's LVTPC before the next entry. */
  requestPmi(): void;
  /** Whether the guest's LVTPC is masked. */
  pmiMasked(): boolean;
  /** IA32_DEBUGCTL of the guest, a field of the VMCS. */
  debugctl(): bigint;
  /** From now on guest accesses to an MSR exit, or do not. */
  setIntercept(address: number, exits: boolean): void;
  /** The VM's event filter. */
  filter(): PmuEventFilter | undefined;
}

export interface VpmuParts {
  readonly owner: VpmuOwner;
  readonly perf: Perf;
  readonly host: HostCpu;
  readonly design: VpmuDesign;
  readonly exposure: PmuExposure;
}

/** The GLOBAL_CTRL values that VM entry and exit switch between; `undefined` leaves the register alone. */
export interface GlobalCtrlSwitch {
  readonly guest: bigint;
  readonly host: bigint;
  /** The exit also saves what the guest left there. */
  readonly save: boolean;
}

/** What every design of a virtual PMU keeps. The vCPU calls it; it reaches hardware through `host` only. */
export interface Vpmu {
  readonly design: VpmuDesign;
  readonly pmu: GuestPmu;
  /** Whether a guest access to an MSR exits. */
  intercepts(address: number, access: 'read' | 'write'): boolean;
  /** Whether RDPMC exits. */
  readonly rdpmcExits: boolean;
  /** A trapped access; 'unclaimed' where the register is not one of the guest's PMU. */
  rdmsr(address: number): ReadOutcome;
  wrmsr(address: number, value: bigint): WriteOutcome;
  rdpmc(ecx: number): bigint | '#GP';
  /** The guest has written IA32_DEBUGCTL, which is no register of its PMU. */
  debugctlWritten(value: bigint): void;
  /** Before the VM entries of one pass of the run loop, interrupts off. */
  load(): void;
  /** After them, interrupts still off. */
  put(): void;
  /** Immediately before an entry, loaded: what has to follow the guest's local APIC does. */
  sync(): void;
  /** Whether the host has use for the PMU now; a design that gives it back lazily then puts. */
  hostWantsPmu(): boolean;
  /** What GLOBAL_CTRL must be at the entry that follows. */
  globalCtrlSwitch(): GlobalCtrlSwitch | undefined;
  /** Other MSRs that the entry and the exit after it switch, as of the last `globalCtrlSwitch`. */
  switchedMsrs(): readonly GuestMsr[];
  /** A VM exit has happened; the exit saved GLOBAL_CTRL `saved` if it was to. */
  exited(saved: bigint | undefined): void;
  /** KVM carried out an instruction for the guest, which retires at `cpl`. */
  instructionRetired(instruction: { branch: boolean; cpl: number }): void;
  /** Whether some counter counts what `instructionRetired` adds; fastpath exits are then not taken. */
  countsRetired(): boolean;
  /** KVM_REQ_PMU. */
  handleRequests(): void;
  /** The vector of mediated PMIs fired while this vCPU's counters were loaded. */
  mediatedPmi(): void;
  /** The vCPU's thread starts or stops running on a CPU. */
  schedIn(): void;
  schedOut(): void;
  /** The filter or CPUID has changed: everything is looked at again. */
  refresh(): void;
  /** RESET; INIT leaves the PMU as it is. */
  reset(): void;
  /** The vCPU goes away. */
  release(): void;
  save(): unknown;
  restore(saved: unknown): void;
}
