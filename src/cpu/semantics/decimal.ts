import { CC, type Emit, RAX } from '../emit.ts';
import { anyBit, operand, type Semantics } from './operand.ts';

/** RFLAGS.AF */
const ADJUST = 1 << 4;

/** Whether the low digit of AL is no decimal digit, or a carry left it. */
const lowDigitOver = <V, C>(e: Emit<V, C>, al: V): C => {
  const digit = e.bin('and', 1, al, e.const(1, 15));
  return e.either(e.below(1, e.const(1, 9), digit), anyBit(e, 4, e.statusFlags(), ADJUST));
};

const carryAndAdjust = <V, C>(e: Emit<V, C>, carry: C, adjust: C): V =>
  e.bin('or', 4, e.truth(carry), e.select(4, adjust, e.const(4, ADJUST), e.const(4, 0)));

/** DAA, DAS. */
const adjustPacked =
  (op: 'add' | 'sub'): Semantics =>
  (e) => {
    const al = e.reg(1, RAX);
    const low = lowDigitOver(e, al);
    const high = e.either(e.below(1, e.const(1, 0x99), al), e.cond(CC.B));
    const zero = e.const(1, 0);
    const digits = [
      e.select(1, low, e.const(1, 6), zero),
      e.select(1, high, e.const(1, 0x60), zero),
    ];
    const result = e.bin(op, 1, al, e.bin('or', 1, digits[0]!, digits[1]!));
    const borrow = e.both(low, e.below(1, al, e.const(1, 6)));
    const carry = op === 'add' ? high : e.either(high, borrow);
    e.setReg(1, RAX, result);
    e.flags('RESULT', 1, result, carryAndAdjust(e, carry, low));
  };

/** AAA, AAS: one digit in AL, a carry into AH. */
const adjustUnpacked =
  (op: 'add' | 'sub'): Semantics =>
  (e) => {
    const ax = e.reg(2, RAX);
    const over = lowDigitOver(e, e.low(1, ax));
    const adjusted = e.bin(op, 2, ax, e.select(2, over, e.const(2, 0x106), e.const(2, 0)));
    const result = e.bin('and', 2, adjusted, e.const(2, 0xff0f));
    e.setReg(2, RAX, result);
    e.flags('RESULT', 1, e.low(1, result), carryAndAdjust(e, over, over));
  };

/** AL in two digits of a base. */
const splitDigits: Semantics = (e, insn) => {
  const base = e.imm(1, operand(insn, 0, 'imm'));
  e.trapIf(e.isZero(1, base), '#DE');
  const { quotient, remainder } = e.divide(1, false, e.const(1, 0), e.reg(1, RAX), base);
  e.setReg(2, RAX, e.bin('or', 2, e.shift('shl', 2, quotient, e.const(1, 8)), remainder));
  e.flags('LOGIC', 1, remainder);
};

/** Two digits of a base into AL. */
const joinDigits: Semantics = (e, insn) => {
  const high = e.shift('shr', 2, e.reg(2, RAX), e.const(1, 8));
  const product = e.bin('mul', 1, e.low(1, high), e.imm(1, operand(insn, 0, 'imm')));
  const result = e.bin('add', 1, e.reg(1, RAX), product);
  e.setReg(2, RAX, result);
  e.flags('LOGIC', 1, result);
};

// biome-ignore format: a table
export const DECIMAL = {
  DAA: adjustPacked('add'),    DAS: adjustPacked('sub'),
  AAA: adjustUnpacked('add'),  AAS: adjustUnpacked('sub'),
  AAM: splitDigits,            AAD: joinDigits,
} satisfies Record<string, Semantics>;
