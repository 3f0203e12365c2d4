import { extract, isSet } from '../../bits/bitfield.ts';
import { MsrBus } from '../../msr/bus.ts';
import {
  FEATURE_CONTROL,
  PIN,
  PRIMARY,
  SECONDARY,
  VMX_MISC,
  type VmxShape,
  vmxMsrs,
} from '../../msr/vmx.ts';
import { Entry } from '../../vmx/entry-checks/entry.ts';
import { FIELDS } from '../../vmx/fields.ts';
import type { Vmcs } from '../../vmx/vmcs.ts';
import { type SavedVmxOperation, VmxOperation } from '../../vmx/vmx-operation.ts';
import { EFER } from '../control-registers.ts';
import { LoadedVmcs, type SavedLoadedVmcs } from '../loaded-vmcs.ts';
import type { Vcpu } from '../vcpu.ts';
import { MSR } from '../vpmu/registers.ts';
import { nestedFeatures, nestedShape } from './capabilities.ts';
import { eptOfL1 } from './ept-violation.ts';
import { GuestMemory } from './guest-memory.ts';
import { MergedMsrBitmap } from './msr-bitmap.ts';
import { type SavedShadowEpt, ShadowEpt } from './shadow-ept.ts';

/** What nested VMX remembers beside its VMCSs. */
interface NestedState {
  /** IA32_FEATURE_CONTROL. */
  featureControl: bigint;
  /** The guest's guest (L2) is what the vCPU runs: the current VMCS is vmcs02. */
  guestMode: boolean;
  /** L1 has asked for a VM entry that has not been made yet (nested_run_pending). */
  runPending: boolean;
  /** It was VMLAUNCH. */
  launching: boolean;
  /** KVM has carried out an instruction of L2 whose monitor-trap exit is due. */
  trapPending: boolean;
  /** Tick at which the VMX-preemption timer of L1 is 0; Infinity without one. */
  timerDeadline: number;
  /** CR0.CD and CR0.NW as L2 has them. */
  caching: bigint;
  /** The VPID that L1 gave L2 last. */
  vpid: number;
  /** A VM exit to L1 has ended in a VMX abort. */
  aborted: boolean;
}

export interface SavedNestedVmx extends NestedState {
  readonly operation: SavedVmxOperation;
  readonly vmcs02: SavedLoadedVmcs;
  readonly ept02: SavedShadowEpt;
}

const initialState = (): NestedState => ({
  featureControl: 0n,
  guestMode: false,
  runPending: false,
  launching: false,
  trapPending: false,
  timerDeadline: Number.POSITIVE_INFINITY,
  caching: 0n,
  vpid: 0,
  aborted: false,
});

/**
 * VMX of one vCPU's guest, which is a hypervisor (L1) with a guest of its own (L2). In Linux's words vmcs12 is the VMCS
 * that L1 writes, vmcs01 the one KVM runs L1 by, vmcs02 the one it runs L2 by.
 */
export class NestedVmx {
  readonly shape: VmxShape;
  readonly bus = new MsrBus();
  readonly memory: GuestMemory;
  readonly operation: VmxOperation;
  readonly vmcs02: LoadedVmcs;
  readonly vpid02: number;
  readonly ept02: ShadowEpt;
  readonly msrBitmap: MergedMsrBitmap;
  readonly state = initialState();
  /** Before the next instruction of L2, but after the injection under way, KVM wants to be asked again. */
  exitAtOnce = false;
  /** Likewise after the next instruction of L2. */
  exitSoon = false;
  readonly #vcpu: Vcpu;
  readonly #features: { readonly cr4: bigint; readonly physicalWidth: number };
  #entry: Entry | undefined;

  constructor(vcpu: Vcpu) {
    const { vm, host, vpmu } = vcpu;
    this.#vcpu = vcpu;
    this.shape = nestedShape(host, { globalCtrl: vpmu.pmu.shape.version >= 2 });
    this.#features = nestedFeatures(host);
    this.memory = new GuestMemory(() => vcpu.host, vm.guestPhysical(host.id));
    this.operation = new VmxOperation({
      shape: this.shape,
      memory: this.memory,
      physicalWidth: () => this.#features.physicalWidth,
    });
    this.vmcs02 = new LoadedVmcs(host, vm.pages, vm.config);
    this.vpid02 = vm.kvm.nextVpid();
    this.ept02 = new ShadowEpt(host.memory, vm.pages);
    this.msrBitmap = new MergedMsrBitmap(vm.pages.allocate());
    this.bus.attach(vmxMsrs(this.shape, this.#features.cr4), {
      IA32_FEATURE_CONTROL: {
        read: () => this.state.featureControl,
        write: (value) => {
          if (isSet(this.state.featureControl, FEATURE_CONTROL.LOCK)) return '#GP';
          this.state.featureControl = value;
          return undefined;
        },
      },
    });
  }

  get guestMode(): boolean {
    return this.state.guestMode;
  }

  get timerDeadline(): number {
    return this.state.timerDeadline;
  }

  /** Bits that CR4 may have in VMX operation. */
  get cr4(): bigint {
    return this.#features.cr4;
  }

  get physicalWidth(): number {
    return this.#features.physicalWidth;
  }

  /** The VMCS that L2 runs by, as L1 wrote it. */
  get vmcs12(): Vmcs {
    return this.operation.vmcss.current!;
  }

  /** What L1 adds to its own TSC for L2; 0 while L1 runs. */
  get tscOffset(): bigint {
    if (!this.guestMode || !this.primary(PRIMARY.USE_TSC_OFFSETTING)) return 0n;
    return this.vmcs12.read(FIELDS.TSC_OFFSET);
  }

  /** VMX root operation blocks INIT; a SIPI finds nobody waiting. */
  get blocksSignals(): boolean {
    return this.operation.isOn && !this.guestMode;
  }

  /** Whether L2, which sleeps in HLT, has something to leave for that would not wake L1. */
  get wakes(): boolean {
    if (!this.guestMode || this.#vcpu.mpState !== 'HALTED') return false;
    const interrupted =
      this.pin(PIN.EXTERNAL_INTERRUPT_EXITING) && this.#vcpu.apic.pendingVector() !== undefined;
    return interrupted || this.timerExpired || this.state.trapPending;
  }

  get timerExpired(): boolean {
    return Number(this.#vcpu.host.now()) >= this.state.timerDeadline;
  }

  /** The tick at which a VMX-preemption timer of this value, started now, is 0. */
  timerDeadlineFrom(value: number): number {
    const unit = this.#timerUnit;
    return (Math.floor(Number(this.#vcpu.host.now()) / unit) + value) * unit;
  }

  /** What is left of the VMX-preemption timer of L1. */
  get timerValue(): number {
    const unit = this.#timerUnit;
    const now = Math.floor(Number(this.#vcpu.host.now()) / unit);
    return Math.max(0, Math.floor(this.state.timerDeadline / unit) - now);
  }

  get #timerUnit(): number {
    return 2 ** Number(extract(this.shape.misc, VMX_MISC.PREEMPTION_TIMER_RATE));
  }

  /** Whether L1 has set a control for L2. */
  pin(control: number): boolean {
    return (this.vmcs12.read32(FIELDS.PIN_BASED_CONTROLS) & control) !== 0;
  }

  primary(control: number): boolean {
    return (this.vmcs12.read32(FIELDS.PRIMARY_CONTROLS) & control) !== 0;
  }

  secondary(control: number): boolean {
    return (
      this.primary(PRIMARY.ACTIVATE_SECONDARY_CONTROLS) &&
      (this.vmcs12.read32(FIELDS.SECONDARY_CONTROLS) & control) !== 0
    );
  }

  exit(control: number): boolean {
    return (this.vmcs12.read32(FIELDS.VM_EXIT_CONTROLS) & control) !== 0;
  }

  entry(control: number): boolean {
    return (this.vmcs12.read32(FIELDS.VM_ENTRY_CONTROLS) & control) !== 0;
  }

  /** Whether L1 has an EPT for L2. */
  get usesEpt(): boolean {
    return this.secondary(SECONDARY.ENABLE_EPT);
  }

  /** The address in L1 of one in L2; undefined where they are the same, or L1's EPT has none. */
  toL1(address: number): number | undefined {
    if (!this.guestMode || !this.usesEpt) return undefined;
    const page = eptOfL1(this).resolve(address, 'read', undefined, false);
    return 'reason' in page ? undefined : page.physical;
  }

  /** A VM entry by one of L1's VMCSs, as its checks see it. */
  entryOf(vmcs: Vmcs): Entry {
    if (this.#entry?.vmcs === vmcs) return this.#entry;
    const { msrs, vpmu } = this.#vcpu;
    const entry = new Entry(
      {
        shape: this.shape,
        features: this.#features,
        memory: this.memory,
        msr: {
          accepts: (address, value) =>
            address === MSR.GLOBAL_CTRL
              ? vpmu.pmu.accepts(address, value)
              : msrs.acceptsDebugctl(value),
        },
        inLongMode: () => isSet(this.#vcpu.read('GUEST_IA32_EFER'), EFER.LMA),
      },
      vmcs,
    );
    this.#entry = entry;
    return entry;
  }

  /** KVM has carried out an instruction. */
  retiredEmulated(): void {
    if (this.guestMode && this.primary(PRIMARY.MONITOR_TRAP_FLAG)) this.state.trapPending = true;
  }

  /** As after RESET; what VMCSs L1 had is left in its memory. */
  reset(): void {
    this.operation.vmxoff();
    Object.assign(this.state, initialState());
  }

  save(): SavedNestedVmx {
    return {
      ...this.state,
      operation: this.operation.save(),
      vmcs02: this.vmcs02.save(),
      ept02: this.ept02.save(),
    };
  }

  restore({ operation, vmcs02, ept02, ...state }: SavedNestedVmx): void {
    Object.assign(this.state, state);
    this.operation.restore(operation);
    this.vmcs02.restore(vmcs02);
    this.ept02.restore(ept02);
    this.msrBitmap.forget();
  }
}
