import type { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import type { Core, EngineReach } from '../system/core.ts';
import type { VmExit } from '../vm-exit.ts';

/** Why an engine came back. Registers, flags and totals are exact in each case. */
export type EngineExit =
  /** The fuel is used up, or `endSlice` was called and the instruction then under way is done. */
  | { readonly reason: 'slice' }
  /** The instruction at RIP is one of cpu/system: nothing of it is done or counted. */
  | { readonly reason: 'system'; readonly insn: Insn }
  /** The instruction at RIP did not retire: nothing of it is done or counted. */
  | { readonly reason: 'fault'; readonly fault: Fault | VmExit };

/** Executes instructions. It delivers nothing and looks at no event: that is the CPU's. */
export interface Engine extends EngineReach {
  /** Runs from RIP for at most `fuel` ticks, at least 1. */
  run(fuel: number): EngineExit;
  /** Ends a slice before an instruction at one of these linear addresses, unless the slice begins there. */
  stopBefore(addresses: ReadonlySet<bigint>): void;
}

/** Makes the engine of a CPU. */
export type EngineFactory = (core: Core) => Engine;
