import type { ReadOutcome, WriteOutcome } from '../msr/bus.ts';
import type { VmxOutcome } from '../vmx/outcome.ts';

/** What a stretch of root-mode software adds to the totals, at CPL 0 in root operation. */
export interface Work {
  /** Ticks that pass, halted or not. */
  readonly ticks: number;
  readonly instructions: number;
  readonly branches: number;
}

/** The VMX instructions, as root-mode software executes them. Addresses are physical; fields by encoding. */
export interface VmxPorts {
  vmxon(region: bigint): VmxOutcome;
  vmclear(vmcs: bigint): VmxOutcome;
  vmptrld(vmcs: bigint): VmxOutcome;
  /** `undefined` where VMREAD fails. */
  vmread(field: number): bigint | undefined;
  vmwrite(field: number, value: bigint): VmxOutcome;
  /** Enters the guest on success; a failed entry that loads host state (exit reasons 33, 34) also succeeds. */
  vmlaunch(): VmxOutcome;
  vmresume(): VmxOutcome;
  invept(type: number, eptp: bigint): VmxOutcome;
  invvpid(type: number, vpid: bigint, linear: bigint): VmxOutcome;
}

/** Registers that a VM exit leaves as the guest had them; root-mode software here never changes them itself. */
export interface RegisterPorts {
  /** RAX … R15 in the order of their numbers. */
  readonly gpr: BigUint64Array;
  cr2: bigint;
  xcr0: bigint;
  /** DR0 to DR3 and DR6; DR7 is in the VMCS. */
  readonly dr: BigUint64Array;
  /** x87, MMX, SSE and AVX state as one block of bytes, as XSAVE would store it. */
  saveExtended(): Uint8Array;
  restoreExtended(saved: Uint8Array): void;
}

/** Physical memory, as root-mode software addresses it through its direct map. */
export interface MemoryPorts {
  read(address: number, size: 1 | 2 | 4 | 8): bigint;
  write(address: number, size: 1 | 2 | 4 | 8, value: bigint): void;
}

export interface CpuidRegisters {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** One physical CPU as root-mode software meets it; the machine supplies it. */
export interface CpuPorts {
  readonly id: number;
  rdmsr(address: number): ReadOutcome;
  wrmsr(address: number, value: bigint): WriteOutcome;
  rdpmc(ecx: number): bigint | '#GP';
  cpuid(leaf: number, subleaf: number): CpuidRegisters;
  /** Ticks of this CPU since power-up. */
  now(): bigint;
  /** Most ticks that may pass before the next deadline of this CPU (counter overflow, timer); Infinity without one. */
  horizon(): number;
  /** Whether so many ticks can pass with nothing falling due and nothing pending; may deny it where it does not know. */
  quiet(ticks: number): boolean;
  /** Adds work to the totals; never asked for more ticks than the horizon. `halted` ticks are no unhalted ones. */
  retire(work: Work, halted: boolean): void;
  /** Settles the devices and fires whatever is due. */
  boundary(): void;
  /** Whether an NMI is pending; taking it clears the latch. */
  takeNmi(): boolean;
  /** Acknowledges the pending interrupt of highest priority as INTA does. */
  takeInterrupt(): number | undefined;
  /** Whether `takeInterrupt` would answer. */
  interruptPending(): boolean;
  /**
   * Runs the guest that was entered: until a VM exit, or until `maxTicks` have passed. After an entry that failed
   * late (exit reasons 33 and 34) there is no guest: 'exit' at once.
   */
  run(maxTicks: number): 'exit' | 'budget';
  readonly vmx: VmxPorts;
  readonly registers: RegisterPorts;
  readonly memory: MemoryPorts;
}
