import type { Exception } from './fault.ts';
import type { Memory, Operand } from './insn.ts';
import type { SegmentName } from './state/layout.ts';

/** Bytes of a value: integers of 1 to 8, vectors of 16. */
export type ValueSize = 1 | 2 | 4 | 8 | 16;
/** Sizes of general registers. */
export type IntegerSize = 1 | 2 | 4 | 8;

/** Operands of one kind. */
export type OperandOf<K extends Operand['kind']> = Operand & { readonly kind: K };
export type GprOperand = OperandOf<'gpr'>;
export type ImmOperand = OperandOf<'imm'>;
export type RelOperand = OperandOf<'rel'>;
export type XmmOperand = OperandOf<'xmm'>;
export type MmOperand = OperandOf<'mm'>;
export type SegOperand = OperandOf<'seg'>;

/** General register numbers that instructions imply. */
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** Condition codes as Jcc encodes them; odd ones negate. Vol. 1, "Condition Codes". */
// biome-ignore format: a table
export const CC = {
  O: 0, NO: 1, B: 2, AE: 3, E: 4, NE: 5, BE: 6, A: 7, S: 8, NS: 9, P: 10, NP: 11, L: 12, GE: 13, LE: 14, G: 15,
} as const;

export type BinaryOp = 'add' | 'sub' | 'and' | 'or' | 'xor' | 'mul';
export type ShiftOp = 'shl' | 'shr' | 'sar' | 'rol' | 'ror';
export type CountOp = 'popcnt' | 'lzcnt' | 'tzcnt';

/**
 * What last set the status flags (cpu/flags.ts):
 * ADD, SUB of x and y, with a carry (borrow) coming in; LOGIC, INC, DEC that gave x, where INC and DEC keep a carry;
 * RESULT: ZF, SF, PF follow x, the others stand in y; RAW: all six stand in x. Both in their RFLAGS positions.
 */
export type FlagKind = 'ADD' | 'SUB' | 'LOGIC' | 'INC' | 'DEC' | 'RESULT' | 'RAW';

/** An operand handed to plain TypeScript. */
export interface Argument<V> {
  readonly size: ValueSize;
  readonly value: V;
}

/**
 * The abstract emitter: instruction semantics are written once against it, each engine supplies a backend.
 * `V` is a value, `C` a condition; both are opaque, no JavaScript decision may depend on one.
 *
 * - A value has a size and is canonical, that is zero-extended. A smaller one may stand where a larger is wanted;
 *   the other way needs `low`.
 * - Whatever is no part of the form (cpu/form.ts) is obtained from here as a value: registers, immediates,
 *   displacements, RIP. A register argument is either the operand that names it or the number the mnemonic implies.
 * - Commit rule: all *trap* methods precede the first *write* method of an instruction (of an iteration, in `repeat`),
 *   so every fault finds the state as it was. `checked` (cpu/commit-rule.ts) verifies it.
 * - Methods take effect in the order of the calls; `reg`, `cond` and the other reads see what was written before.
 */
export interface Emit<V, C> {
  // ---- static facts of the mode, part of every form
  /** Bytes of the stack pointer in use: SS.B, 8 in 64-bit mode. */
  readonly stackSize: 2 | 4 | 8;
  readonly virtual8086: boolean;

  // ---- values
  /** A constant of the semantics, modulo 2^(8·size). */
  const(size: ValueSize, value: number | bigint): V;
  /** The low `size` bytes of an immediate operand. */
  imm(size: IntegerSize, operand: ImmOperand): V;
  /** RIP of the following instruction; 32 bits of it outside 64-bit mode, in 16-bit code too. */
  next(): V;
  /** Where a relative branch goes, truncated to the operand size; 8 bytes. */
  relative(operand: RelOperand): V;
  /** Effective address: offset in the segment, truncated to the address size. */
  address(operand: Memory): V;

  bin(op: BinaryOp, size: IntegerSize, a: V, b: V): V;
  /**
   * `count` is below 32, below 64 where size is 8; narrow values may be shifted out altogether.
   * Rotates want `count` below the width.
   */
  shift(op: ShiftOp, size: IntegerSize, a: V, count: V): V;
  /** Population count; leading, trailing zeros (the width for 0). */
  count(op: CountOp, size: IntegerSize, a: V): V;
  /** The high half of the product. */
  mulHigh(size: IntegerSize, signed: boolean, a: V, b: V): V;
  /** high:low ÷ divisor, which is not 0 (trap before); `fits` is false where the quotient overflows. */
  divide(
    size: IntegerSize,
    signed: boolean,
    high: V,
    low: V,
    divisor: V,
  ): { readonly quotient: V; readonly remainder: V; readonly fits: C };
  byteSwap(size: 2 | 4 | 8, a: V): V;
  signExtend(from: IntegerSize, to: IntegerSize, a: V): V;
  /** The low `size` bytes of a larger value. */
  low(size: IntegerSize, a: V): V;
  /** Bytes 15:8 of a vector. */
  high64(a: V): V;
  /** A vector of two 8-byte halves. */
  join(high: V, low: V): V;
  select(size: ValueSize, c: C, a: V, b: V): V;
  /** 1 or 0. */
  truth(c: C): V;

  // ---- conditions
  isZero(size: IntegerSize, a: V): C;
  equal(size: IntegerSize, a: V, b: V): C;
  /** Unsigned. */
  below(size: IntegerSize, a: V, b: V): C;
  /** Signed. */
  less(size: IntegerSize, a: V, b: V): C;
  not(c: C): C;
  both(a: C, b: C): C;
  either(a: C, b: C): C;

  // ---- registers: reads
  reg(size: IntegerSize, register: GprOperand | number): V;
  /** The low `size` bytes. */
  xmm(size: ValueSize, register: XmmOperand | number): V;
  mm(register: MmOperand): V;
  selector(segment: SegOperand): V;
  /** A field of the state block by its offset in `STATE`. */
  field(size: IntegerSize, offset: number): V;
  /** A condition code of `CC` on the status flags. */
  cond(code: number): C;
  /** The six status flags in their RFLAGS positions; 4 bytes. */
  statusFlags(): V;

  // ---- traps: may end the instruction with nothing changed
  /** `aligned`: #GP(0) unless the address is a multiple of the size. */
  load(size: ValueSize, segment: SegmentName, offset: V, aligned?: boolean): V;
  store(size: ValueSize, segment: SegmentName, offset: V, value: V, aligned?: boolean): void;
  /** First half of a read-modify-write: loads, faulting as a write. At most one per instruction. */
  loadForWrite(size: ValueSize, segment: SegmentName, offset: V, aligned?: boolean): V;
  /** Second half: stores to the place of `loadForWrite`; does not fault. */
  storeBack(size: ValueSize, value: V): void;
  /** Faults as a write of so many bytes would; before the first of several stores. */
  probe(bytes: number, segment: SegmentName, offset: V): void;
  trapIf(c: C, exception: Exception, code?: number): void;
  /** #GP(0) where (if `taken`) the target is not canonical or outside the code segment. */
  checkTarget(target: V, taken?: C): void;
  /**
   * A plain TypeScript function on arguments (cpu/assist.ts), which changes no state but may throw a fault.
   * Returns values of the given sizes.
   */
  assist(name: string, results: readonly ValueSize[], args: readonly Argument<V>[]): V[];
  /** A lane-wise function of two vectors and an immediate; never faults. May be an instruction of the host's SIMD. */
  vector(name: string, a: V, b: V, imm?: V): V;

  // ---- writes
  /** x86 merge rules: 4 bytes zero-extend to 8, 1 and 2 keep the rest. */
  setReg(size: IntegerSize, register: GprOperand | number, value: V): void;
  /** Sizes below 16 keep the upper bytes. */
  setXmm(size: ValueSize, register: XmmOperand | number, value: V): void;
  /** Also sets bits 79:64 of the x87 register, as MMX does. */
  setMm(register: MmOperand, value: V): void;
  setField(size: IntegerSize, offset: number, value: V): void;
  /** `carry` is what came in (ADD, SUB) or stays (INC, DEC); false when left out. */
  flags(kind: FlagKind, size: IntegerSize, x: V, y?: V, carry?: C): void;
  /** The same where `c` holds, otherwise the flags stay. */
  flagsIf(c: C, kind: FlagKind, size: IntegerSize, x: V, y?: V): void;
  /** As `assist`, but may change state once nothing can throw any more: trap and write in one. */
  effect(name: string, args: readonly Argument<V>[]): void;

  // ---- control: last in the instruction
  /** Direct near branch, conditional with `taken`. What it counts as: cpu/retirement.ts. */
  jump(operand: RelOperand, taken?: C): void;
  /** Indirect near branch. */
  jumpTo(target: V): void;
  /**
   * Whole body of a REP instruction. While rCX (of `addressSize`) is not 0: one iteration of `body`, rCX is decremented,
   * and unless it is 0 or `again` says no, the next. Interruptible between iterations, RIP unchanged;
   * an iteration that is not the last is a tick and a `repIterations`, the last (or rCX = 0) retires the instruction.
   * A backend may call `body` once and make a loop of it.
   */
  repeat(addressSize: 2 | 4 | 8, body: () => void, again?: () => C): void;
  /** Leaves to the instruction's function in cpu/system, with RIP still on this instruction; ends a block. */
  system(): void;
}
