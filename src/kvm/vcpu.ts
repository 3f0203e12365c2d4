import { LocalApic, type SavedLocalApic } from '../apic/local-apic.ts';
import type { ApicMessage } from '../apic/message.ts';
import { isSet } from '../bits/bitfield.ts';
import { CounterpointError } from '../bits/error.ts';
import { hex } from '../bits/hex.ts';
import type { HostCpu } from '../host/cpu.ts';
import { MsrBus } from '../msr/bus.ts';
import { TICKS_PER_CRYSTAL_CYCLE } from '../msr/pmu-shape.ts';
import { PIN, PRIMARY } from '../msr/vmx.ts';
import type { PerfTask } from '../perf/perf.ts';
import { ENTRY_FAILURE, EXIT_REASON, exitReasonName } from '../vmx/exit-reasons.ts';
import { FIELDS, type FieldName } from '../vmx/fields.ts';
import { BLOCKING, RFLAGS } from './control-registers.ts';
import { type InjectedEvent, reinject, writeInjection } from './events.ts';
import { EXIT_HANDLERS, type Next } from './exit-handlers.ts';
import { fastpath } from './fastpath.ts';
import { GlobalCtrlFields, setControl } from './global-ctrl.ts';
import { type GuestState, writeGuestState } from './guest-state.ts';
import { CPU_MSRS, GuestMsrs } from './msrs.ts';
import { setControlRegisters } from './paging-mode.ts';
import type { Emulator } from './ports.ts';
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

/** Why a vCPU gave its CPU up. */
export type VcpuStop =
  /** The time it was given is over; it may be in the middle of guest code. */
  | 'budget'
  /** The host wants the CPU for another task. */
  | 'preempted'
  /** HLT, and nothing pending. */
  | 'halted'
  | 'shutdown'
  /** User space asked the VM to stop. */
  | 'stopped';

const NMI_INTERRUPTION_TYPE = 2;
const INTERRUPTION_VALID = 0x8000_0000;

interface SavedRegisters {
  readonly gpr: readonly bigint[];
  readonly cr2: bigint;
  readonly xcr0: bigint;
  readonly dr: readonly bigint[];
  readonly extended: Uint8Array;
  readonly msrs: readonly bigint[];
}

/** A vCPU as plain data. */
export interface SavedVcpu {
  readonly apic: SavedLocalApic;
  readonly msrs: readonly (readonly [number, bigint])[];
  readonly vpmu: unknown;
  readonly statistics: SavedStatistics;
  readonly halted: boolean;
  readonly exception: InjectedEvent | undefined;
  readonly tscOffset: bigint;
  readonly requestPmu: boolean;
  readonly requestPmi: boolean;
  readonly registers: SavedRegisters | undefined;
  readonly globalCtrl: ReturnType<GlobalCtrlFields['save']>;
  readonly host: number;
  readonly launched: boolean;
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
  readonly statistics: VcpuStatistics = newStatistics();
  /** An exception to inject at the next entry. */
  exception: InjectedEvent | undefined;
  halted = false;
  #host: HostCpu;
  readonly #vmcs: number;
  readonly #globalCtrl: GlobalCtrlFields;
  #launched = false;
  /** The thread is on its CPU: VMCS current, registers in place. */
  #onCpu = false;
  /** In non-root operation, stopped by the budget. */
  #inGuest = false;
  #vpmuLoaded = false;
  #tscOffset = 0n;
  #requestPmu = false;
  #requestPmi = false;
  #registers: SavedRegisters | undefined;

  constructor(vm: Vm, id: number, host: HostCpu) {
    this.vm = vm;
    this.id = id;
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
        this.#requestPmu = true;
      },
      requestPmi: () => {
        this.#requestPmi = true;
      },
      pmiMasked: () => this.#pmiMasked(),
      filter: () => vm.eventFilter,
    });
    this.msrs = new GuestMsrs({ hasPmu: this.vpmu.pmu.shape.version > 0 });
    this.#vmcs = vm.pages.allocate();
    host.memory.write(this.#vmcs, 4, vm.config.revision);
    this.#globalCtrl = new GlobalCtrlFields(vm.config, vm.pages.allocate());
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

  setTscOffset(offset: bigint): void {
    this.#tscOffset = offset;
    this.write('TSC_OFFSET', offset & 0xffff_ffff_ffff_ffffn);
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

  /** Gives the vCPU its first registers, on the CPU it was created for. */
  setState(state: GuestState): void {
    this.#becomeCurrent(() => {
      writeControls(this.#host, this.vm.config, {
        msrBitmap: this.vm.bitmapFor(this).address,
        eptp: this.vm.eptp,
        vpid: this.vm.vpidOf(this),
      });
      this.#globalCtrl.forget();
      setControl(this.#host, 'PRIMARY_CONTROLS', PRIMARY.RDPMC_EXITING, this.vpmu.rdpmcExits);
      writeGuestState(this.#host, state);
      setControlRegisters(this, state);
    });
    this.#registers = {
      gpr: [...state.gpr],
      cr2: 0n,
      xcr0: 1n,
      dr: [0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n],
      extended: this.#host.registers.saveExtended(),
      msrs: CPU_MSRS.map(() => 0n),
    };
  }

  /** vcpu_load: the thread starts running on a CPU. */
  schedIn(host: HostCpu): void {
    if (this.#onCpu) return;
    const moved = host !== this.#host;
    // The VMCS of another CPU must be written back there before it can be current here.
    if (moved) this.#clearVmcs();
    this.#host = host;
    this.#onCpu = true;
    expectSuccess('VMPTRLD', host.vmx.vmptrld(BigInt(this.#vmcs)));
    this.#restoreRegisters();
    this.vm.perf.taskIn(host.id, this.task);
    this.vm.kvm.running(host.id, this);
    this.vpmu.schedIn();
  }

  /** vcpu_put: the thread stops running. Never in the middle of guest code. */
  schedOut(): void {
    if (!this.#onCpu || this.#inGuest) return;
    this.#putVpmu();
    this.vpmu.schedOut();
    this.vm.perf.taskOut(this.#host.id);
    this.vm.kvm.running(this.#host.id, undefined);
    this.#saveRegisters();
    this.#onCpu = false;
  }

  /** Whether the guest itself is where time goes: `schedOut` must wait for the next exit. */
  get inGuest(): boolean {
    return this.#inGuest;
  }

  /** Whether a halted vCPU has something to wake up for. */
  get wakes(): boolean {
    this.#elapse();
    if (this.#requestPmi || this.#requestPmu || this.exception) return true;
    return this.apic.nmiPending() || this.apic.pendingVector() !== undefined;
  }

  /** Ticks at which its own timer or a device next wants it; Infinity if never. */
  nextDeadline(): number {
    const devices = this.id === 0 ? this.vm.ports.devices : undefined;
    return Math.min(this.apic.nextDeadline(), devices?.nextDeadline() ?? Number.POSITIVE_INFINITY);
  }

  /** Fires what the clock has reached: the APIC's timer, and for the first vCPU the VM's devices. */
  #elapse(): void {
    this.apic.elapse();
    if (this.id === 0) this.vm.ports.devices?.elapse();
  }

  /** Runs until `until` ticks of its CPU's time. The vCPU must be scheduled in. */
  step(until: bigint): VcpuStop {
    const host = this.#host;
    for (;;) {
      if (!this.#inGuest) {
        const stop = this.#beforeEntry(until);
        if (stop) return stop;
      }
      if (host.run(Math.max(1, Number(until - host.now()))) === 'budget') return 'budget';
      this.#inGuest = false;
      const stop = this.#afterExit();
      if (stop) return stop;
    }
  }

  /** Delivers a message to this vCPU's APIC. */
  deliver(message: ApicMessage): void {
    this.apic.deliver(message);
  }

  /** Steps over the instruction that exited, which thereby retires. */
  skipInstruction(): void {
    const length = this.read('VM_EXIT_INSTRUCTION_LENGTH');
    this.#retire(this.rip + length, { branch: false });
  }

  /** An instruction the emulator has carried out; RIP is already behind it. */
  retireEmulated(branch: boolean): void {
    this.#retire(undefined, { branch });
  }

  inject(vector: number, errorCode?: number): void {
    this.exception = { type: 'exception', vector, errorCode };
  }

  /** All of the vCPU that is no register of a processor and no page of memory. */
  save(): SavedVcpu {
    return {
      apic: this.apic.save(),
      msrs: this.msrs.save(),
      vpmu: this.vpmu.save(),
      statistics: saveStatistics(this.statistics),
      halted: this.halted,
      exception: this.exception,
      tscOffset: this.#tscOffset,
      requestPmu: this.#requestPmu,
      requestPmi: this.#requestPmi,
      registers: this.#registers,
      globalCtrl: this.#globalCtrl.save(),
      host: this.#host.id,
      launched: this.#launched,
      onCpu: this.#onCpu,
      inGuest: this.#inGuest,
      vpmuLoaded: this.#vpmuLoaded,
    };
  }

  /** Processors, memory and perf must have been restored already. */
  restore(saved: SavedVcpu): void {
    this.apic.restore(saved.apic);
    this.msrs.restore(saved.msrs);
    this.vpmu.restore(saved.vpmu);
    restoreStatistics(this.statistics, saved.statistics);
    this.halted = saved.halted;
    this.exception = saved.exception;
    this.#tscOffset = saved.tscOffset;
    this.#requestPmu = saved.requestPmu;
    this.#requestPmi = saved.requestPmi;
    this.#registers = saved.registers;
    this.#globalCtrl.restore(saved.globalCtrl);
    this.#host = this.vm.kvm.host(saved.host);
    this.#launched = saved.launched;
    this.#onCpu = saved.onCpu;
    this.#inGuest = saved.inGuest;
    this.#vpmuLoaded = saved.vpmuLoaded;
    if (this.#vpmuLoaded && this.#switches) this.#offerPmu();
  }

  #beforeEntry(until: bigint): VcpuStop | undefined {
    if (this.vm.stopped) return 'stopped';
    if (this.halted) {
      if (!this.wakes) return 'halted';
      this.halted = false;
    }
    if (this.#host.needResched) return 'preempted';
    if (this.#host.now() >= until) return 'budget';
    this.#enter();
    return undefined;
  }

  /** vcpu_enter_guest, up to the VM entry. */
  #enter(): void {
    const host = this.#host;
    for (;;) {
      this.#handleRequests();
      this.#injectPending();
      host.interruptsOff();
      this.#loadVpmu();
      if (!this.#requestPmu && !this.#requestPmi) break;
      // Something came up on the way (an NMI, say): not this time.
      this.#putAfterExit();
      host.interruptsOn();
    }
    this.#vmEntry();
  }

  /** The VM entry itself; interrupts are off. */
  #vmEntry(): void {
    const host = this.#host;
    this.vpmu.sync();
    this.#globalCtrl.program(host, this.vpmu.globalCtrlSwitch());
    this.#armPreemptionTimer();
    this.statistics.entries += 1;
    this.vm.observer?.entry?.({
      vcpu: this.id,
      rip: this.rip,
      interruption: Number(this.read('VM_ENTRY_INTERRUPTION_INFORMATION')),
    });
    const outcome = this.#launched ? host.vmx.vmresume() : host.vmx.vmlaunch();
    expectSuccess(this.#launched ? 'VMRESUME' : 'VMLAUNCH', outcome);
    this.#launched = true;
    this.#inGuest = true;
  }

  #handleRequests(): void {
    while (this.#requestPmu || this.#requestPmi) {
      if (this.#requestPmu) {
        this.#requestPmu = false;
        this.vpmu.handleRequests();
      }
      if (this.#requestPmi) {
        this.#requestPmi = false;
        if (!this.#pmiMasked()) this.statistics.pmis += 1;
        this.vm.observer?.pmi?.({ vcpu: this.id });
        this.apic.raisePmi();
      }
    }
  }

  #injectPending(): void {
    this.#elapse();
    const information = Number(this.read('VM_ENTRY_INTERRUPTION_INFORMATION'));
    const busy = (information & INTERRUPTION_VALID) !== 0;
    if (!busy && this.exception) {
      writeInjection(this, this.exception);
      this.exception = undefined;
    } else if (!busy) this.#injectInterrupt();
    const window = this.apic.pendingVector() !== undefined;
    setControl(this.#host, 'PRIMARY_CONTROLS', PRIMARY.INTERRUPT_WINDOW_EXITING, window);
    setControl(this.#host, 'PRIMARY_CONTROLS', PRIMARY.NMI_WINDOW_EXITING, this.apic.nmiPending());
  }

  #injectInterrupt(): void {
    const blocked = Number(this.read('GUEST_INTERRUPTIBILITY_STATE'));
    if (this.apic.nmiPending() && (blocked & (BLOCKING.NMI | BLOCKING.MOV_SS)) === 0) {
      this.apic.takeNmi();
      writeInjection(this, { type: 'nmi', vector: 2, errorCode: undefined });
      return;
    }
    const open =
      (blocked & (BLOCKING.STI | BLOCKING.MOV_SS)) === 0 &&
      isSet(this.read('GUEST_RFLAGS'), RFLAGS.IF);
    if (!open || this.apic.pendingVector() === undefined) return;
    const vector = this.apic.acknowledge();
    writeInjection(this, { type: 'interrupt', vector, errorCode: undefined });
  }

  /** What follows a VM exit, up to the decision what to do next. Interrupts are off. */
  #afterExit(): VcpuStop | undefined {
    const host = this.#host;
    const reason = Number(this.read('EXIT_REASON'));
    this.#record(reason);
    this.vpmu.exited(this.#globalCtrl.saved(host));
    host.spend('vm-transition');
    if ((reason & ENTRY_FAILURE) !== 0) this.#failedEntry(reason);
    const interruption = Number(this.read('VM_EXIT_INTERRUPTION_INFORMATION'));
    const isNmi =
      reason === EXIT_REASON.EXCEPTION_NMI && ((interruption >> 8) & 7) === NMI_INTERRUPTION_TYPE;
    if (isNmi) host.handleNmi();
    reinject(this);
    if (this.#canTakeFastpath() && fastpath(this, reason)) {
      this.statistics.fastpath += 1;
      host.spend('fastpath-handling');
      if (this.#mayReenter()) {
        this.#vmEntry();
        return undefined;
      }
      this.#putAfterExit();
      host.interruptsOn();
      return undefined;
    }
    this.#putAfterExit();
    if (reason === EXIT_REASON.EXTERNAL_INTERRUPT) host.handleInterrupt(interruption & 0xff);
    host.interruptsOn();
    if (isNmi || reason === EXIT_REASON.EXTERNAL_INTERRUPT) return undefined;
    host.spend('exit-handling');
    return this.#apply(EXIT_HANDLERS[reason as keyof typeof EXIT_HANDLERS](this));
  }

  #apply(next: Next): VcpuStop | undefined {
    if (next === 'enter') return undefined;
    if (next === 'advance') {
      this.skipInstruction();
      return undefined;
    }
    if ('inject' in next) {
      this.inject(next.inject, next.errorCode);
      return undefined;
    }
    return next.leave;
  }

  /** Steps RIP and clears what holds for one instruction only; the vPMU hears of the retirement. */
  #retire(rip: bigint | undefined, { branch }: { branch: boolean }): void {
    if (rip !== undefined) {
      this.write('GUEST_RIP', rip);
      const blocking = this.read('GUEST_INTERRUPTIBILITY_STATE');
      this.write(
        'GUEST_INTERRUPTIBILITY_STATE',
        blocking & ~BigInt(BLOCKING.STI | BLOCKING.MOV_SS),
      );
    }
    this.statistics.emulatedInstructions += 1;
    const { cpl } = this;
    this.vm.observer?.retired?.({ vcpu: this.id, branch, cpl });
    this.vpmu.instructionRetired({ branch, cpl });
  }

  #canTakeFastpath(): boolean {
    return !this.vpmu.countsRetired() && this.vpmu.design.switchPoint !== 'entry';
  }

  /** After a fastpath exit: straight back, unless something has to be looked at first. */
  #mayReenter(): boolean {
    if (this.#requestPmu || this.#requestPmi || this.#host.needResched) return false;
    return !this.apic.nmiPending() && this.apic.pendingVector() === undefined;
  }

  #record(reason: number): void {
    const basic = reason & 0xffff;
    const { exits } = this.statistics;
    exits.set(basic, (exits.get(basic) ?? 0) + 1);
    this.vm.observer?.exit?.({
      vcpu: this.id,
      reason,
      rip: this.rip,
      qualification: this.read('EXIT_QUALIFICATION'),
      interruption: Number(this.read('VM_EXIT_INTERRUPTION_INFORMATION')),
      errorCode: Number(this.read('VM_EXIT_INTERRUPTION_ERROR_CODE')),
    });
  }

  #failedEntry(reason: number): never {
    throw new CounterpointError(
      'vm-entry',
      `vCPU ${this.id}: VM entry failed with ${exitReasonName(reason)} at RIP ${hex(this.rip)}, ` +
        `qualification ${hex(this.read('EXIT_QUALIFICATION'))}`,
    );
  }

  #loadVpmu(): void {
    if (this.#vpmuLoaded) return;
    if (this.#switches) this.vm.observer?.vpmu?.({ vcpu: this.id, step: 'load' });
    this.vpmu.load();
    this.#vpmuLoaded = true;
    if (!this.#switches) return;
    this.statistics.loads += 1;
    this.#offerPmu();
  }

  /** A design that keeps the PMU gives it back as soon as the host programs an event. */
  #offerPmu(): void {
    this.vm.perf.reclaim.set(this.#host.id, () => this.#putVpmu());
  }

  /** Whether loading and putting is work at all. */
  get #switches(): boolean {
    const { kind, sharesSides } = this.vpmu.design;
    return kind === 'mediated' || sharesSides;
  }

  /** After an exit, as far as the design takes the PMU back then. */
  #putAfterExit(): void {
    const { switchPoint } = this.vpmu.design;
    if (switchPoint === 'sched' || (switchPoint === 'lazy' && !this.vpmu.hostWantsPmu())) return;
    this.#putVpmu();
  }

  #putVpmu(): void {
    if (!this.#vpmuLoaded) return;
    this.#vpmuLoaded = false;
    this.vm.perf.reclaim.delete(this.#host.id);
    this.vpmu.put();
    if (!this.#switches) return;
    this.statistics.puts += 1;
    this.vm.observer?.vpmu?.({ vcpu: this.id, step: 'put' });
  }

  #armPreemptionTimer(): void {
    const { config } = this.vm;
    if (!config.hasPreemptionTimer) return;
    const deadline = this.nextDeadline();
    const armed = Number.isFinite(deadline);
    setControl(this.#host, 'PIN_BASED_CONTROLS', PIN.ACTIVATE_PREEMPTION_TIMER, armed);
    if (!armed) return;
    const unit = 2 ** config.preemptionTimerRate;
    const now = Number(this.#host.now());
    const counts = Math.ceil(deadline / unit) - Math.floor(now / unit);
    const value = Math.min(0xffff_ffff, Math.max(0, counts));
    this.write('VMX_PREEMPTION_TIMER_VALUE', BigInt(value));
  }

  #pmiMasked(): boolean {
    const LVTPC = 0x834;
    const entry = this.apicBus.rdmsr(LVTPC);
    const value = typeof entry === 'bigint' ? entry : this.apic.page.read(0x340, 4);
    return (value & 0x1_0000n) !== 0n;
  }

  /** Makes the VMCS current for a moment, whoever is on the CPU. */
  #becomeCurrent(body: () => void): void {
    const { vmx } = this.#host;
    expectSuccess('VMCLEAR', vmx.vmclear(BigInt(this.#vmcs)));
    expectSuccess('VMPTRLD', vmx.vmptrld(BigInt(this.#vmcs)));
    this.#launched = false;
    body();
  }

  #clearVmcs(): void {
    expectSuccess('VMCLEAR', this.#host.vmx.vmclear(BigInt(this.#vmcs)));
    this.#launched = false;
  }

  #readRegisters(): SavedRegisters {
    const { registers } = this.#host;
    return {
      gpr: [...registers.gpr],
      cr2: registers.cr2,
      xcr0: registers.xcr0,
      dr: [...registers.dr],
      extended: registers.saveExtended(),
      msrs: CPU_MSRS.map((address) => this.#host.rdmsr(address)),
    };
  }

  #saveRegisters(): void {
    this.#registers = this.#readRegisters();
  }

  #restoreRegisters(): void {
    const saved = this.#registers;
    if (!saved) return;
    const { registers } = this.#host;
    registers.gpr.set(saved.gpr);
    registers.cr2 = saved.cr2;
    registers.xcr0 = saved.xcr0;
    registers.dr.set(saved.dr);
    registers.restoreExtended(saved.extended);
    CPU_MSRS.forEach((address, at) => {
      this.#host.wrmsr(address, saved.msrs[at]!);
    });
  }
}

function expectSuccess(instruction: string, outcome: unknown): void {
  if (outcome === 'VMsucceed') return;
  throw new CounterpointError('vmx', `${instruction}: ${JSON.stringify(outcome)}`);
}
