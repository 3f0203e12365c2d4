import { MASK64 } from '../../bits/u64.ts';
import { PAGE_SIZE } from '../../memory/physical-memory.ts';
import { Fault } from '../fault.ts';
import type { Memory } from '../insn.ts';
import type { Retired } from '../observer.ts';
import type { Core } from '../system/core.ts';
import { VmExit } from '../vm-exit.ts';
import type { Surroundings } from './micro-architecture.ts';

/** What a model may ask of a core. */
export function surroundings(core: Core): Surroundings {
  return {
    state: core.state,
    memory: core.ports.memory.linear,
    linearRip: () => core.linearRip,
    page: (linear) => {
      try {
        const { physical } = core.paging.translate(linear, 'read', core.privilege);
        return core.ports.memory.isRam(physical, PAGE_SIZE) ? physical : undefined;
      } catch (thrown) {
        if (thrown instanceof Fault || thrown instanceof VmExit) return undefined;
        throw thrown;
      }
    },
    operandAddress: (operand: Memory, { insn, next }: Retired) =>
      // RIP has moved on: what is relative to it is relative to the next instruction already.
      operand.base === 16 ? (next + operand.disp) & MASK64 : core.linearOf(operand, insn),
  };
}
