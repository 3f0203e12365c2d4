import { RFLAGS } from '../control-registers.ts';
import { EVENT_TYPE, type EventType } from '../event.ts';
import { Fault, VECTORS } from '../fault.ts';
import type { Insn } from '../insn.ts';
import type { Core, SystemFunction } from './core.ts';
import { iopl, isVirtual8086 } from './mode.ts';

/** Delivers from inside an instruction; RIP is then the handler's. A fault on the way is the instruction's. */
function trap(core: Core, vector: number, type: EventType, insn: Insn): void {
  core.deliverFromInstruction({ vector, type, length: insn.length });
}

/** INT n. Vol. 2, "INT n/INTO/INT3/INT1—Call to Interrupt Procedure". */
export const int: SystemFunction = (core, insn) => {
  if (isVirtual8086(core.state) && iopl(core.state) !== 3) throw new Fault('#GP', 0);
  const vector = Number(core.operand(insn, 0, 1));
  trap(core, vector, EVENT_TYPE.SOFTWARE_INTERRUPT, insn);
};

/** INT3. */
export const int3: SystemFunction = (core, insn) =>
  trap(core, VECTORS['#BP'], EVENT_TYPE.SOFTWARE_EXCEPTION, insn);

/** INT1: a debug exception that no DR6 bit explains. */
export const int1: SystemFunction = (core, insn) =>
  trap(core, VECTORS['#DB'], EVENT_TYPE.PRIVILEGED_SOFTWARE_EXCEPTION, insn);

/** INTO. */
export const into: SystemFunction = (core, insn) => {
  if ((core.rflags & RFLAGS.OF) !== 0n) {
    trap(core, VECTORS['#OF'], EVENT_TYPE.SOFTWARE_EXCEPTION, insn);
  }
};

/** UD0, UD1, UD2. */
export const undefinedInstruction: SystemFunction = () => {
  throw new Fault('#UD');
};
