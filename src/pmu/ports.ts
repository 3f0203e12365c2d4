import type { Total } from './totals.ts';

/** The monotone event totals of the CPU the PMU belongs to, without the instruction that is executing. */
export interface Totals {
  read(name: Total): bigint;
}

/** What a PMU asks of the core it counts for. */
export interface PmuCore {
  /** What counts, or until when, has changed: ask for the horizon again. */
  changed(): void;
  /** These totals, and of the dynamic ones no others, must be kept from the current instruction's retirement on. */
  arm(names: readonly Total[]): void;
  /** Whether taken branches must be reported to `Pmu.branch`. Called only where the PMU has LBRs. */
  traceBranches?(on: boolean): void;
  /** What PEBS needs; present where the PMU has it. */
  readonly sampling?: Sampling;
}

/** The core's state between two instructions, as a PEBS record shows it. */
export interface SampledState {
  /** RAX … R15 by register number. */
  readonly gpr: readonly bigint[];
  readonly rflags: bigint;
  /** Address of the next instruction, and of the one that caused the event. */
  readonly rip: bigint;
  readonly eventingIp: bigint;
  /** Code is 64-bit code. */
  readonly code64: boolean;
  /** XMM0 … XMM15, 128 bits each. */
  readonly xmm: readonly bigint[];
  readonly tsc: bigint;
  /** Linear address that the instruction accessed, 0 if none. */
  readonly dataAddress: bigint;
}

/** The core as PEBS sees it: registers to record and linear memory to record them in. */
export interface Sampling {
  /** Whether some counter samples: what `state` says of the last instruction must be right meanwhile. */
  arm(on: boolean): void;
  state(): SampledState;
  /** Reads 8 bytes of supervisor data; undefined where that would fault. */
  read(linear: bigint): bigint | undefined;
  /** Writes supervisor data. @returns whether it could be written. */
  write(linear: bigint, bytes: Uint8Array): boolean;
  /** Writes physical memory, as architectural PEBS does. @returns whether it could be written. */
  writePhysical(address: bigint, bytes: Uint8Array): boolean;
}
