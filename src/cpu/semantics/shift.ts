import { CC, type Emit, type FlagKind, type IntegerSize, RCX } from '../emit.ts';
import { shiftCount } from '../form.ts';
import type { Insn } from '../insn.ts';
import { gpr, readForWrite, type Semantics, signBit, width, writeBack } from './operand.ts';

/** The count, masked as the operand size masks it. */
function maskedCount<V, C>(e: Emit<V, C>, insn: Insn): V {
  if (shiftCount(insn) === 'one') return e.const(1, 1);
  const last = insn.operands.at(-1);
  const count = last?.kind === 'imm' ? e.imm(1, last) : e.reg(1, RCX);
  return e.bin('and', 1, count, e.const(1, insn.size === 8 ? 63 : 31));
}

/** Sets flags, except where a count in CL is 0. */
function setFlags<V, C>(
  e: Emit<V, C>,
  insn: Insn,
  count: V,
  kind: FlagKind,
  size: IntegerSize,
  x: V,
  y?: V,
): void {
  if (shiftCount(insn) === 'variable') e.flagsIf(e.not(e.isZero(1, count)), kind, size, x, y);
  else e.flags(kind, size, x, y);
}

/** CF and OF in their RFLAGS positions, of values that are 0 or 1. */
const carryAndOverflow = <V, C>(e: Emit<V, C>, carry: V, overflow: V): V =>
  e.bin('or', 4, e.low(4, carry), e.shift('shl', 4, e.low(4, overflow), e.const(1, 11)));

/** The other four flags as they are, with CF and OF. */
const withCarryAndOverflow = <V, C>(e: Emit<V, C>, carry: V, overflow: V): V =>
  e.bin(
    'or',
    4,
    e.bin('and', 4, e.statusFlags(), e.const(4, 0xd4)),
    carryAndOverflow(e, carry, overflow),
  );

/** SHL, SHR, SAR. The last bit shifted out is found in the operand shifted by one less. */
const shift =
  (op: 'shl' | 'shr' | 'sar'): Semantics =>
  (e, insn) => {
    if (shiftCount(insn) === 'zero') return unchanged(e, insn);
    const n = width(insn);
    const count = maskedCount(e, insn);
    const a = readForWrite(e, insn);
    const result = e.shift(op, n, a, count);
    const one = e.const(1, 1);
    const before = shiftCount(insn) === 'one' ? a : e.shift(op, n, a, e.bin('sub', 1, count, one));
    const carry = op === 'shl' ? signBit(e, n, before) : e.bin('and', n, before, one);
    const overflow = {
      shl: () => signBit(e, n, e.bin('xor', n, before, result)),
      shr: () => signBit(e, n, before),
      sar: () => e.const(4, 0),
    }[op]();
    writeBack(e, insn, result);
    setFlags(e, insn, count, 'RESULT', n, result, carryAndOverflow(e, carry, overflow));
  };

/** A count of 0 changes no flag; it still writes the destination. */
function unchanged<V, C>(e: Emit<V, C>, insn: Insn): void {
  writeBack(e, insn, readForWrite(e, insn));
}

/** ROL, ROR: flags by the masked count, although a whole turn rotates nothing. */
const rotate =
  (op: 'rol' | 'ror'): Semantics =>
  (e, insn) => {
    if (shiftCount(insn) === 'zero') return unchanged(e, insn);
    const n = width(insn);
    const count = maskedCount(e, insn);
    const turn = n < 4 ? e.bin('and', 1, count, e.const(1, n * 8 - 1)) : count;
    const result = e.shift(op, n, readForWrite(e, insn), turn);
    const top = signBit(e, n, result);
    const one = e.const(1, 1);
    const carry = op === 'rol' ? e.bin('and', n, result, one) : top;
    const other = op === 'rol' ? carry : signBit(e, n, e.shift('shl', n, result, one));
    const flags = withCarryAndOverflow(e, carry, e.bin('xor', 4, top, other));
    writeBack(e, insn, result);
    setFlags(e, insn, count, 'RAW', 4, flags);
  };

/** RCL, RCR: operand and CF are one number of 8n + 1 bits. */
const rotateThroughCarry =
  (op: 'rcl' | 'rcr'): Semantics =>
  (e, insn) => {
    if (shiftCount(insn) === 'zero') return unchanged(e, insn);
    const n = width(insn);
    const masked = maskedCount(e, insn);
    const zero = e.const(1, 0);
    const one = e.const(1, 1);
    const bits = e.const(1, n * 8);
    const count =
      n < 4 ? e.divide(1, false, zero, masked, e.const(1, n * 8 + 1)).remainder : masked;
    const still = e.isZero(1, count);
    const carryIn = e.truth(e.cond(CC.B));
    const [out, back] = op === 'rcl' ? (['shl', 'shr'] as const) : (['shr', 'shl'] as const);

    // With 1 ≤ count ≤ 8n: what leaves at one end, the carry behind it, what comes back at the other end.
    const a = readForWrite(e, insn);
    const complement = e.select(1, still, zero, e.bin('sub', 1, bits, count));
    const lessOne = e.select(1, still, zero, e.bin('sub', 1, count, one));
    const carryPlace = op === 'rcl' ? lessOne : complement;
    const leaving = e.shift(out, n, a, count);
    const coming = e.shift(back, n, e.shift(back, n, a, one), complement);
    const rotated = e.bin(
      'or',
      n,
      e.bin('or', n, leaving, coming),
      e.shift('shl', n, carryIn, carryPlace),
    );
    const result = e.select(n, still, a, rotated);
    const lastOut = e.bin('and', n, e.shift('shr', n, a, op === 'rcl' ? complement : lessOne), one);
    const carry = e.select(n, still, carryIn, lastOut);
    const other = op === 'rcl' ? carry : signBit(e, n, e.shift('shl', n, result, one));
    const overflow = e.bin('xor', 4, signBit(e, n, result), other);
    const flags = withCarryAndOverflow(e, carry, overflow);
    writeBack(e, insn, result);
    setFlags(e, insn, masked, 'RAW', 4, flags);
  };

/** What a double shift gives, and the last bit that it shifted out. */
interface Shifted<V> {
  readonly result: V;
  readonly carry: V;
}

/** Bits of `b` follow `a`; 1 ≤ count < 8n, a count of 0 leaves `a`. */
function shiftDouble<V, C>(
  e: Emit<V, C>,
  op: 'shl' | 'shr',
  n: 4 | 8,
  a: V,
  b: V,
  count: V,
): Shifted<V> {
  const one = e.const(1, 1);
  const still = e.isZero(1, count);
  const unless0 = (value: V) => e.select(1, still, count, value);
  const complement = unless0(e.bin('sub', 1, e.const(1, n * 8), count));
  const lessOne = unless0(e.bin('sub', 1, count, one));
  const filled = e.shift(op === 'shl' ? 'shr' : 'shl', n, b, complement);
  const shifted = e.bin('or', n, e.shift(op, n, a, count), filled);
  return {
    result: e.select(n, still, a, shifted),
    carry: e.bin('and', n, e.shift('shr', n, a, op === 'shl' ? complement : lessOne), one),
  };
}

/** Of two bytes: a window on a:b:a, since behind `b` come, for counts above 16, bits of `a` again (undefined by the manual). */
function shiftDoubleWords<V, C>(
  e: Emit<V, C>,
  op: 'shl' | 'shr',
  a: V,
  b: V,
  count: V,
): Shifted<V> {
  const place = (value: V, at: number) => e.shift('shl', 8, value, e.const(1, at));
  const bitAt = (value: V, at: V) =>
    e.bin('and', 4, e.low(4, e.shift('shr', 8, value, at)), e.const(1, 1));
  const aba = e.bin('or', 8, e.bin('or', 8, place(a, 32), place(b, 16)), a);
  if (op === 'shl') {
    const window = e.shift('shr', 8, aba, e.bin('sub', 1, e.const(1, 32), count));
    return { result: e.low(2, window), carry: bitAt(window, e.const(1, 16)) };
  }
  const last = e.select(1, e.isZero(1, count), count, e.bin('sub', 1, count, e.const(1, 1)));
  return { result: e.low(2, e.shift('shr', 8, aba, count)), carry: bitAt(aba, last) };
}

/** SHLD, SHRD. */
const doubleShift =
  (op: 'shl' | 'shr'): Semantics =>
  (e, insn) => {
    if (shiftCount(insn) === 'zero') return unchanged(e, insn);
    const n = width(insn) as 2 | 4 | 8;
    const count = maskedCount(e, insn);
    const b = e.reg(n, gpr(insn, 1));
    const a = readForWrite(e, insn);
    const { result, carry } =
      n === 2 ? shiftDoubleWords(e, op, a, b, count) : shiftDouble(e, op, n, a, b, count);
    const overflow = signBit(e, n, e.bin('xor', n, a, result));
    writeBack(e, insn, result);
    setFlags(e, insn, count, 'RESULT', n, result, carryAndOverflow(e, carry, overflow));
  };

// biome-ignore format: a table
export const SHIFT = {
  SHL: shift('shl'),                SHR: shift('shr'),                SAR: shift('sar'),
  ROL: rotate('rol'),               ROR: rotate('ror'),
  RCL: rotateThroughCarry('rcl'),   RCR: rotateThroughCarry('rcr'),
  SHLD: doubleShift('shl'),         SHRD: doubleShift('shr'),
} satisfies Record<string, Semantics>;
