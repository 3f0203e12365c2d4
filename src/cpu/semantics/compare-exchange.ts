import { type Emit, type GprOperand, type IntegerSize, RAX, RBX, RCX, RDX } from '../emit.ts';
import { gpr, operand, read, readForWrite, type Semantics, width } from './operand.ts';

/** Memory is written in any case, a register only where it is changed. */
const compareExchange: Semantics = (e, insn) => {
  const n = width(insn);
  const expected = e.reg(n, RAX);
  const b = read(e, insn, 1);
  const a = readForWrite(e, insn);
  const equal = e.equal(n, expected, a);
  if (insn.operands[0]?.kind === 'mem') e.storeBack(n, e.select(n, equal, b, a));
  setUnless(e, equal, RAX, n, a);
  if (insn.operands[0]?.kind === 'gpr') setUnless(e, e.not(equal), gpr(insn, 0), n, b);
  e.flags('SUB', n, expected, a);
};

/** Writes a register, all of it kept where `c` holds. */
function setUnless<V, C>(
  e: Emit<V, C>,
  c: C,
  register: GprOperand | number,
  n: IntegerSize,
  value: V,
): void {
  if (n < 4) e.setReg(n, register, e.select(n, c, e.reg(n, register), value));
  else e.setReg(8, register, e.select(8, c, e.reg(8, register), value));
}

/** Only ZF changes. */
const setZero = <V, C>(e: Emit<V, C>, c: C): void => {
  const others = e.bin('and', 4, e.statusFlags(), e.const(4, 0x895));
  e.flags('RAW', 4, e.bin('or', 4, others, e.select(4, c, e.const(4, 0x40), e.const(4, 0))));
};

const compareExchange8: Semantics = (e, insn) => {
  const memory = operand(insn, 0, 'mem');
  const pair = (high: number, low: number) =>
    e.bin('or', 8, e.shift('shl', 8, e.reg(4, high), e.const(1, 32)), e.reg(4, low));
  const old = e.loadForWrite(8, memory.segment, e.address(memory));
  const equal = e.equal(8, old, pair(RDX, RAX));
  e.storeBack(8, e.select(8, equal, pair(RCX, RBX), old));
  setUnless(e, equal, RAX, 4, e.low(4, old));
  setUnless(e, equal, RDX, 4, e.shift('shr', 8, old, e.const(1, 32)));
  setZero(e, equal);
};

/** The operand must be aligned. */
const compareExchange16: Semantics = (e, insn) => {
  const memory = operand(insn, 0, 'mem');
  const old = e.loadForWrite(16, memory.segment, e.address(memory), true);
  const low = e.low(8, old);
  const high = e.high64(old);
  const equal = e.both(e.equal(8, low, e.reg(8, RAX)), e.equal(8, high, e.reg(8, RDX)));
  e.storeBack(16, e.select(16, equal, e.join(e.reg(8, RCX), e.reg(8, RBX)), old));
  setUnless(e, equal, RAX, 8, low);
  setUnless(e, equal, RDX, 8, high);
  setZero(e, equal);
};

// biome-ignore format: a table
export const COMPARE_EXCHANGE = {
  CMPXCHG: compareExchange,  CMPXCHG8B: compareExchange8,  CMPXCHG16B: compareExchange16,
} satisfies Record<string, Semantics>;
