import { CC, type Emit, type IntegerSize, RAX, RDX } from '../emit.ts';
import type { Insn } from '../insn.ts';
import { gpr, read, readForWrite, type Semantics, width, write, writeBack } from './operand.ts';

/** ADD, SUB. */
const add =
  (op: 'add' | 'sub', kind: 'ADD' | 'SUB'): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const b = read(e, insn, 1);
    const a = readForWrite(e, insn);
    writeBack(e, insn, e.bin(op, n, a, b));
    e.flags(kind, n, a, b);
  };

/** ADC, SBB. */
const addCarry =
  (op: 'add' | 'sub', kind: 'ADD' | 'SUB'): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const carry = e.cond(CC.B);
    const b = read(e, insn, 1);
    const a = readForWrite(e, insn);
    writeBack(e, insn, e.bin(op, n, e.bin(op, n, a, b), e.truth(carry)));
    e.flags(kind, n, a, b, carry);
  };

const compare: Semantics = (e, insn) => {
  const b = read(e, insn, 1);
  e.flags('SUB', width(insn), read(e, insn, 0), b);
};

/** INC, DEC: CF stays. */
const step =
  (op: 'add' | 'sub', kind: 'INC' | 'DEC'): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const carry = e.cond(CC.B);
    const result = e.bin(op, n, readForWrite(e, insn), e.const(n, 1));
    writeBack(e, insn, result);
    e.flags(kind, n, result, undefined, carry);
  };

const negate: Semantics = (e, insn) => {
  const n = width(insn);
  const zero = e.const(n, 0);
  const a = readForWrite(e, insn);
  writeBack(e, insn, e.bin('sub', n, zero, a));
  e.flags('SUB', n, zero, a);
};

/** CF and OF: whether the high half of a product says something. */
const significant = <V, C>(e: Emit<V, C>, n: IntegerSize, signed: boolean, high: V, low: V): V => {
  const extension = signed ? e.shift('sar', n, low, e.const(1, n * 8 - 1)) : e.const(n, 0);
  return e.select(4, e.equal(n, high, extension), e.const(4, 0), e.const(4, 0x801));
};

/** Writes a double-width result to rDX:rAX, or AX. */
function setWide<V, C>(e: Emit<V, C>, n: IntegerSize, high: V, low: V): void {
  if (n === 1) {
    e.setReg(2, RAX, e.bin('or', 2, e.shift('shl', 2, high, e.const(1, 8)), low));
  } else {
    e.setReg(n, RAX, low);
    e.setReg(n, RDX, high);
  }
}

/** MUL, IMUL of one operand. */
function multiplyWide<V, C>(e: Emit<V, C>, insn: Insn, signed: boolean): void {
  const n = width(insn);
  const b = read(e, insn, 0);
  const a = e.reg(n, RAX);
  const low = e.bin('mul', n, a, b);
  const high = e.mulHigh(n, signed, a, b);
  setWide(e, n, high, low);
  e.flags('RESULT', n, low, significant(e, n, signed, high, low));
}

/** IMUL of two or three operands. */
function multiply<V, C>(e: Emit<V, C>, insn: Insn): void {
  const n = width(insn);
  const three = insn.operands.length === 3;
  const a = read(e, insn, three ? 1 : 0);
  const b = read(e, insn, three ? 2 : 1);
  const low = e.bin('mul', n, a, b);
  const high = e.mulHigh(n, true, a, b);
  e.setReg(n, gpr(insn, 0), low);
  e.flags('RESULT', n, low, significant(e, n, true, high, low));
}

const divide =
  (signed: boolean): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const divisor = read(e, insn, 0);
    const low = e.reg(n, RAX);
    const high = n === 1 ? e.shift('shr', 2, e.reg(2, RAX), e.const(1, 8)) : e.reg(n, RDX);
    e.trapIf(e.isZero(n, divisor), '#DE');
    const { quotient, remainder, fits } = e.divide(n, signed, high, low, divisor);
    e.trapIf(e.not(fits), '#DE');
    setWide(e, n, remainder, quotient);
  };

/** The sum goes to the first operand, its old value to the second. */
const exchangeAdd: Semantics = (e, insn) => {
  const n = width(insn);
  const b = read(e, insn, 1);
  const a = readForWrite(e, insn);
  writeBack(e, insn, e.bin('add', n, a, b), () => write(e, insn, 1, a));
  e.flags('ADD', n, a, b);
};

// biome-ignore format: a table
export const ARITHMETIC = {
  ADD: add('add', 'ADD'),       SUB: add('sub', 'SUB'),
  ADC: addCarry('add', 'ADD'),  SBB: addCarry('sub', 'SUB'),
  INC: step('add', 'INC'),      DEC: step('sub', 'DEC'),
  CMP: compare,                 NEG: negate,
  MUL: (e, insn) => multiplyWide(e, insn, false),
  IMUL: (e, insn) => (insn.operands.length === 1 ? multiplyWide(e, insn, true) : multiply(e, insn)),
  DIV: divide(false),           IDIV: divide(true),
  XADD: exchangeAdd,
} satisfies Record<string, Semantics>;
