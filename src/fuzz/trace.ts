import type { ExitRecord } from './guest/nested-tables.ts';
import type { StepResult } from './guest/tables.ts';
import type { HostWork } from './host-work.ts';

/** How an access went: the processor answered it, the hypervisor did, a guest hypervisor was asked, or nobody. */
export type Path = 'direct' | 'exit' | 'L1' | 'none';

/** Something that a register's owner did not allow, at the instruction that did it. */
export interface ForeignAccess {
  readonly step: number;
  readonly what: string;
  /** Of a guest's own access; otherwise what VM entry or VM exit left. */
  readonly kind?: 'RDMSR' | 'RDPMC';
  /** MSR, or ECX of RDPMC. */
  readonly address: number;
  readonly rip: bigint;
}

/** One step as it was seen from outside. */
export interface StepTrace extends StepResult {
  readonly path: Path;
  /** How the access went by which a guest hypervisor carried this one out. */
  readonly carried?: Path;
  /** Names of the exits taken in this step. */
  readonly exits: readonly string[];
}

/** All that a run of a case shows. */
export interface Trace {
  readonly steps: readonly StepTrace[];
  readonly nmis: number;
  /** How the run ended: `end` is the guest's own end; what the host failed with. */
  readonly end: string;
  /** Of a guest that is a hypervisor: the exits it took; undefined where it was at a loss. */
  readonly toL1: readonly ExitRecord[] | undefined;
  /** And what its exit MSR-store list holds at the end. */
  readonly stored: readonly bigint[];
  /** What the guest can see at its end: the part of its memory that is not code. */
  readonly memory: Uint8Array;
  readonly foreign: readonly ForeignAccess[];
  /** What the events of the host's perf have counted; −1 of one that is in ERROR. */
  readonly hostCounts: readonly bigint[];
  readonly hostWork: HostWork;
}
