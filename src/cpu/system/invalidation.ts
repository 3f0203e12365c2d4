import { isSet } from '../../bits/bitfield.ts';
import { MASK64 } from '../../bits/u64.ts';
import { CR4 } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import { moveSize } from './control-moves.ts';
import type { SystemFunction } from './core.ts';
import { isVirtual8086 } from './mode.ts';

const refuse = () => new Fault('#GP', 0);

/** INVLPG. */
export const invlpg: SystemFunction = (core, insn) => {
  core.requireCpl0();
  const memory = core.memoryOperand(insn);
  if (!memory) throw new Fault('#UD');
  const linear = core.linearOf(memory, insn);
  core.nonRoot?.invlpg(linear, insn);
  if (core.isCanonical(linear)) core.forget({ linear });
};

/** INVPCID. Vol. 2, "INVPCID—Invalidate Process-Context Identifier". */
export const invpcid: SystemFunction = (core, insn) => {
  if (core.nonRoot?.enabled('INVPCID') === false) throw new Fault('#UD');
  if (isVirtual8086(core.state) || core.cpl !== 0) throw refuse();
  core.nonRoot?.invpcid(insn);
  const [register, memory] = insn.operands;
  if (register?.kind !== 'gpr' || memory?.kind !== 'mem') throw new Fault('#UD');
  const type = core.gpr(register.index, moveSize(core));
  const offset = core.offset(memory, insn);
  // One operand of 16 bytes: both halves pass segmentation before either is read.
  core.linear(memory.segment, offset, 16, 'read');
  const pcid = core.load(memory.segment, offset, 8);
  const linear = core.load(memory.segment, (offset + 8n) & MASK64, 8);
  const pcide = isSet(core.state.get(STATE.CR4), CR4.PCIDE);
  if (type > 3n || pcid >> 12n !== 0n) throw refuse();
  if (type < 2n && !pcide && pcid !== 0n) throw refuse();
  if (type === 0n && !core.isCanonical(linear)) throw refuse();
  if (type === 0n) core.forget({ linear });
  else core.forget(type === 1n ? { pcid: Number(pcid) } : {});
};

/** WBINVD and INVD: no cache holds data of its own here. */
export const wbinvd: SystemFunction = (core, insn) => {
  core.requireCpl0();
  if (core.nonRoot?.plain('WBINVD', insn)) return;
};
export const invd: SystemFunction = (core, insn) => {
  core.requireCpl0();
  if (core.nonRoot?.plain('INVD', insn)) return;
};
