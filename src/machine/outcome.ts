import type { FaultRecord } from '../cpu/stop-reason.ts';

export type { FaultRecord };

/** Why a run ended. */
export type RunReason =
  /** The guest wrote to the debug-exit port. */
  | 'exit'
  /** The guest switched the machine off. */
  | 'shutdown'
  /** The guest reset the machine. */
  | 'reset'
  /** The instruction budget is used up; the run can go on. */
  | 'budget'
  /** Halted, and nothing can ever wake it. */
  | 'halted-forever'
  /** A triple fault. */
  | 'triple-fault';

/** How a run ended, and what it can be told by. */
export interface RunResult {
  readonly reason: RunReason;
  /** The value written to the debug-exit port. */
  readonly exitValue: number | undefined;
  /** Instructions the guest has retired since power-up. */
  readonly instructions: bigint;
  /** Ticks since power-up. */
  readonly ticks: bigint;
  /** Where the guest stands. */
  readonly rip: bigint;
  /** The exceptions of a triple fault, oldest first. */
  readonly faults: readonly FaultRecord[];
  /** SHA-256 of the machine's state as it is when this is asked: the same run ends in the same digest everywhere. */
  digest(): string;
}
