import { isSet } from '../bits/bitfield.ts';
import { MASK64 } from '../bits/u64.ts';
import { ACTIVITY, CR0 } from '../cpu/control-registers.ts';
import type { Event } from '../cpu/event.ts';
import { Fault } from '../cpu/fault.ts';
import type { Insn } from '../cpu/insn.ts';
import type { VmxPort } from '../cpu/ports.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { Core, SystemFunction } from '../cpu/system/core.ts';
import type { VmExit } from '../cpu/vm-exit.ts';
import type { PhysicalMemory } from '../memory/physical-memory.ts';
import type { MsrBus } from '../msr/bus.ts';
import {
  CR0_FIXED,
  CR4_ONE,
  FEATURE_CONTROL,
  SECONDARY,
  type VmxShape,
  vmxMsrs,
} from '../msr/vmx.ts';
import { type EntryFailure, vmEntry } from './entry.ts';
import { Entry } from './entry-checks/entry.ts';
import { eptRoot } from './ept.ts';
import { type Abort, vmExit } from './exit.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import { vmxInstructions } from './instructions.ts';
import { entryProcessor, type VmxMachine } from './machine.ts';
import { NonRootOperation, type SavedNonRoot } from './non-root.ts';
import type { VmxOutcome } from './outcome.ts';
import { PreemptionTimer, type SavedTimer } from './preemption-timer.ts';
import type { Vmcs } from './vmcs.ts';
import { type SavedVmxOperation, VmxOperation } from './vmx-operation.ts';

const NO_VMCS = MASK64;

/** What VMX needs to resume; plain data. */
export interface SavedVmx extends SavedVmxOperation {
  readonly featureControl: bigint;
  readonly nonRoot: (SavedNonRoot & { readonly vmcs: number }) | undefined;
  readonly timer: SavedTimer;
  readonly rootIsTypeScript: boolean;
  readonly aborted: Abort | undefined;
  readonly lastFailure: EntryFailure | undefined;
}

/**
 * VMX of one CPU. The methods named for instructions do what those do once their operands are read;
 * the instructions of guest code and root-mode software in TypeScript both end here.
 */
export class Vmx implements VmxPort {
  readonly shape: VmxShape;
  readonly instructions: Readonly<Record<string, SystemFunction>> = vmxInstructions(this);
  /** Which check the latest VM entry failed, if it did. */
  lastFailure: EntryFailure | undefined;
  /** The VMX-abort indicator, once a VM exit has ended in shutdown. */
  aborted: Abort | undefined;
  /** Hear of every register that a VM entry or a VM exit loads. */
  readonly loaded: ((address: number, value: bigint) => void)[] = [];
  readonly #memory: PhysicalMemory;
  readonly #msr: MsrBus;
  readonly #operation: VmxOperation;
  /** The latest VMCS that was entered, as its checks see it. */
  #entry: Entry | undefined;
  #core: Core | undefined;
  #machine: VmxMachine | undefined;
  #timer: PreemptionTimer | undefined;
  #featureControl = 0n;
  #nonRoot: NonRootOperation | undefined;
  #rootIsTypeScript = false;

  constructor({ shape, memory, msr }: { shape: VmxShape; memory: PhysicalMemory; msr: MsrBus }) {
    this.shape = shape;
    this.#memory = memory;
    this.#msr = msr;
    const physicalWidth = () => this.core.features.physicalWidth;
    this.#operation = new VmxOperation({ shape, memory, physicalWidth });
  }

  /** Tells VMX which core it belongs to, once both exist, and puts its MSRs on the bus. */
  connect(core: Core): void {
    this.#core = core;
    const msr: VmxMachine['msr'] = {
      rdmsr: (address) => this.#msr.rdmsr(address),
      accepts: (address, value) => this.#msr.accepts(address, value),
      wrmsr: (address, value) => {
        const outcome = this.#msr.wrmsr(address, value);
        if (outcome === 'done') for (const tell of this.loaded) tell(address, value);
        return outcome;
      },
    };
    this.#machine = { core, memory: this.#memory, msr, shape: this.shape };
    this.#msr.attach(vmxMsrs(this.shape, core.features.cr4), {
      IA32_FEATURE_CONTROL: {
        read: () => this.#featureControl,
        write: (value) => {
          if (isSet(this.#featureControl, FEATURE_CONTROL.LOCK)) return '#GP';
          this.#featureControl = value;
          return undefined;
        },
      },
    });
    this.#timer = new PreemptionTimer(this.shape, () => core.state.total('ticks'));
  }

  get operation(): boolean {
    return this.#operation.isOn;
  }

  get nonRoot(): NonRootOperation | undefined {
    return this.#nonRoot;
  }

  get featureControl(): bigint {
    return this.#featureControl;
  }

  /** Ticks until the VMX-preemption timer of a running guest is 0; Infinity without one. */
  horizon(): number {
    return this.#timer?.remaining ?? Number.POSITIVE_INFINITY;
  }

  mayHold(register: 0 | 4, value: bigint): boolean {
    if (register === 4) {
      return (value & CR4_ONE) !== 0n && (value & ~(this.core.features.cr4 | CR4_ONE)) === 0n;
    }
    const secondary = this.#nonRoot?.controls.secondary ?? 0;
    const free = (secondary & SECONDARY.UNRESTRICTED_GUEST) !== 0 ? CR0.PE | CR0.PG : 0n;
    const { one, zero } = CR0_FIXED;
    return ((value | free) & one) === one && (value & zero) === 0n;
  }

  // VMX instructions, operands read. Vol. 3, "VMX Instruction Reference".

  vmxon(region: bigint): VmxOutcome {
    return this.#operation.vmxon(region);
  }

  vmxoff(): VmxOutcome {
    return this.#operation.vmxoff();
  }

  vmclear(pointer: bigint): VmxOutcome {
    return this.#operation.vmclear(pointer);
  }

  vmptrld(pointer: bigint): VmxOutcome {
    return this.#operation.vmptrld(pointer);
  }

  /** The current-VMCS pointer; all ones without one. */
  vmptrst(): bigint {
    return this.#operation.vmptrst();
  }

  /** A field of the current VMCS, whoever runs; undefined where VMREAD fails. */
  vmread(encoding: number): bigint | undefined {
    const value = this.#operation.read(this.#operation.vmcss.current, encoding);
    return typeof value === 'bigint' ? value : undefined;
  }

  /** Writes a field of the current VMCS, whoever runs. */
  vmwrite(encoding: number, value: bigint): VmxOutcome {
    return this.#operation.write(this.#operation.vmcss.current, encoding, value);
  }

  /** VMREAD of guest code. */
  readField(encoding: bigint): bigint | VmxOutcome {
    return this.#operation.read(this.#accessible, Number(encoding));
  }

  /** VMWRITE of guest code. */
  writeField(encoding: bigint, value: bigint): VmxOutcome {
    return this.#operation.write(this.#accessible, Number(encoding), value);
  }

  /** VMLAUNCH by root-mode software in TypeScript. Success means the guest runs, or that the exit fields say why not. */
  vmlaunch(): VmxOutcome {
    return this.enter('launch', true);
  }

  vmresume(): VmxOutcome {
    return this.enter('resume', true);
  }

  invept(type: number, eptp: bigint): VmxOutcome {
    return this.#operation.invept(type, eptp, () =>
      this.core.engine.flush({ ept: type === 1 ? eptRoot(eptp) : 'any' }),
    );
  }

  /** @param vpid the first half of the descriptor, whole */
  invvpid(type: number, vpid: bigint, linear: bigint): VmxOutcome {
    return this.#operation.invvpid(type, vpid, this.core.isCanonical(linear), () =>
      this.core.engine.flush({
        vpid: type === 2 ? 'not 0' : Number(vpid),
        ...(type === 0 && { linear }),
      }),
    );
  }

  /**
   * VM entry. `retire` is called when the entry can no longer fail to leave the instruction: the instruction belongs
   * to the host. Vol. 3, "VM Entries".
   */
  enter(kind: 'launch' | 'resume', fromTypeScript: boolean, retire = () => {}): VmxOutcome {
    const vmcs = this.#operation.vmcss.enterable;
    if (!vmcs) return 'VMfailInvalid';
    const entry =
      this.#entry?.vmcs === vmcs ? this.#entry : new Entry(entryProcessor(this.machine), vmcs);
    this.#entry = entry;
    this.lastFailure = undefined;
    const timer = this.#timer!;
    const result = vmEntry({ machine: this.machine, entry, timer, kind, retire });
    if ('error' in result) {
      this.lastFailure = result.failure;
      return this.fail(result.error);
    }
    this.#rootIsTypeScript = fromTypeScript;
    const vpids = (entry.secondary & SECONDARY.ENABLE_VPID) !== 0;
    if ('nonRoot' in result) {
      this.#nonRoot = result.nonRoot;
      this.#switched(vpids);
    } else {
      this.lastFailure = result.failure;
      this.#reached(vmcs, result.abort, vpids);
    }
    return 'VMsucceed';
  }

  /** VMFUNC. Vol. 2, "VMFUNC—Invoke VM function". @throws Fault #UD, VmExit */
  vmfunc(insn: Insn): void {
    const nonRoot = this.#nonRoot;
    if (!nonRoot) throw new Fault('#UD');
    nonRoot.vmfunc(insn);
  }

  vmExit(exit: VmExit, delivering: Event | undefined): 'continue' | 'leave' {
    const nonRoot = this.#nonRoot;
    if (!nonRoot) throw new RangeError(`VM exit ${exit.reason} outside VMX non-root operation`);
    // Vol. 3, "Operations that Invalidate Cached Mappings".
    if (exit.reason === EXIT_REASON.EPT_VIOLATION) {
      this.core.engine.flush({ vpid: nonRoot.vpid, linear: exit.guestLinear });
    }
    this.core.ports.time.modeChanging();
    const abort = vmExit({
      machine: this.machine,
      vmcs: nonRoot.vmcs,
      controls: nonRoot.controls,
      timer: this.#timer!,
      exit,
      delivering,
      leaveNonRoot: () => {
        this.#nonRoot = undefined;
      },
    });
    this.#reached(nonRoot.vmcs, abort, nonRoot.vpid !== 0);
    return this.#rootIsTypeScript ? 'leave' : 'continue';
  }

  fail(error: number): VmxOutcome {
    return this.#operation.fail(error);
  }

  save(): SavedVmx {
    return {
      featureControl: this.#featureControl,
      ...this.#operation.save(),
      nonRoot: this.#nonRoot && { vmcs: this.#nonRoot.vmcs.address, ...this.#nonRoot.save() },
      timer: this.#timer!.save(),
      rootIsTypeScript: this.#rootIsTypeScript,
      aborted: this.aborted,
      lastFailure: this.lastFailure,
    };
  }

  restore(saved: SavedVmx): void {
    const { nonRoot } = saved;
    this.#featureControl = saved.featureControl;
    this.#operation.restore(saved);
    const timer = this.#timer!;
    timer.restore(saved.timer);
    const running = nonRoot && this.#operation.vmcss.active(nonRoot.vmcs);
    this.#nonRoot = running && new NonRootOperation(this.machine, running, timer);
    if (nonRoot) this.#nonRoot?.restore(nonRoot);
    this.#rootIsTypeScript = saved.rootIsTypeScript;
    this.aborted = saved.aborted;
    this.lastFailure = saved.lastFailure;
  }

  get core(): Core {
    if (!this.#core) throw new RangeError('VMX is not connected to a core');
    return this.#core;
  }

  get machine(): VmxMachine {
    if (!this.#machine) throw new RangeError('VMX is not connected to a core');
    return this.#machine;
  }

  /** After a VM exit or a failed entry: in the host, or in a VMX abort. */
  #reached(vmcs: Vmcs, abort: Abort | undefined, vpids: boolean): void {
    if (abort !== undefined) {
      this.aborted = abort;
      vmcs.abort(this.#memory, abort);
      this.core.state.set32(STATE.ACTIVITY, ACTIVITY.SHUTDOWN);
    }
    this.#switched(vpids);
  }

  /** On the other side of a transition. Without VPIDs it invalidates what VPID 0 tags. */
  #switched(vpids: boolean): void {
    const { breakpoints, engine, ports, state } = this.core;
    if (!vpids) engine.flush({ vpid: 0 });
    engine.retagged();
    if (breakpoints.outdated) engine.debugChanged();
    const halted = state.get32(STATE.ACTIVITY) !== ACTIVITY.ACTIVE;
    ports.time.modeChanged({ cpl: state.cpl, halted });
    engine.endSlice();
  }

  /** The VMCS that VMREAD and VMWRITE of guest code reach: the current one, in non-root operation the shadow VMCS. */
  get #accessible(): Vmcs | undefined {
    if (!this.#nonRoot) return this.#operation.vmcss.current;
    const shadow = this.#nonRoot.vmcs.read(FIELDS.VMCS_LINK_POINTER);
    return shadow === NO_VMCS ? undefined : this.#operation.vmcss.use(Number(shadow));
  }
}
