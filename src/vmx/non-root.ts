import { MASK64 } from '../bits/u64.ts';
import { BLOCKING, CR0, RFLAGS } from '../cpu/control-registers.ts';
import { EVENT_TYPE, type Event } from '../cpu/event.ts';
import { Fault } from '../cpu/fault.ts';
import type { Insn } from '../cpu/insn.ts';
import type { IoIntercept, NonRoot, PlainIntercept } from '../cpu/ports.ts';
import { STATE } from '../cpu/state/layout.ts';
import { VmExit, type VmExitDetail } from '../cpu/vm-exit.ts';
import { PIN, PRIMARY, SECONDARY } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { ExtendedPageTables } from './ept.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import {
  descriptorTableInformation,
  displacement,
  invalidationInformation,
  memoryInformation,
  randomInformation,
  stringIoInformation,
} from './instruction-information.ts';
import { INTERRUPTION, informationOf, isSoftware } from './interruption.ts';
import { ioExits } from './io-bitmap.ts';
import type { VmxMachine } from './machine.ts';
import { msrExits } from './msr-bitmap.ts';
import type { PreemptionTimer } from './preemption-timer.ts';
import type { Vmcs } from './vmcs.ts';

/** Instructions whose exit is decided by one control: in which word, or always. */
// biome-ignore format: a table
const PLAIN: Readonly<Record<PlainIntercept, { reason: number; primary?: number; secondary?: number }>> = {
  CPUID:   { reason: EXIT_REASON.CPUID },
  GETSEC:  { reason: EXIT_REASON.GETSEC },
  HLT:     { reason: EXIT_REASON.HLT, primary: PRIMARY.HLT_EXITING },
  INVD:    { reason: EXIT_REASON.INVD },
  MONITOR: { reason: EXIT_REASON.MONITOR_INSTRUCTION, primary: PRIMARY.MONITOR_EXITING },
  MWAIT:   { reason: EXIT_REASON.MWAIT_INSTRUCTION, primary: PRIMARY.MWAIT_EXITING },
  PAUSE:   { reason: EXIT_REASON.PAUSE_INSTRUCTION, primary: PRIMARY.PAUSE_EXITING },
  RDPMC:   { reason: EXIT_REASON.RDPMC, primary: PRIMARY.RDPMC_EXITING },
  RDTSC:   { reason: EXIT_REASON.RDTSC, primary: PRIMARY.RDTSC_EXITING },
  RDTSCP:  { reason: EXIT_REASON.RDTSCP, primary: PRIMARY.RDTSC_EXITING },
  RSM:     { reason: EXIT_REASON.RSM },
  WBINVD:  { reason: EXIT_REASON.WBINVD, secondary: SECONDARY.WBINVD_EXITING },
  XSETBV:  { reason: EXIT_REASON.XSETBV },
};

const CONTROL_FIELDS = {
  0: { mask: FIELDS.CR0_GUEST_HOST_MASK, shadow: FIELDS.CR0_READ_SHADOW },
  4: { mask: FIELDS.CR4_GUEST_HOST_MASK, shadow: FIELDS.CR4_READ_SHADOW },
} as const;

const CR3_TARGETS = [
  FIELDS.CR3_TARGET_VALUE_0,
  FIELDS.CR3_TARGET_VALUE_1,
  FIELDS.CR3_TARGET_VALUE_2,
  FIELDS.CR3_TARGET_VALUE_3,
];

const CR_ACCESS = { TO: 0, FROM: 1 << 4, CLTS: 2 << 4, LMSW: 3 << 4, MEMORY: 1 << 6 } as const;
const EPTP_SWITCHING = 1n;
const EPTP_LIST_ENTRIES = 512n;
const PAGE_FAULT = 14;
const DOUBLE_FAULT = 8;

/** VMX non-root operation under one VMCS: what exits, and how. Vol. 3, "VMX Non-Root Operation". */
export class NonRootOperation implements NonRoot {
  readonly #machine: VmxMachine;
  readonly #timer: PreemptionTimer;
  readonly #vmcs: Vmcs;
  readonly #controls: Controls;
  readonly #ept: ExtendedPageTables | undefined;
  readonly translate: NonRoot['translate'];
  #injection: Event | undefined;
  /** A monitor-trap VM exit is due as soon as more than this has happened. */
  #trapAfter = -1n;
  #belowThreshold = false;
  /** Progress at the last IRET, to know the exits that it caused. */
  #iretAt = -1n;

  constructor(parts: {
    machine: VmxMachine;
    timer: PreemptionTimer;
    vmcs: Vmcs;
    controls: Controls;
  }) {
    this.#machine = parts.machine;
    this.#timer = parts.timer;
    this.#vmcs = parts.vmcs;
    this.#controls = parts.controls;
    const { core, memory, shape } = parts.machine;
    if (!this.#secondary(SECONDARY.ENABLE_EPT)) return;
    const ept = new ExtendedPageTables({
      memory,
      shape,
      physicalWidth: core.features.physicalWidth,
      eptp: this.#vmcs.read(FIELDS.EPT_POINTER),
      unblockedByIret: () => this.#iretAt === this.#progress,
    });
    this.#ept = ept;
    this.translate = (physical, access, linear, walk) =>
      ept.translate(physical, access, linear, walk);
  }

  get vmcs(): Vmcs {
    return this.#vmcs;
  }

  get controls(): Controls {
    return this.#controls;
  }

  /** What VM entry injects: an event, or a pending monitor-trap VM exit. */
  begin(injection: Event | 'monitor-trap' | undefined): void {
    const trap = this.#primary(PRIMARY.MONITOR_TRAP_FLAG);
    this.#injection = typeof injection === 'object' ? injection : undefined;
    if (injection === 'monitor-trap' || (trap && injection)) this.#trapAfter = -1n;
    else this.#trapAfter = trap ? this.#progress : MASK64;
  }

  takeInjection(): Event | undefined {
    const event = this.#injection;
    this.#injection = undefined;
    return event;
  }

  // Instructions.

  plain(name: PlainIntercept, insn: Insn): void {
    const { reason, primary, secondary } = PLAIN[name];
    if (primary !== undefined && !this.#primary(primary)) return;
    if (secondary !== undefined && !this.#secondary(secondary)) return;
    this.#exit(reason, insn);
  }

  invlpg(linear: bigint, insn: Insn): void {
    if (!this.#primary(PRIMARY.INVLPG_EXITING)) return;
    this.#exit(EXIT_REASON.INVLPG, insn, { qualification: linear });
  }

  invpcid(insn: Insn): void {
    if (!this.#primary(PRIMARY.INVLPG_EXITING)) return;
    this.#exit(EXIT_REASON.INVPCID, insn, {
      qualification: displacement(insn, this.#rip),
      instructionInformation: invalidationInformation(insn),
    });
  }

  rdmsr(address: number, insn: Insn): void {
    if (this.#msrPasses(address, 'read')) return;
    this.#exit(EXIT_REASON.MSR_READ, insn);
  }

  wrmsr(address: number, _value: bigint, insn: Insn): void {
    if (this.#msrPasses(address, 'write')) return;
    this.#exit(EXIT_REASON.MSR_WRITE, insn);
  }

  rdrand(insn: Insn): void {
    if (!this.#secondary(SECONDARY.RDRAND_EXITING)) return;
    this.#exit(EXIT_REASON.RDRAND, insn, { instructionInformation: randomInformation(insn) });
  }

  rdseed(insn: Insn): void {
    if (!this.#secondary(SECONDARY.RDSEED_EXITING)) return;
    this.#exit(EXIT_REASON.RDSEED, insn, { instructionInformation: randomInformation(insn) });
  }

  xsaves(insn: Insn): void {
    this.#xsaves(EXIT_REASON.XSAVES, insn);
  }

  xrstors(insn: Insn): void {
    this.#xsaves(EXIT_REASON.XRSTORS, insn);
  }

  io(access: IoIntercept, insn: Insn): void {
    const { port, size } = access;
    if (this.#primary(PRIMARY.USE_IO_BITMAPS)) {
      const a = Number(this.#vmcs.read(FIELDS.IO_BITMAP_A_ADDRESS));
      const b = Number(this.#vmcs.read(FIELDS.IO_BITMAP_B_ADDRESS));
      if (!ioExits(this.#machine.memory, a, b, port, size)) return;
    } else if (!this.#primary(PRIMARY.UNCONDITIONAL_IO_EXITING)) return;
    const qualification =
      (size - 1) |
      (access.direction === 'in' ? 1 << 3 : 0) |
      (access.string ? 1 << 4 : 0) |
      (access.rep ? 1 << 5 : 0) |
      (access.immediate ? 1 << 6 : 0) |
      (port << 16);
    this.#exit(EXIT_REASON.IO_INSTRUCTION, insn, {
      qualification: BigInt(qualification >>> 0),
      guestLinear: access.linear ?? 0n,
      instructionInformation: access.string ? stringIoInformation(insn, access.segment) : 0,
    });
  }

  descriptorTable(insn: Insn): void {
    if (!this.#secondary(SECONDARY.DESCRIPTOR_TABLE_EXITING)) return;
    const global = insn.op.endsWith('GDT') || insn.op.endsWith('IDT');
    this.#exit(global ? EXIT_REASON.GDTR_IDTR : EXIT_REASON.LDTR_TR, insn, {
      qualification: displacement(insn, this.#rip),
      instructionInformation: descriptorTableInformation(insn),
    });
  }

  movDr(number: number, direction: 'to' | 'from', register: number, insn: Insn): void {
    if (!this.#primary(PRIMARY.MOV_DR_EXITING)) return;
    const qualification = number | (direction === 'from' ? 1 << 4 : 0) | (register << 8);
    this.#exit(EXIT_REASON.DR_ACCESS, insn, { qualification: BigInt(qualification) });
  }

  movToCr(number: number, value: bigint, register: number, insn: Insn): bigint {
    const exit = () => this.#crExit(insn, number | CR_ACCESS.TO | (register << 8));
    switch (number) {
      case 0:
      case 4: {
        const mask = this.#vmcs.read(CONTROL_FIELDS[number].mask);
        const shadow = this.#vmcs.read(CONTROL_FIELDS[number].shadow);
        if (((value ^ shadow) & mask) !== 0n) exit();
        const current = this.#machine.core.state.get(number === 0 ? STATE.CR0 : STATE.CR4);
        return (value & ~mask) | (current & mask);
      }
      case 3: {
        if (!this.#primary(PRIMARY.CR3_LOAD_EXITING)) return value;
        const targets = CR3_TARGETS.slice(0, this.#vmcs.read32(FIELDS.CR3_TARGET_COUNT));
        if (!targets.some((field) => this.#vmcs.read(field) === value)) exit();
        return value;
      }
      default:
        if (this.#primary(PRIMARY.CR8_LOAD_EXITING)) exit();
        return value;
    }
  }

  movFromCr(number: number, value: bigint, register: number, insn: Insn): bigint {
    const exit = () => this.#crExit(insn, number | CR_ACCESS.FROM | (register << 8));
    switch (number) {
      case 0:
      case 4: {
        const mask = this.#vmcs.read(CONTROL_FIELDS[number].mask);
        const shadow = this.#vmcs.read(CONTROL_FIELDS[number].shadow);
        return (value & ~mask) | (shadow & mask);
      }
      case 3:
        if (this.#primary(PRIMARY.CR3_STORE_EXITING)) exit();
        return value;
      default:
        if (this.#primary(PRIMARY.CR8_STORE_EXITING)) exit();
        return value;
    }
  }

  clts(insn: Insn): boolean {
    const mask = this.#vmcs.read(FIELDS.CR0_GUEST_HOST_MASK);
    const shadow = this.#vmcs.read(FIELDS.CR0_READ_SHADOW);
    if ((mask & shadow & CR0.TS) !== 0n) this.#crExit(insn, CR_ACCESS.CLTS);
    return (mask & CR0.TS) === 0n;
  }

  lmsw(source: number, linear: bigint | undefined, insn: Insn): number {
    const mask = Number(this.#vmcs.read(FIELDS.CR0_GUEST_HOST_MASK) & 0xfn);
    const shadow = Number(this.#vmcs.read(FIELDS.CR0_READ_SHADOW) & 0xfn);
    const changes = (source ^ shadow) & mask;
    const setsPe = (mask & source & ~shadow & 1) !== 0;
    if (setsPe || (changes & 0xe) !== 0) {
      const memory = linear === undefined ? 0 : CR_ACCESS.MEMORY;
      const qualification = CR_ACCESS.LMSW | memory | ((source & 0xffff) << 16);
      this.#crExit(insn, qualification, linear);
    }
    const current = Number(this.#machine.core.state.get(STATE.CR0) & 0xfn);
    return (source & 0xf & ~mask) | (current & mask) | (current & 1);
  }

  taskSwitch(selector: number, source: 'CALL' | 'IRET' | 'JMP' | 'gate', length: number): void {
    const code = { CALL: 0, IRET: 1, JMP: 2, gate: 3 }[source];
    throw new VmExit(EXIT_REASON.TASK_SWITCH, {
      qualification: BigInt(((code << 30) | selector) >>> 0),
      instructionLength: length,
    });
  }

  /** VMFUNC: EPTP switching where it is enabled and the list has a valid EPTP; #UD without VM functions. */
  vmfunc(insn: Insn): void {
    if (!this.#secondary(SECONDARY.ENABLE_VM_FUNCTIONS)) throw new Fault('#UD');
    const { core, memory, shape } = this.#machine;
    const leaf = core.gpr(0, 4);
    const index = core.gpr(1, 4);
    const enabled = (this.#vmcs.read(FIELDS.VM_FUNCTION_CONTROLS) & EPTP_SWITCHING) !== 0n;
    const ept = leaf === 0n && enabled && index < EPTP_LIST_ENTRIES ? this.#ept : undefined;
    const list = Number(this.#vmcs.read(FIELDS.EPTP_LIST_ADDRESS));
    const eptp = memory.read(list + Number(index) * 8, 8);
    if (!ept?.accepts(shape, eptp)) throw this.#exit(EXIT_REASON.VMFUNC, insn);
    this.#vmcs.write(FIELDS.EPT_POINTER, eptp);
    ept.use(eptp);
    core.engine.flush({ kind: 'all' });
    core.engine.endSlice();
  }

  /** The task priority that MOV CR8 reaches: bits 7:4 of VTPR under the TPR shadow, else the APIC's own. */
  taskPriority(): number {
    if (!this.#primary(PRIMARY.USE_TPR_SHADOW)) {
      return this.#machine.core.ports.interrupts.taskPriority();
    }
    return Number(this.#machine.memory.read(this.#vtpr, 1) >> 4n);
  }

  /** A shadowed priority below the threshold exits once the instruction is over. */
  setTaskPriority(priority: number): void {
    const { core, memory } = this.#machine;
    if (!this.#primary(PRIMARY.USE_TPR_SHADOW)) {
      core.ports.interrupts.setTaskPriority(priority);
      return;
    }
    memory.write(this.#vtpr, 4, BigInt(priority << 4));
    this.#belowThreshold = priority < (this.#vmcs.read32(FIELDS.TPR_THRESHOLD) & 15);
    if (this.#belowThreshold) core.engine.endSlice();
  }

  // Events.

  exception(event: Event, qualification: bigint): void {
    const bitmap = this.#vmcs.read32(FIELDS.EXCEPTION_BITMAP);
    let exits = ((bitmap >>> event.vector) & 1) === 1;
    if (event.vector === PAGE_FAULT && event.type === EVENT_TYPE.HARDWARE_EXCEPTION) {
      const mask = this.#vmcs.read32(FIELDS.PAGE_FAULT_ERROR_CODE_MASK);
      const match = this.#vmcs.read32(FIELDS.PAGE_FAULT_ERROR_CODE_MATCH);
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

  /** Traps of the instruction before: TPR below threshold, then monitor trap. */
  monitorTrap(): void {
    if (this.#belowThreshold) throw new VmExit(EXIT_REASON.TPR_BELOW_THRESHOLD);
    if (this.#progress > this.#trapAfter) throw new VmExit(EXIT_REASON.MONITOR_TRAP_FLAG);
  }

  preemptionTimer(): void {
    if (this.#timerExpired) throw new VmExit(EXIT_REASON.PREEMPTION_TIMER);
  }

  nmiWindow(): void {
    if (!this.#primary(PRIMARY.NMI_WINDOW_EXITING)) return;
    const blocked = this.#machine.core.state.get32(STATE.INTERRUPTIBILITY);
    if ((blocked & (BLOCKING.NMI | BLOCKING.MOV_SS | BLOCKING.STI)) !== 0) return;
    throw new VmExit(EXIT_REASON.NMI_WINDOW);
  }

  nmi(): void {
    if (!this.#pin(PIN.NMI_EXITING)) return;
    this.#machine.core.ports.interrupts.takeNmi();
    throw new VmExit(EXIT_REASON.EXCEPTION_NMI, {
      interruption: informationOf({ vector: 2, type: EVENT_TYPE.NMI }),
    });
  }

  interruptWindow(): void {
    if (!this.#primary(PRIMARY.INTERRUPT_WINDOW_EXITING)) return;
    const { state } = this.#machine.core;
    if ((state.get(STATE.RFLAGS_SYSTEM) & RFLAGS.IF) === 0n) return;
    if ((state.get32(STATE.INTERRUPTIBILITY) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0) return;
    throw new VmExit(EXIT_REASON.INTERRUPT_WINDOW);
  }

  externalInterrupt(): void {
    if (this.#pin(PIN.EXTERNAL_INTERRUPT_EXITING)) throw new VmExit(EXIT_REASON.EXTERNAL_INTERRUPT);
  }

  iret(): boolean {
    const unblocks = !this.#pin(PIN.NMI_EXITING) || this.#pin(PIN.VIRTUAL_NMIS);
    const blocked = this.#machine.core.state.get32(STATE.INTERRUPTIBILITY) & BLOCKING.NMI;
    this.#iretAt = unblocks && blocked !== 0 ? this.#progress : -1n;
    return unblocks;
  }

  get watchful(): boolean {
    const windows = PRIMARY.INTERRUPT_WINDOW_EXITING | PRIMARY.NMI_WINDOW_EXITING;
    return (
      this.#injection !== undefined ||
      this.#belowThreshold ||
      this.#trapAfter !== MASK64 ||
      (this.#controls.primary & windows) !== 0 ||
      this.#timerExpired
    );
  }

  get externalInterruptExiting(): boolean {
    return this.#pin(PIN.EXTERNAL_INTERRUPT_EXITING);
  }

  /** Virtual NMIs leave physical ones unblocked: bit 3 of the interruptibility state is then the virtual blocking. */
  get nmiBlocked(): boolean {
    if (this.#pin(PIN.VIRTUAL_NMIS)) return false;
    return (this.#machine.core.state.get32(STATE.INTERRUPTIBILITY) & BLOCKING.NMI) !== 0;
  }

  tsc(host: bigint): bigint {
    if (!this.#primary(PRIMARY.USE_TSC_OFFSETTING)) return host;
    const scaled = this.#secondary(SECONDARY.USE_TSC_SCALING)
      ? (host * this.#vmcs.read(FIELDS.TSC_MULTIPLIER)) >> 48n
      : host;
    return (scaled + this.#vmcs.read(FIELDS.TSC_OFFSET)) & MASK64;
  }

  enabled(instruction: 'RDTSCP' | 'INVPCID' | 'XSAVES' | 'TPAUSE'): boolean {
    return this.#secondary(
      {
        RDTSCP: SECONDARY.ENABLE_RDTSCP,
        INVPCID: SECONDARY.ENABLE_INVPCID,
        XSAVES: SECONDARY.ENABLE_XSAVES_XRSTORS,
        TPAUSE: SECONDARY.ENABLE_USER_WAIT_AND_PAUSE,
      }[instruction],
    );
  }

  /** Everything that an instruction boundary can lie behind: retirements, iterations, deliveries. */
  get #progress(): bigint {
    const { state } = this.#machine.core;
    return state.total('ticks') + state.total('exceptions') + state.total('hardwareInterrupts');
  }

  get #timerExpired(): boolean {
    return this.#timer.active && this.#timer.value === 0;
  }

  /** Address of VTPR, in the virtual-APIC page. */
  get #vtpr(): number {
    return Number(this.#vmcs.read(FIELDS.VIRTUAL_APIC_ADDRESS)) + 0x80;
  }

  get #rip(): bigint {
    return this.#machine.core.state.rip;
  }

  #pin(control: number): boolean {
    return (this.#controls.pin & control) !== 0;
  }

  #primary(control: number): boolean {
    return (this.#controls.primary & control) !== 0;
  }

  #secondary(control: number): boolean {
    return (this.#controls.secondary & control) !== 0;
  }

  #msrPasses(address: number, access: 'read' | 'write'): boolean {
    if (!this.#primary(PRIMARY.USE_MSR_BITMAPS)) return false;
    const bitmaps = Number(this.#vmcs.read(FIELDS.MSR_BITMAP_ADDRESS));
    return !msrExits(this.#machine.memory, bitmaps, address, access);
  }

  #xsaves(reason: number, insn: Insn): void {
    const { state } = this.#machine.core;
    const asked = (state.gpr[2]! << 32n) | (state.gpr[0]! & 0xffff_ffffn);
    const bitmap = this.#vmcs.read(FIELDS.XSS_EXITING_BITMAP);
    if ((asked & state.get(STATE.XSS) & bitmap) === 0n) return;
    this.#exit(reason, insn, {
      qualification: displacement(insn, this.#rip),
      instructionInformation: memoryInformation(insn),
    });
  }

  #crExit(insn: Insn, qualification: number, linear = 0n): never {
    return this.#exit(EXIT_REASON.CR_ACCESS, insn, {
      qualification: BigInt(qualification >>> 0),
      guestLinear: linear,
    });
  }

  #exit(reason: number, insn: Insn, detail: VmExitDetail = {}): never {
    throw new VmExit(reason, { instructionLength: insn.length, ...detail });
  }
}
