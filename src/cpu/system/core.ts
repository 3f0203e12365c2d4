import type { Insn } from '../insn.ts';
import type { CpuPorts } from '../ports.ts';
import type { State } from '../state/state.ts';

/** What system instructions work on. */
export interface Core {
  readonly state: State;
  readonly ports: CpuPorts;
}

/**
 * A system instruction. On entry RIP is the instruction's own and everything older is in the totals.
 * It throws `Fault` or `VmExit` before its first effect; it returns `'transferred'` when it has set RIP itself,
 * otherwise RIP goes to the next instruction. Its caller retires it.
 */
export type SystemFunction = (core: Core, insn: Insn) => 'transferred' | void;
