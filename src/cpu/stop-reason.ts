/** Why `Cpu.run` came back. */
export type StopReason =
  /** The ticks are used up. */
  | { readonly reason: 'budget' }
  /** `stop` was called. */
  | { readonly reason: 'stopped' }
  /** Halted, and nothing armed here can wake it: it takes an NMI, INIT or an interrupt from elsewhere. */
  | { readonly reason: 'halted' }
  /** Waits for INIT or SIPI. */
  | { readonly reason: 'waiting' }
  /** A VM exit to root-mode software that is no guest code. */
  | { readonly reason: 'vm-exit' }
  /** A triple fault: the exceptions that led to it, oldest first. */
  | { readonly reason: 'shutdown'; readonly faults: readonly FaultRecord[] };

/** One exception of a chain that could not be delivered. */
export interface FaultRecord {
  readonly vector: number;
  readonly code: number | undefined;
  readonly rip: bigint;
  readonly cr2: bigint;
}
