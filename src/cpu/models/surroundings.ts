import { MASK64 } from '../../bits/u64.ts';
import { Fault } from '../fault.ts';
import type { Memory } from '../insn.ts';
import type { Retired } from '../observer.ts';
import type { MemoryAccess } from '../ports.ts';
import type { Core } from '../system/core.ts';
import { VmExit } from '../vm-exit.ts';
import type { Surroundings } from './micro-architecture.ts';

/** What a model may ask of a core. Addresses that no longer translate, or lie outside RAM, are undefined. */
export function surroundings(core: Core): Surroundings {
  const ram = (linear: bigint, access: MemoryAccess): number | undefined => {
    try {
      const { physical } = core.paging.translate(linear, access, core.privilege);
      return core.ports.memory.isRam(physical) ? physical : undefined;
    } catch (thrown) {
      if (thrown instanceof Fault || thrown instanceof VmExit) return undefined;
      throw thrown;
    }
  };
  return {
    state: core.state,
    codeAddress: (linear) => ram(linear, 'execute'),
    operandAddress: (operand: Memory, { insn, next }: Retired) => {
      // RIP has moved on: what is relative to it is relative to the next instruction already.
      const linear =
        operand.base === 16 ? (next + operand.disp) & MASK64 : core.linearOf(operand, insn);
      return ram(linear, 'read');
    },
  };
}
