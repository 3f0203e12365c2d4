import type { StepResult } from './guest/tables.ts';

/** How an access went: the processor answered it, the hypervisor did, or neither was asked. */
export type Path = 'direct' | 'exit' | 'none';

/** Something that a register's owner did not allow, at the instruction that did it. */
export interface ForeignAccess {
  readonly step: number;
  readonly what: string;
  /** MSR address, or undefined for RDPMC, whose ECX is `ecx`. */
  readonly address: number | undefined;
  readonly ecx?: number;
  readonly rip: bigint;
}

/** One step as it was seen from outside. */
export interface StepTrace extends StepResult {
  readonly path: Path;
  /** Names of the exits taken in this step. */
  readonly exits: readonly string[];
}

/** All that a run of a case shows. */
export interface Trace {
  readonly steps: readonly StepTrace[];
  readonly nmis: number;
  /** How the run ended: `end` is the guest's own end. */
  readonly end: string;
  /** SHA-free digest of what the guest can see: the dirty part of its memory. */
  readonly memory: Uint8Array;
  readonly foreign: readonly ForeignAccess[];
  /** NMIs that no handler of the host knew, in this run. */
  readonly unknownNmis: number;
}
