import type { BinaryOp, CountOp, Emit, IntegerSize } from '../emit.ts';
import type { Insn } from '../insn.ts';
import { gpr, operand, read, type Semantics, width, write, writeBack } from './operand.ts';

/** CF of `carry`, 0 or 1; the other flags stay. */
export const setCarry = <V, C>(e: Emit<V, C>, carry: V): void =>
  e.flags('RAW', 4, e.bin('or', 4, e.bin('and', 4, e.statusFlags(), e.const(4, 0x8d4)), carry));

/** Where a bit string begins that a register indexes: the operand that holds the bit. */
function bitAddress<V, C>(e: Emit<V, C>, insn: Insn): V {
  const n = width(insn);
  const address = e.address(operand(insn, 0, 'mem'));
  if (insn.operands[1]?.kind === 'imm') return address;
  const index = e.signExtend(n, 8, read(e, insn, 1));
  const element = e.shift('sar', 8, index, e.const(1, Math.log2(n * 8)));
  const bytes = e.shift('shl', 8, element, e.const(1, Math.log2(n)));
  return e.bin('add', insn.addressSize, address, e.low(insn.addressSize, bytes));
}

/** BT, and BTS, BTR, BTC which then change the bit. */
const bitTest =
  (change?: <V, C>(e: Emit<V, C>, n: IntegerSize, a: V, bit: V) => V): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const place = e.bin('and', 1, e.low(1, read(e, insn, 1)), e.const(1, n * 8 - 1));
    const bit = e.shift('shl', n, e.const(n, 1), place);
    const memory = insn.operands[0]?.kind === 'mem' ? operand(insn, 0, 'mem') : undefined;
    const load = change ? e.loadForWrite : e.load;
    const a = memory
      ? load.call(e, n, memory.segment, bitAddress(e, insn))
      : e.reg(n, gpr(insn, 0));
    if (change) writeBack(e, insn, change(e, n, a, bit));
    setCarry(e, e.truth(e.not(e.isZero(n, e.bin('and', n, a, bit)))));
  };

const change =
  (op: BinaryOp) =>
  <V, C>(e: Emit<V, C>, n: IntegerSize, a: V, bit: V): V =>
    e.bin(op, n, a, bit);

/** A source of 0 sets ZF and leaves the destination alone; the other flags are undefined. */
const scan =
  (direction: 'forward' | 'reverse'): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const source = read(e, insn, 1);
    const none = e.isZero(n, source);
    const index =
      direction === 'forward'
        ? e.count('tzcnt', n, source)
        : e.bin('sub', n, e.const(n, n * 8 - 1), e.count('lzcnt', n, source));
    const old = e.reg(8, gpr(insn, 0));
    if (n < 4) e.setReg(n, gpr(insn, 0), e.select(n, none, e.low(n, old), index));
    else e.setReg(8, gpr(insn, 0), e.select(8, none, old, index));
    e.flags('LOGIC', n, source);
  };

/** TZCNT, LZCNT: CF for a source of 0. */
const countZeros =
  (op: CountOp): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const source = read(e, insn, 1);
    const result = e.count(op, n, source);
    write(e, insn, 0, result);
    e.flags('RESULT', n, result, e.truth(e.isZero(n, source)));
  };

/** ZF for a source of 0; the other flags are cleared. */
const countOnes: Semantics = (e, insn) => {
  const n = width(insn);
  const source = read(e, insn, 1);
  write(e, insn, 0, e.count('popcnt', n, source));
  e.flags('RAW', 4, e.select(4, e.isZero(n, source), e.const(4, 0x40), e.const(4, 0)));
};

// biome-ignore format: a table
export const BIT = {
  BT: bitTest(),           BTS: bitTest(change('or')),  BTC: bitTest(change('xor')),
  BTR: bitTest((e, n, a, bit) => e.bin('and', n, a, e.bin('xor', n, bit, e.const(n, -1)))),
  BSF: scan('forward'),    BSR: scan('reverse'),
  TZCNT: countZeros('tzcnt'),  LZCNT: countZeros('lzcnt'),  POPCNT: countOnes,
} satisfies Record<string, Semantics>;
