import { MASK64 } from '../bits/u64.ts';
import { BLOCKING, RFLAGS } from '../cpu/control-registers.ts';
import { EVENT_TYPE, type Event } from '../cpu/event.ts';
import { Fault } from '../cpu/fault.ts';
import type { Insn } from '../cpu/insn.ts';
import type { NonRoot } from '../cpu/ports.ts';
import { STATE } from '../cpu/state/layout.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { PIN, PRIMARY, SECONDARY } from '../msr/vmx.ts';
import { ApicVirtualization } from './apic-virtualization.ts';
import { controlsOf } from './controls.ts';
import { ExtendedPageTables } from './ept.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import { INTERRUPTION, informationOf, isSoftware } from './interruption.ts';
import type { VmxMachine } from './machine.ts';
import type { SavedPauseLoop } from './pause-loop.ts';
import type { PreemptionTimer } from './preemption-timer.ts';
import type { Vmcs } from './vmcs.ts';

const EPTP_SWITCHING = 1n;
const EPTP_LIST_ENTRIES = 512n;
const PML_ENTRIES = 512;
/** Encodings that the VMREAD and VMWRITE bitmaps have a bit for. */
const SHADOWED_ENCODINGS = 1n << 15n;
const PAGE_FAULT = 14;
const DOUBLE_FAULT = 8;

/** What non-root operation remembers beside the VMCS; plain data. */
export interface SavedNonRoot {
  readonly injection: Event | undefined;
  readonly trapAfter: bigint;
  readonly trap: { readonly reason: number; readonly qualification: bigint } | undefined;
  readonly recognized: boolean;
  readonly delivered: bigint;
  readonly iretAt: bigint;
  readonly pauses: SavedPauseLoop;
}

/** VMX non-root operation under one VMCS: what exits, and how. Vol. 3, "VMX Non-Root Operation". */
export class NonRootOperation extends ApicVirtualization implements NonRoot {
  readonly translate: NonRoot['translate'];
  readonly vpid: number;
  readonly #timer: PreemptionTimer;
  readonly #ept: ExtendedPageTables | undefined;
  #injection: Event | undefined;
  /** A monitor-trap VM exit is due as soon as more than this has happened. */
  #trapAfter = MASK64;
  /** Virtual interrupts delivered. */
  #delivered = 0n;
  /** Progress at the last IRET that unblocked NMIs, to know the exits that it caused. */
  #iretAt = -1n;

  constructor(machine: VmxMachine, vmcs: Vmcs, timer: PreemptionTimer) {
    super(machine, vmcs, controlsOf(vmcs));
    this.#timer = timer;
    this.vpid = this.secondary(SECONDARY.ENABLE_VPID)
      ? vmcs.read32(FIELDS.VIRTUAL_PROCESSOR_IDENTIFIER)
      : 0;
    if (!this.secondary(SECONDARY.ENABLE_EPT)) return;
    const { core, memory, shape } = machine;
    const ept = new ExtendedPageTables({
      memory,
      shape,
      physicalWidth: core.features.physicalWidth,
      eptp: vmcs.read(FIELDS.EPT_POINTER),
      unblockedByIret: () => this.#iretAt === this.#progress,
      log: this.secondary(SECONDARY.ENABLE_PML) ? (physical) => this.#logPage(physical) : undefined,
    });
    this.#ept = ept;
    this.translate = (physical, access, linear, walk) =>
      ept.translate(physical, access, linear, walk);
  }

  /** What VM entry injects: an event, or a pending monitor-trap VM exit. */
  begin(injection: Event | 'monitor-trap' | undefined): void {
    const trap = this.primary(PRIMARY.MONITOR_TRAP_FLAG);
    this.#injection = typeof injection === 'object' ? injection : undefined;
    if (injection === 'monitor-trap' || (trap && injection)) this.#trapAfter = -1n;
    else this.#trapAfter = trap ? this.#progress : MASK64;
    this.beginApic();
  }

  save(): SavedNonRoot {
    return {
      injection: this.#injection,
      trapAfter: this.#trapAfter,
      trap: this.trap,
      recognized: this.apic?.recognized ?? false,
      delivered: this.#delivered,
      iretAt: this.#iretAt,
      pauses: this.pauses.save(),
    };
  }

  restore(saved: SavedNonRoot): void {
    this.#injection = saved.injection;
    this.#trapAfter = saved.trapAfter;
    this.trap = saved.trap;
    if (this.apic) this.apic.recognized = saved.recognized;
    this.#delivered = saved.delivered;
    this.#iretAt = saved.iretAt;
    this.pauses.restore(saved.pauses);
  }

  get ept(): number | undefined {
    return this.#ept?.root;
  }

  takeInjection(): Event | undefined {
    const event = this.#injection;
    this.#injection = undefined;
    return event;
  }

  /** VMFUNC: EPTP switching where it is enabled and the list has a valid EPTP; #UD without VM functions. */
  vmfunc(insn: Insn): void {
    if (!this.secondary(SECONDARY.ENABLE_VM_FUNCTIONS)) throw new Fault('#UD');
    const { core, memory, shape } = this.machine;
    const leaf = core.gpr(0, 4);
    const index = core.gpr(1, 4);
    const enabled = (this.vmcs.read(FIELDS.VM_FUNCTION_CONTROLS) & EPTP_SWITCHING) !== 0n;
    const ept = leaf === 0n && enabled && index < EPTP_LIST_ENTRIES ? this.#ept : undefined;
    const list = Number(this.vmcs.read(FIELDS.EPTP_LIST_ADDRESS));
    const eptp = memory.read(list + Number(index) * 8, 8);
    if (!ept?.accepts(shape, eptp)) throw this.exit(EXIT_REASON.VMFUNC, insn);
    this.vmcs.write(FIELDS.EPT_POINTER, eptp);
    ept.use(eptp);
    core.engine.retagged();
    core.engine.endSlice();
  }

  /** Whether VMREAD or VMWRITE of a field reaches the shadow VMCS instead of exiting. Vol. 3, "VMCS Shadowing". */
  shadows(access: 'VMREAD' | 'VMWRITE', encoding: bigint): boolean {
    if (!this.secondary(SECONDARY.VMCS_SHADOWING) || encoding >= SHADOWED_ENCODINGS) return false;
    const bitmap = Number(this.vmcs.read(FIELDS[`${access}_BITMAP_ADDRESS`]));
    const byte = this.machine.memory.read(bitmap + Number(encoding >> 3n), 1);
    return ((byte >> (encoding & 7n)) & 1n) === 0n;
  }

  // Events.

  exception(event: Event, qualification: bigint): void {
    const bitmap = this.vmcs.read32(FIELDS.EXCEPTION_BITMAP);
    let exits = ((bitmap >>> event.vector) & 1) === 1;
    if (event.vector === PAGE_FAULT && event.type === EVENT_TYPE.HARDWARE_EXCEPTION) {
      const mask = this.vmcs.read32(FIELDS.PAGE_FAULT_ERROR_CODE_MASK);
      const match = this.vmcs.read32(FIELDS.PAGE_FAULT_ERROR_CODE_MATCH);
      if (((event.code ?? 0) & mask) >>> 0 !== match) exits = !exits;
    }
    if (!exits) return;
    const fromIret = this.#iretAt === this.#progress && event.vector !== DOUBLE_FAULT;
    const unblocking = fromIret ? INTERRUPTION.NMI_UNBLOCKING : 0;
    throw new VmExit(EXIT_REASON.EXCEPTION_NMI, {
      qualification,
      interruption: (informationOf(event) | unblocking) >>> 0,
      interruptionError: event.code ?? 0,
      instructionLength: isSoftware(event.type) ? (event.length ?? 0) : 0,
    });
  }

  tripleFault(): void {
    throw new VmExit(EXIT_REASON.TRIPLE_FAULT);
  }

  init(): void {
    throw new VmExit(EXIT_REASON.INIT_SIGNAL);
  }

  sipi(vector: number): void {
    throw new VmExit(EXIT_REASON.SIPI_SIGNAL, { qualification: BigInt(vector) });
  }

  /** Traps of the instruction before: those of APIC virtualization, then monitor trap. */
  monitorTrap(): void {
    if (this.trap) throw new VmExit(this.trap.reason, { qualification: this.trap.qualification });
    if (this.#progress > this.#trapAfter) throw new VmExit(EXIT_REASON.MONITOR_TRAP_FLAG);
  }

  preemptionTimer(): void {
    if (this.#timerExpired) throw new VmExit(EXIT_REASON.PREEMPTION_TIMER);
  }

  nmiWindow(): void {
    if (!this.primary(PRIMARY.NMI_WINDOW_EXITING)) return;
    const blocked = this.machine.core.state.get32(STATE.INTERRUPTIBILITY);
    if ((blocked & (BLOCKING.NMI | BLOCKING.MOV_SS | BLOCKING.STI)) !== 0) return;
    throw new VmExit(EXIT_REASON.NMI_WINDOW);
  }

  nmi(): void {
    if (!this.pin(PIN.NMI_EXITING)) return;
    this.machine.core.ports.interrupts.takeNmi();
    throw new VmExit(EXIT_REASON.EXCEPTION_NMI, {
      interruption: informationOf({ vector: 2, type: EVENT_TYPE.NMI }),
    });
  }

  interruptWindow(): void {
    if (!this.primary(PRIMARY.INTERRUPT_WINDOW_EXITING)) return;
    const { state } = this.machine.core;
    if ((state.get(STATE.RFLAGS_SYSTEM) & RFLAGS.IF) === 0n) return;
    if ((state.get32(STATE.INTERRUPTIBILITY) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0) return;
    throw new VmExit(EXIT_REASON.INTERRUPT_WINDOW);
  }

  externalInterrupt(): boolean {
    if (!this.pin(PIN.EXTERNAL_INTERRUPT_EXITING)) return false;
    if (this.posted()) return true;
    throw new VmExit(EXIT_REASON.EXTERNAL_INTERRUPT);
  }

  override takeVirtualInterrupt(): number | undefined {
    const vector = super.takeVirtualInterrupt();
    if (vector !== undefined) this.#delivered++;
    return vector;
  }

  iret(): boolean {
    const unblocks = !this.pin(PIN.NMI_EXITING) || this.pin(PIN.VIRTUAL_NMIS);
    const blocked = this.machine.core.state.get32(STATE.INTERRUPTIBILITY) & BLOCKING.NMI;
    this.#iretAt = unblocks && blocked !== 0 ? this.#progress : -1n;
    return unblocks;
  }

  get watchful(): boolean {
    const windows = PRIMARY.INTERRUPT_WINDOW_EXITING | PRIMARY.NMI_WINDOW_EXITING;
    return (
      this.#injection !== undefined ||
      this.trap !== undefined ||
      this.#trapAfter !== MASK64 ||
      (this.controls.primary & windows) !== 0 ||
      this.#timerExpired
    );
  }

  get externalInterruptExiting(): boolean {
    return this.pin(PIN.EXTERNAL_INTERRUPT_EXITING);
  }

  /** Virtual NMIs leave physical ones unblocked: bit 3 of the interruptibility state is then the virtual blocking. */
  get nmiBlocked(): boolean {
    if (this.pin(PIN.VIRTUAL_NMIS)) return false;
    return (this.machine.core.state.get32(STATE.INTERRUPTIBILITY) & BLOCKING.NMI) !== 0;
  }

  tsc(host: bigint): bigint {
    if (!this.primary(PRIMARY.USE_TSC_OFFSETTING)) return host;
    const scaled = this.secondary(SECONDARY.USE_TSC_SCALING)
      ? (host * this.vmcs.read(FIELDS.TSC_MULTIPLIER)) >> 48n
      : host;
    return (scaled + this.vmcs.read(FIELDS.TSC_OFFSET)) & MASK64;
  }

  /** Everything that an instruction boundary can lie behind: retirements, iterations, deliveries. */
  get #progress(): bigint {
    const { state } = this.machine.core;
    const events = state.total('exceptions') + state.total('hardwareInterrupts') + this.#delivered;
    return state.total('ticks') + events;
  }

  get #timerExpired(): boolean {
    return this.#timer.active && this.#timer.value === 0;
  }

  /** Vol. 3, "Page-Modification Logging". @throws VmExit when the log is full */
  #logPage(physical: number): void {
    const index = this.vmcs.read32(FIELDS.PML_INDEX);
    if (index >= PML_ENTRIES) {
      const unblocking = this.#iretAt === this.#progress ? INTERRUPTION.NMI_UNBLOCKING : 0;
      throw new VmExit(EXIT_REASON.PML_FULL, { qualification: BigInt(unblocking) });
    }
    const log = Number(this.vmcs.read(FIELDS.PML_ADDRESS));
    this.machine.memory.write(log + index * 8, 8, BigInt(physical - (physical % 4096)));
    this.vmcs.write32(FIELDS.PML_INDEX, (index - 1) & 0xffff);
  }
}
