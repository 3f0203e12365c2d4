import { CC, RAX } from '../emit.ts';
import { STATE } from '../state/layout.ts';
import { setCarry } from './bit.ts';
import type { Semantics } from './operand.ts';

/** RFLAGS.DF */
const DIRECTION = 1 << 10;

/** SF, ZF, AF, PF, CF and the fixed bit 1 into AH. */
const loadFlags: Semantics = (e) => {
  const flags = e.bin('or', 2, e.low(1, e.statusFlags()), e.const(1, 2));
  const al = e.bin('and', 2, e.reg(2, RAX), e.const(2, 0xff));
  e.setReg(2, RAX, e.bin('or', 2, e.shift('shl', 2, flags, e.const(1, 8)), al));
};

/** The same back; OF stays. */
const storeFlags: Semantics = (e) => {
  const ah = e.shift('shr', 2, e.reg(2, RAX), e.const(1, 8));
  const overflow = e.bin('and', 4, e.statusFlags(), e.const(4, 0x800));
  e.flags('RAW', 4, e.bin('or', 4, overflow, e.bin('and', 4, ah, e.const(4, 0xd5))));
};

const setDirection =
  (down: boolean): Semantics =>
  (e) => {
    const flags = e.field(4, STATE.RFLAGS_SYSTEM);
    const op = down ? 'or' : 'and';
    const operand = e.const(4, down ? DIRECTION : ~DIRECTION);
    e.setField(4, STATE.RFLAGS_SYSTEM, e.bin(op, 4, flags, operand));
  };

/** SALC, never documented: AL = −CF. */
const setFromCarry: Semantics = (e) =>
  e.setReg(1, RAX, e.select(1, e.cond(CC.B), e.const(1, -1), e.const(1, 0)));

// biome-ignore format: a table
export const FLAG_CONTROL = {
  CLC: (e) => setCarry(e, e.const(4, 0)),  STC: (e) => setCarry(e, e.const(4, 1)),
  CMC: (e) => setCarry(e, e.truth(e.cond(CC.AE))),
  CLD: setDirection(false),  STD: setDirection(true),
  LAHF: loadFlags,  SAHF: storeFlags,  SALC: setFromCarry,
} satisfies Record<string, Semantics>;
