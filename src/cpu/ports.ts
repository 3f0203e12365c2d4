import type { PhysicalMemory } from '../memory/physical-memory.ts';
import type { ReadOutcome, WriteOutcome } from '../msr/bus.ts';
import type { Event } from './event.ts';
import type { Insn } from './insn.ts';
import type { SegmentName } from './state/layout.ts';
import type { SystemFunction } from './system/core.ts';
import type { VmExit } from './vm-exit.ts';

/** Everything the core asks of others. `machine` plugs in whatever fits; the core imports no device. */
export interface CpuPorts {
  readonly memory: PhysicalMemory;
  readonly msr: MsrPort;
  readonly io: IoPort;
  readonly interrupts: InterruptPort;
  readonly time: TimePort;
  /** RDPMC: the counter `ecx` names. */
  rdpmc(ecx: number): bigint | '#GP';
  /** CPUID; `context` carries the bits that follow the CPU's state. */
  cpuid(leaf: number, subleaf: number, context: CpuidContext): CpuidRegisters;
  /** 64 bits for RDRAND and RDSEED, from the run's seed. */
  random(): bigint;
  /** Hears of every far transfer, interrupt and exception (LBR): where from and to, at which privilege levels. */
  branched?(from: bigint, to: bigint, cplFrom: number, cplTo: number): void;
  /** IA32_PRED_CMD asked for an indirect branch prediction barrier. */
  predictionBarrier?(): void;
  /** What of IA32_DEBUGCTL the core obeys. */
  readonly debug?: DebugPort;
  /** Architectural LBRs, where the CPU has them. */
  readonly lbrs?: StateComponent;
  /** VMX, where the CPU has it. */
  readonly vmx?: VmxPort;
}

/** State that XSAVES and XRSTORS manage and another device keeps. */
export interface StateComponent {
  /** Its quadwords as they lie in the XSAVE area; undefined in its initial configuration. */
  save(): readonly bigint[] | undefined;
  /** Loads it, or its initial configuration. Nothing is changed where a value is not allowed. */
  restore(quadwords: readonly bigint[] | undefined): '#GP' | undefined;
}

export interface MsrPort {
  rdmsr(address: number): ReadOutcome;
  wrmsr(address: number, value: bigint): WriteOutcome;
}

/** Port I/O. What nobody claims reads as all ones; writes to it are dropped. */
export interface IoPort {
  read(port: number, size: 1 | 2 | 4): number;
  write(port: number, size: 1 | 2 | 4, value: number): void;
}

/** IA32_DEBUGCTL, which is kept elsewhere. */
export interface DebugPort {
  /** Whether TF traps on taken branches only (BTF). */
  branchesOnly(): boolean;
  /** A debug exception is delivered: LBR and BTF are cleared. */
  delivered(): void;
}

/** The CPU's side of its local APIC. Whoever makes something pending also calls `Cpu.attention()`. */
export interface InterruptPort {
  /** Highest vector that outranks the processor priority, asked only when it could be taken. */
  pendingVector(): number | undefined;
  /** Moves that vector from requested to in service, as INTA does. */
  acknowledge(): number;
  /** The interrupt of the highest priority in service is over. */
  endOfInterrupt(): void;
  nmiPending(): boolean;
  takeNmi(): void;
  /** Signals that outrank all others: INIT, and SIPI with its vector, which only a waiting CPU takes. */
  pendingSignal(initIsBlocked?: boolean): 'INIT' | { readonly sipi: number } | undefined;
  takeSignal(initIsBlocked?: boolean): void;
  /** A VM exit takes the INIT, and nothing is reset. */
  dismissInit(): void;
  /** Task priority, bits 7:4 of TPR, which MOV CR8 reads and writes. */
  taskPriority(): number;
  setTaskPriority(priority: number): void;
  /** Whether this is the bootstrap processor, which INIT restarts at the reset vector; others wait for SIPI. */
  bootstrap(): boolean;
  /** Whether APICBASE has the APIC enabled; CPUID.1:EDX[9] shows it. */
  enabled(): boolean;
}

/** What the core reports to whoever keeps counters and timers. See docs/contracts.md. */
export interface TimePort {
  /** Most ticks that may pass before any armed deadline; at least 1, `Infinity` when nothing is armed. */
  horizon(): number;
  /** A slice has ended, the totals are exact: settle and fire. */
  boundary(): void;
  /** What counts is about to change: settle under the old state. */
  modeChanging(): void;
  /** What counts has changed. */
  modeChanged(mode: CountingMode): void;
}

export interface CountingMode {
  readonly cpl: number;
  readonly halted: boolean;
}

export interface CpuidRegisters {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** State that CPUID shows. */
export interface CpuidContext {
  readonly cr4: bigint;
  readonly xcr0: bigint;
  readonly xss: bigint;
  readonly apicEnabled: boolean;
}

/** VMX as the core sees it: its instructions, what it forbids, and non-root operation. */
export interface VmxPort {
  /** VMXON, VMLAUNCH, … by mnemonic: same contract as any system instruction. */
  readonly instructions: Readonly<Record<string, SystemFunction>>;
  /** Whether the CPU is in VMX operation (root or not). */
  readonly operation: boolean;
  /** Whether CR0 or CR4 may hold `value` in VMX operation (fixed bits). */
  mayHold(register: 0 | 4, value: bigint): boolean;
  /** Intercepts while in non-root operation, else undefined. */
  readonly nonRoot: NonRoot | undefined;
  /**
   * Performs a VM exit that an intercept threw. `delivering` is the event in whose delivery it arose (IDT-vectoring).
   * `'leave'` ends `Cpu.run` with reason `vm-exit`, because root-mode software is no guest code.
   */
  vmExit(exit: VmExit, delivering: Event | undefined): 'continue' | 'leave';
}

/** Instructions whose exit needs no operand. */
export type PlainIntercept =
  | 'CPUID'
  | 'GETSEC'
  | 'HLT'
  | 'INVD'
  | 'MONITOR'
  | 'MWAIT'
  | 'PAUSE'
  | 'RDPMC'
  | 'RDTSC'
  | 'RDTSCP'
  | 'RSM'
  | 'WBINVD'
  | 'XSETBV';

export interface IoIntercept {
  readonly port: number;
  readonly size: 1 | 2 | 4;
  readonly direction: 'in' | 'out';
  readonly string: boolean;
  readonly rep: boolean;
  readonly immediate: boolean;
  /** INS and OUTS: linear address of the memory operand and its segment. */
  readonly linear?: bigint;
  readonly segment?: SegmentName;
}

/** A page of guest-physical memory as nested translation leaves it. */
export interface NestedPage {
  /** Host-physical address of the very byte asked for. */
  readonly physical: number;
  /** Whether later writes (fetches) to the same 4-KiB page may go without asking again. */
  readonly writable: boolean;
  readonly executable: boolean;
}

export type MemoryAccess = 'read' | 'write' | 'execute';

/**
 * Intercepts of VMX non-root operation. A method returns when nothing exits and throws `VmExit` when something does;
 * those that answer a boolean say whether it exits, leave the exit in `core.exit`, and the instruction ends there.
 * The core calls each where the SDM's "Relative Priority of Faults and VM Exits" has it.
 * `insn` is the instruction being executed; RIP still points at it.
 */
export interface NonRoot {
  /** The tags of translations (cpu/system/translation-tags.ts): VPID, and physical address of the EPT PML4 table. */
  readonly vpid: number;
  readonly ept: number | undefined;
  plain(name: PlainIntercept, insn: Insn): boolean;
  invlpg(linear: bigint, insn: Insn): void;
  invpcid(insn: Insn): void;
  rdmsr(address: number, insn: Insn): boolean;
  wrmsr(address: number, value: bigint, insn: Insn): boolean;
  rdrand(insn: Insn): void;
  rdseed(insn: Insn): void;
  xsaves(insn: Insn): void;
  xrstors(insn: Insn): void;
  io(access: IoIntercept, insn: Insn): boolean;
  /** LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR. */
  descriptorTable(insn: Insn): void;
  movDr(number: number, direction: 'to' | 'from', register: number, insn: Insn): void;
  /** MOV to CR0, CR3, CR4, CR8: the value that the register really gets (masked bits keep theirs). */
  movToCr(number: number, value: bigint, register: number, insn: Insn): bigint;
  /** MOV from CR0, CR3, CR4, CR8, and SMSW (as CR0): the value that software sees. */
  movFromCr(number: number, value: bigint, register: number, insn: Insn): bigint;
  /** CLTS: whether CR0.TS is really cleared. */
  clts(insn: Insn): boolean;
  /** LMSW: the low four bits that CR0 really gets. */
  lmsw(source: number, linear: bigint | undefined, insn: Insn): number;
  taskSwitch(selector: number, source: 'CALL' | 'IRET' | 'JMP' | 'gate', length: number): void;

  /** An exception before its delivery; `qualification` is the address of #PF and the DR6 bits of #DB. */
  exception(event: Event, qualification: bigint): void;
  tripleFault(): void;

  /**
   * The event that VM entry injects, once: asked before anything else between instructions,
   * delivered whatever blocks it and without looking at the exception bitmap.
   */
  takeInjection(): Event | undefined;

  // Between instructions, in the order of priority; each is asked only when nothing blocks it.
  init(): void;
  sipi(vector: number): void;
  monitorTrap(): void;
  preemptionTimer(): void;
  nmiWindow(): void;
  /** Returns when the NMI goes through the guest's IDT. The exit takes the NMI itself. */
  nmi(): void;
  interruptWindow(): void;
  /** The vector of a virtual interrupt to deliver now; asked when nothing blocks interrupts. */
  takeVirtualInterrupt(): number | undefined;
  /** False when the interrupt goes through the guest's IDT; true when it was taken without an exit (posted interrupts). */
  externalInterrupt(): boolean;
  /** IRET: whether it unblocks NMIs (not when NMI exiting is 1 without virtual NMIs). Drives virtual-NMI blocking. */
  iret(): boolean;
  /** Whether any of monitor trap, windows or the timer asks to be looked at before each instruction. */
  readonly watchful: boolean;
  /** Whether an external interrupt exits, and so is looked at whatever RFLAGS.IF. */
  readonly externalInterruptExiting: boolean;
  readonly nmiBlocked: boolean;

  /** The TSC that the guest sees. */
  tsc(host: bigint): bigint;
  /** Instructions that a secondary control enables; #UD without it. */
  enabled(instruction: 'RDTSCP' | 'INVPCID' | 'XSAVES' | 'TPAUSE'): boolean;
  /** CR8. */
  taskPriority?(): number;
  setTaskPriority?(priority: number): void;
  /** An MSR that non-root operation virtualises; undefined where the processor's own is reached. */
  readMsr(address: number): bigint | undefined;
  writeMsr(address: number, value: bigint): WriteOutcome | undefined;
  /** Host-physical number of the APIC-access page; -1 while accesses to it are not virtualised. */
  readonly apicAccessPage: number;
  /** Accesses to that page, by offset in it. @throws VmExit where they are not virtualised */
  apicRead(offset: number, size: number): bigint;
  apicWrite(offset: number, size: number, value: bigint): void;
  /** Accesses to it that never are: instruction fetches, and paging structures. @throws VmExit */
  apicAccess(kind: 'fetch' | 'walk', offset: number): never;

  /**
   * Guest-physical to host-physical, when EPT is on. `linear` is the linear address in work, if any;
   * `walk` says that the access is to a paging structure.
   */
  readonly translate:
    | ((
        physical: number,
        access: MemoryAccess,
        linear: bigint | undefined,
        walk: boolean,
      ) => NestedPage)
    | undefined;
}
