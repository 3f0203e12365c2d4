import { LocalApic, type SavedLocalApic } from '../apic/local-apic.ts';
import type { ApicMessage } from '../apic/message.ts';
import { isSet } from '../bits/bitfield.ts';
import { MASK64 } from '../bits/u64.ts';
import { type HostCpu, RESCHEDULE_VECTOR } from '../host/cpu.ts';
import { MsrBus } from '../msr/bus.ts';
import { TICKS_PER_CRYSTAL_CYCLE } from '../msr/pmu-shape.ts';
import { PRIMARY, SECONDARY } from '../msr/vmx.ts';
import type { PerfTask } from '../perf/perf.ts';
import { FIELDS, type FieldName } from '../vmx/fields.ts';
import { BLOCKING, RFLAGS } from './control-registers.ts';
import { singleStep } from './emulation.ts';
import type { InjectedEvent } from './events.ts';
import { ExitTimes, type SavedExitTimes } from './exit-times.ts';
import { setControl } from './global-ctrl.ts';
import {
  type GuestRegisters,
  giveRegisters,
  initialRegisters,
  takeRegisters,
} from './guest-registers.ts';
import { type GuestState, resetGuestMsrs, writeGuestState } from './guest-state.ts';
import { LoadedVmcs, type SavedLoadedVmcs } from './loaded-vmcs.ts';
import { GuestMsrs } from './msrs.ts';
import { forgetL2, SINGLE_CONTEXT } from './nested/leave.ts';
import { NestedVmx, type SavedNestedVmx } from './nested/nested-vmx.ts';
import { setControlRegisters } from './paging-mode.ts';
import type { Emulator } from './ports.ts';
import type { Requests } from './requests.ts';
import { run, type VcpuStop } from './run-loop.ts';
import {
  newStatistics,
  restoreStatistics,
  type SavedStatistics,
  saveStatistics,
  type VcpuStatistics,
} from './statistics.ts';
import type { Vm } from './vm.ts';
import { writeControls } from './vmcs.ts';
import type { Vpmu } from './vpmu/contract.ts';
import { PmuHandover } from './vpmu/handover.ts';

const LVT_MASKED = 0x1_0000;

/** What a vCPU does: run, sleep in HLT, or wait for SIPI. */
export type MpState = 'RUNNABLE' | 'HALTED' | 'INIT_RECEIVED';

/** A vCPU as plain data. */
export interface SavedVcpu {
  readonly apic: SavedLocalApic;
  readonly msrs: readonly (readonly [number, bigint])[];
  readonly vpmu: unknown;
  readonly statistics: SavedStatistics;
  readonly exitTimes: SavedExitTimes;
  readonly mpState: MpState;
  readonly interruptible: boolean;
  readonly exception: InjectedEvent | undefined;
  readonly tscOffset: bigint;
  readonly requests: Requests;
  readonly registers: GuestRegisters | undefined;
  readonly host: number;
  readonly vmcs01: SavedLoadedVmcs;
  readonly nested: SavedNestedVmx | undefined;
  readonly onCpu: boolean;
  readonly inGuest: boolean;
  readonly vpmuLoaded: boolean;
}

/** A virtual CPU: a thread of the host that enters its guest, and handles what comes back. */
export class Vcpu {
  readonly id: number;
  readonly vm: Vm;
  readonly task: PerfTask;
  readonly apic: LocalApic;
  readonly apicBus = new MsrBus();
  readonly msrs: GuestMsrs;
  readonly vpmu: Vpmu;
  readonly handover: PmuHandover;
  /** The VMCS of the guest itself. */
  readonly vmcs01: LoadedVmcs;
  /** VMX of the guest, if it has any. */
  readonly nested: NestedVmx | undefined;
  readonly requests: Requests = { pmu: false, pmi: false };
  readonly statistics: VcpuStatistics = newStatistics();
  readonly exitTimes = new ExitTimes();
  /** An exception to inject at the next entry. */
  exception: InjectedEvent | undefined;
  /** KVM_MP_STATE_*: application processors wait for SIPI from the start, as firmware leaves them. */
  mpState: MpState;
  /** Of one that sleeps in HLT, whether RFLAGS.IF lets an interrupt end that. */
  #interruptible = true;
  /** In non-root operation, stopped by the budget: `schedOut` must wait for the next exit. */
  inGuest = false;
  #host: HostCpu;
  /** The thread is on its CPU: VMCS current, registers in place. */
  #onCpu = false;
  #tscOffset = 0n;
  #registers: GuestRegisters | undefined;

  constructor(vm: Vm, id: number, host: HostCpu) {
    this.vm = vm;
    this.id = id;
    this.mpState = id === 0 ? 'RUNNABLE' : 'INIT_RECEIVED';
    this.#host = host;
    this.task = { name: `VM ${vm.id} CPU ${id}/KVM`, perf: undefined };
    vm.perf.register(this.task);
    this.apic = new LocalApic(
      {
        id,
        bootstrap: id === 0,
        physicalAddressBits: 46,
        ticksPerTimerCount: TICKS_PER_CRYSTAL_CYCLE,
      },
      {
        now: () => Number(this.#host.now()),
        tsc: () => this.#host.now() + this.tscOffset,
        send: (message) => vm.deliver(message, this),
        attention: () => {},
        eoi: (vector) => vm.ports.devices?.endOfInterrupt(vector),
        ...(id === 0 && vm.ports.devices && { external: vm.ports.devices.external }),
      },
    );
    this.apic.attach(this.apicBus);
    this.vpmu = vm.createVpmu(host, {
      task: this.task,
      host: () => this.#host,
      requestPmu: () => {
        this.requests.pmu = true;
      },
      requestPmi: () => {
        this.requests.pmi = true;
      },
      pmiMasked: () => this.pmiMasked,
      debugctl: () => this.read('GUEST_IA32_DEBUGCTL'),
      setIntercept: (address, exits) => vm.setIntercept(this, address, exits),
      filter: () => vm.eventFilter,
    });
    this.handover = new PmuHandover({
      vcpu: id,
      vpmu: this.vpmu,
      perf: vm.perf,
      statistics: this.statistics,
      observer: vm.observer,
      host: () => this.#host,
    });
    const { version, lbr } = this.vpmu.pmu.shape;
    this.msrs = new GuestMsrs({ hasPmu: version > 0, hasLbrStack: lbr?.kind === 'legacy' });
    this.vmcs01 = new LoadedVmcs(host, vm.pages, vm.config);
    this.nested = vm.nested ? new NestedVmx(this) : undefined;
  }

  /** The VMCS to enter: its own, or that of the guest it runs. */
  get vmcs(): LoadedVmcs {
    return this.nested?.guestMode ? this.nested.vmcs02 : this.vmcs01;
  }

  /** The CPU it runs on, or ran on last. */
  get host(): HostCpu {
    return this.#host;
  }

  get emulator(): Emulator {
    return this.vm.emulator(this.#host.id);
  }

  /** Guest TSC less host TSC. */
  get tscOffset(): bigint {
    return this.#tscOffset;
  }

  /** TSC of whoever runs, the guest or its own guest, less host TSC. */
  get activeTscOffset(): bigint {
    return this.#tscOffset + (this.nested?.tscOffset ?? 0n);
  }

  setTscOffset(offset: bigint): void {
    this.#tscOffset = offset;
    this.write('TSC_OFFSET', this.activeTscOffset & MASK64);
  }

  read(field: FieldName): bigint {
    return this.#host.vmread(FIELDS[field].encoding);
  }

  write(field: FieldName, value: bigint): void {
    this.#host.vmwrite(FIELDS[field].encoding, value);
  }

  get gpr(): BigUint64Array {
    return this.#host.registers.gpr;
  }

  get rip(): bigint {
    return this.read('GUEST_RIP');
  }

  get cpl(): number {
    return Number(this.read('GUEST_SS_ACCESS_RIGHTS') >> 5n) & 3;
  }

  /** Whether the guest's LVTPC is masked. */
  get pmiMasked(): boolean {
    return (this.apic.lvtPmi & LVT_MASKED) !== 0;
  }

  /** Gives the vCPU its first registers, on the CPU it was created for. */
  setState(state: GuestState): void {
    this.nested?.reset();
    this.vmcs.clear(this.#host);
    this.vmcs.load(this.#host);
    writeControls(this.#host, this.vm.config, {
      msrBitmap: this.vm.bitmapFor(this).address,
      eptp: this.vm.eptp,
      vpid: this.vm.vpidOf(this),
    });
    this.vmcs.forget();
    setControl(this.#host, 'PRIMARY_CONTROLS', PRIMARY.RDPMC_EXITING, this.vpmu.rdpmcExits);
    writeGuestState(this.#host, state);
    resetGuestMsrs(this.#host);
    setControlRegisters(this, state);
    this.#registers = initialRegisters(this.#host, state.gpr);
  }

  /** vcpu_load: the thread starts running on a CPU. */
  schedIn(host: HostCpu): void {
    if (this.#onCpu) return;
    // The VMCS of another CPU must be written back there before it can be current here.
    const moved = host !== this.#host;
    if (moved) {
      this.vmcs01.clear(this.#host);
      this.nested?.vmcs02.clear(this.#host);
    }
    this.#host = host;
    this.#onCpu = true;
    this.exitTimes.resume(host);
    this.vmcs.load(host);
    // What this CPU remembers of an earlier stay may be out of date: the guest has invalidated elsewhere since.
    if (moved) this.forgetTranslations();
    if (this.#registers) giveRegisters(host, this.#registers);
    this.vm.perf.taskIn(host.id, this.task);
    this.vm.kvm.running(host.id, this);
    this.vpmu.schedIn();
  }

  /** vcpu_put: the thread stops running. Never in the middle of guest code. */
  schedOut(): void {
    if (!this.#onCpu || this.inGuest) return;
    this.handover.put();
    this.vpmu.schedOut();
    this.vm.perf.taskOut(this.#host.id);
    this.vm.kvm.running(this.#host.id, undefined);
    this.#registers = takeRegisters(this.#host);
    this.exitTimes.pause(this.#host);
    this.#onCpu = false;
  }

  /**
   * kvm_arch_vcpu_runnable: whether a vCPU that does not run has something to go on for. A counter to be looked at is
   * nothing to wake up for: an overflow that HLT itself makes waits for the next interrupt.
   */
  get wakes(): boolean {
    this.elapse();
    if (this.signal !== undefined) return true;
    if (this.nested?.wakes) return true;
    if (this.mpState === 'INIT_RECEIVED') return false;
    if (this.requests.pmi || this.exception) return true;
    if (this.apic.nmiPending()) return true;
    return this.#interruptible && this.apic.pendingVector() !== undefined;
  }

  /** INIT, or the SIPI that ends the wait for it, unless VMX operation holds it back. */
  get signal(): ReturnType<LocalApic['pendingSignal']> {
    const { nested } = this;
    if (nested?.blocksSignals) return undefined;
    const waits = nested?.guestMode === true && this.mpState === 'INIT_RECEIVED';
    return this.apic.pendingSignal(waits);
  }

  /** HLT, which has retired. */
  halt(): void {
    this.mpState = 'HALTED';
    this.#interruptible = isSet(this.read('GUEST_RFLAGS'), RFLAGS.IF);
  }

  /** Ticks at which its own timer or a device next wants it; Infinity if never. */
  nextDeadline(): number {
    const devices = this.id === 0 ? this.vm.ports.devices : undefined;
    return Math.min(
      this.apic.nextDeadline(),
      devices?.nextDeadline() ?? Number.POSITIVE_INFINITY,
      this.nested?.timerDeadline ?? Number.POSITIVE_INFINITY,
    );
  }

  /** Fires what the clock has reached: the APIC's timer, and for the first vCPU the VM's devices. */
  elapse(): void {
    this.apic.elapse();
    if (this.id === 0) this.vm.ports.devices?.elapse();
  }

  /** Runs until `until` ticks of its CPU's time. The vCPU must be scheduled in. */
  step(until: bigint): VcpuStop {
    return run(this, until);
  }

  /** Delivers a message to this vCPU's APIC. In guest code on a CPU of its own it is kicked out of it, by `from`. */
  deliver(message: ApicMessage, from: HostCpu): void {
    this.apic.deliver(message);
    if (this.inGuest && from !== this.#host) from.sendIpi(this.#host.id, RESCHEDULE_VECTOR);
  }

  /** Steps over the instruction that exited, which thereby retires. */
  skipInstruction(): void {
    const length = this.read('VM_EXIT_INSTRUCTION_LENGTH');
    this.write('GUEST_RIP', this.rip + length);
    this.retireEmulated(false);
  }

  /** An instruction that KVM has carried out; RIP is already behind it. The vPMU hears of the retirement. */
  retireEmulated(branch: boolean): void {
    const blocking = this.read('GUEST_INTERRUPTIBILITY_STATE');
    this.write('GUEST_INTERRUPTIBILITY_STATE', blocking & ~BigInt(BLOCKING.STI | BLOCKING.MOV_SS));
    singleStep(this);
    this.nested?.retiredEmulated();
    this.countRetired(branch);
  }

  /** The vPMU hears that an instruction has retired. */
  countRetired(branch: boolean): void {
    this.statistics.emulatedInstructions += 1;
    const { cpl } = this;
    this.vm.observer?.retired?.({ vcpu: this.id, branch, cpl });
    this.vpmu.instructionRetired({ branch, cpl });
  }

  /** @param payload of a debug exception its conditions in DR6, of a page fault its address */
  inject(vector: number, errorCode?: number, payload?: bigint): void {
    this.exception = {
      type: 'exception',
      vector,
      errorCode,
      ...(payload !== undefined && { payload }),
    };
  }

  /** What this CPU has translated for the guest, and for the guest's own guest, is forgotten. */
  forgetTranslations(): void {
    const { vm, nested } = this;
    if ((vm.config.secondary & SECONDARY.ENABLE_VPID) !== 0) {
      this.#host.vmx.invvpid(SINGLE_CONTEXT, BigInt(vm.vpidOf(this)), 0n);
    }
    if (nested) forgetL2(this, nested);
  }

  /** All of the vCPU that is no register of a processor and no page of memory. */
  save(): SavedVcpu {
    return {
      apic: this.apic.save(),
      msrs: this.msrs.save(),
      vpmu: this.vpmu.save(),
      statistics: saveStatistics(this.statistics),
      exitTimes: this.exitTimes.save(),
      mpState: this.mpState,
      interruptible: this.#interruptible,
      exception: this.exception,
      tscOffset: this.#tscOffset,
      requests: { ...this.requests },
      registers: this.#registers,
      host: this.#host.id,
      vmcs01: this.vmcs01.save(),
      nested: this.nested?.save(),
      onCpu: this.#onCpu,
      inGuest: this.inGuest,
      vpmuLoaded: this.handover.save(),
    };
  }

  /** Processors, memory and perf must have been restored already. */
  restore(saved: SavedVcpu): void {
    this.apic.restore(saved.apic);
    this.msrs.restore(saved.msrs);
    this.vpmu.restore(saved.vpmu);
    restoreStatistics(this.statistics, saved.statistics);
    this.exitTimes.restore(saved.exitTimes);
    this.mpState = saved.mpState;
    this.#interruptible = saved.interruptible;
    this.exception = saved.exception;
    this.#tscOffset = saved.tscOffset;
    Object.assign(this.requests, saved.requests);
    this.#registers = saved.registers;
    this.#host = this.vm.kvm.host(saved.host);
    this.vmcs01.restore(saved.vmcs01);
    if (saved.nested) this.nested?.restore(saved.nested);
    this.#onCpu = saved.onCpu;
    this.inGuest = saved.inGuest;
    this.handover.restore(saved.vpmuLoaded);
  }
}
