import { isSet, maskOf } from '../../bits/bitfield.ts';
import { CR4, DR6, DR7 } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import { moveSize } from './control-moves.ts';
import type { SystemFunction } from './core.ts';

/** MOV to and from debug registers. Vol. 3, "Debug Registers". */
export const movDr: SystemFunction = (core, insn) => {
  const [to, from] = insn.operands;
  const dr = to?.kind === 'dr' ? to : from?.kind === 'dr' ? from : undefined;
  const gpr = to?.kind === 'gpr' ? to : from?.kind === 'gpr' ? from : undefined;
  if (!dr || !gpr) return;
  const { state } = core;
  let { index } = dr;
  if (index > 7) throw new Fault('#UD');
  const write = to === dr;
  // Before the privilege level and CR4.DE. Vol. 3, "Instructions That Cause VM Exits Conditionally".
  core.nonRoot?.movDr(dr.index, write ? 'to' : 'from', gpr.index, insn);
  if (index === 4 || index === 5) {
    if (isSet(state.get(STATE.CR4), CR4.DE)) throw new Fault('#UD');
    index += 2;
  }
  core.requireCpl0();
  const size = moveSize(core);
  const slot = STATE.DR + index * 8;
  if (isSet(state.get(STATE.DR + 7 * 8), DR7.GD)) throw new Fault('#DB', undefined, DR6.BD);
  if (!write) {
    core.setGpr(gpr.index, size, state.get(slot));
    return;
  }
  const value = core.gpr(gpr.index, size);
  if (index >= 6 && value >> 32n !== 0n) throw new Fault('#GP', 0);
  if (index < 4 && size === 8 && !core.isCanonical(value)) throw new Fault('#GP', 0);
  state.set(slot, index < 4 ? value : index === 6 ? maskDr6(value) : maskDr7(value));
  core.engine.debugChanged();
};

const maskDr6 = (value: bigint): bigint =>
  DR6.FIXED | (value & maskOf(DR6.B, DR6.BD, DR6.BS, DR6.BT));
const maskDr7 = (value: bigint): bigint => DR7.FIXED | (value & 0xffff_23ffn);
