import type { Emit, GprOperand, IntegerSize, OperandOf, XmmOperand } from '../emit.ts';
import type { Insn, Operand } from '../insn.ts';

/** What an instruction does, written once for every engine. Static decisions on `insn` only as cpu/form.ts allows. */
export type Semantics = <V, C>(e: Emit<V, C>, insn: Insn) => void;

/** Operand size of an integer instruction. */
export const width = (insn: Insn): IntegerSize => insn.size as IntegerSize;

/** Size of the source where it differs from the destination's. */
export const sourceWidth = (insn: Insn): IntegerSize =>
  (insn.sourceSize ?? insn.size) as IntegerSize;

const misplaced = (insn: Insn, i: number): never => {
  throw new TypeError(`${insn.op}: operand ${i} is ${insn.operands[i]?.kind ?? 'missing'}`);
};

/** Operand `i`, which is of this kind. */
export function operand<K extends Operand['kind']>(insn: Insn, i: number, kind: K): OperandOf<K> {
  const it = insn.operands[i];
  return it?.kind === kind ? (it as OperandOf<K>) : misplaced(insn, i);
}

export const gpr = (insn: Insn, i: number): GprOperand => operand(insn, i, 'gpr');
export const xmm = (insn: Insn, i: number): XmmOperand => operand(insn, i, 'xmm');

/** The value of operand `i`: register, immediate or memory. */
export function read<V, C>(e: Emit<V, C>, insn: Insn, i: number, size = width(insn)): V {
  const it = insn.operands[i];
  if (it?.kind === 'gpr') return e.reg(size, it);
  if (it?.kind === 'imm') return e.imm(size, it);
  if (it?.kind === 'mem') return e.load(size, it.segment, e.address(it));
  return misplaced(insn, i);
}

/** Writes operand `i`, register or memory. */
export function write<V, C>(
  e: Emit<V, C>,
  insn: Insn,
  i: number,
  value: V,
  size = width(insn),
): void {
  const it = insn.operands[i];
  if (it?.kind === 'gpr') e.setReg(size, it, value);
  else if (it?.kind === 'mem') e.store(size, it.segment, e.address(it), value);
  else misplaced(insn, i);
}

/** The first operand's value, which is then written by `writeBack`; memory faults as a write from the start. */
export function readForWrite<V, C>(e: Emit<V, C>, insn: Insn, size = width(insn)): V {
  const it = insn.operands[0];
  if (it?.kind === 'mem') return e.loadForWrite(size, it.segment, e.address(it));
  return read(e, insn, 0, size);
}

/**
 * Writes the first operand after `readForWrite`. Other registers are written by `others`, in the order in which memory
 * comes before every register, and the first operand wins over an implied register of the same number.
 */
export function writeBack<V, C>(
  e: Emit<V, C>,
  insn: Insn,
  value: V,
  others?: () => void,
  size = width(insn),
): void {
  const it = insn.operands[0];
  if (it?.kind === 'mem') {
    e.storeBack(size, value);
    others?.();
  } else {
    others?.();
    e.setReg(size, gpr(insn, 0), value);
  }
}

/** The top bit of a value, 1 or 0. */
export const signBit = <V, C>(e: Emit<V, C>, size: IntegerSize, value: V): V =>
  e.shift('shr', size, value, e.const(1, size * 8 - 1));

/** Whether all bits of the constant `mask` that are set in `value` are not just zero. */
export const anyBit = <V, C>(e: Emit<V, C>, size: IntegerSize, value: V, mask: number): C =>
  e.not(e.isZero(size, e.bin('and', size, value, e.const(size, mask))));
