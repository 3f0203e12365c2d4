import { MASK32, MASK64, SIZE_MASK, signed } from '../../../bits/u64.ts';
import { slot } from '../../assist.ts';
import { ASSISTS } from '../../assists/assists.ts';
import { CR0, RFLAGS } from '../../control-registers.ts';
import {
  type Argument,
  type BinaryOp,
  type CountOp,
  type Emit,
  type FlagKind,
  type GprOperand,
  type ImmOperand,
  type IntegerSize,
  type MmOperand,
  RCX,
  type RelOperand,
  type SegOperand,
  type ShiftOp,
  type ValueSize,
  type XmmOperand,
} from '../../emit.ts';
import { type Exception, Fault } from '../../fault.ts';
import { FLAG_CARRY, flagKind, holds, readStatusFlags } from '../../flags.ts';
import type { Insn, Memory } from '../../insn.ts';
import type { MemoryAccess } from '../../ports.ts';
import { SEGMENTS, type SegmentName, STATE } from '../../state/layout.ts';
import type { Core } from '../../system/core.ts';
import { is64Bit, isVirtual8086, stackSize } from '../../system/mode.ts';

const AM = CR0.AM;
const AC = RFLAGS.AC;

const BINARY: Readonly<Record<BinaryOp, (a: bigint, b: bigint) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  mul: (a, b) => a * b,
};

const SHIFT: Readonly<Record<ShiftOp, (size: number, a: bigint, count: bigint) => bigint>> = {
  shl: (_, a, count) => a << count,
  shr: (_, a, count) => a >> count,
  sar: (size, a, count) => signed(size * 8, a) >> count,
  rol: (size, a, count) => (a << count) | (a >> (BigInt(size * 8) - count)),
  ror: (size, a, count) => (a >> count) | (a << (BigInt(size * 8) - count)),
};

const COUNT: Readonly<Record<CountOp, (bits: string) => number>> = {
  popcnt: (bits) => bits.replaceAll('0', '').length,
  lzcnt: (bits) => (bits.includes('1') ? bits.indexOf('1') : bits.length),
  tzcnt: (bits) => (bits.includes('1') ? bits.length - 1 - bits.lastIndexOf('1') : bits.length),
};

/** Executes while it is told: values are BigInts, conditions booleans, the state is the CPU's. */
export class OracleEmit implements Emit<bigint, boolean> {
  readonly #core: Core;
  readonly #registers: BigUint64Array;
  #insn!: Insn;
  /** RIP of the instruction under way. */
  #rip = 0n;
  #writePlace = 0n;

  /** What the instruction under way did. */
  outcome: 'next' | 'jumped' | 'repeats' | 'system' = 'next';
  taken = false;
  loaded = false;
  stored = false;
  /** Whether a load or store lay in two cache lines. */
  splitLoad = false;
  splitStore = false;

  constructor(core: Core) {
    this.#core = core;
    this.#registers = core.state.gpr;
  }

  begin(insn: Insn, rip: bigint): void {
    this.#insn = insn;
    this.#rip = rip;
    this.outcome = 'next';
    this.taken = this.loaded = this.stored = this.splitLoad = this.splitStore = false;
  }

  get stackSize(): 2 | 4 | 8 {
    return stackSize(this.#core.state);
  }

  get virtual8086(): boolean {
    return isVirtual8086(this.#core.state);
  }

  // ---- values

  const(size: ValueSize, value: number | bigint): bigint {
    return BigInt(value) & SIZE_MASK[size]!;
  }

  imm(size: IntegerSize, operand: ImmOperand): bigint {
    return operand.value & SIZE_MASK[size]!;
  }

  next(): bigint {
    const mask = this.#insn.codeSize === 8 ? MASK64 : MASK32;
    return (this.#rip + BigInt(this.#insn.length)) & mask;
  }

  relative({ displacement }: RelOperand): bigint {
    return (this.#rip + BigInt(this.#insn.length) + displacement) & SIZE_MASK[this.#insn.size]!;
  }

  address(operand: Memory): bigint {
    let sum = operand.disp;
    if (operand.base === 16) sum += this.next();
    else if (operand.base >= 0) sum += this.#registers[operand.base]!;
    if (operand.index >= 0) sum += this.#registers[operand.index]! << BigInt(operand.scale);
    return sum & SIZE_MASK[this.#insn.addressSize]!;
  }

  bin(op: BinaryOp, size: IntegerSize, a: bigint, b: bigint): bigint {
    return BINARY[op](a, b) & SIZE_MASK[size]!;
  }

  shift(op: ShiftOp, size: IntegerSize, a: bigint, count: bigint): bigint {
    return SHIFT[op](size, a, count & 63n) & SIZE_MASK[size]!;
  }

  count(op: CountOp, size: IntegerSize, a: bigint): bigint {
    return BigInt(COUNT[op](a.toString(2).padStart(size * 8, '0')));
  }

  mulHigh(size: IntegerSize, isSigned: boolean, a: bigint, b: bigint): bigint {
    const n = size * 8;
    const product = isSigned ? signed(n, a) * signed(n, b) : a * b;
    return (product >> BigInt(n)) & SIZE_MASK[size]!;
  }

  divide(size: IntegerSize, isSigned: boolean, high: bigint, low: bigint, divisor: bigint) {
    const n = size * 8;
    const mask = SIZE_MASK[size]!;
    const whole = (high << BigInt(n)) | low;
    const dividend = isSigned ? signed(2 * n, whole) : whole;
    const by = isSigned ? signed(n, divisor) : divisor;
    const quotient = dividend / by;
    const fits = (isSigned ? signed(n, quotient) : quotient & mask) === quotient;
    return { quotient: quotient & mask, remainder: (dividend % by) & mask, fits };
  }

  byteSwap(size: 2 | 4 | 8, a: bigint): bigint {
    let swapped = 0n;
    for (let i = 0; i < size; i++) swapped = (swapped << 8n) | ((a >> BigInt(i * 8)) & 0xffn);
    return swapped;
  }

  signExtend(from: IntegerSize, to: IntegerSize, a: bigint): bigint {
    return signed(from * 8, a) & SIZE_MASK[to]!;
  }

  low(size: IntegerSize, a: bigint): bigint {
    return a & SIZE_MASK[size]!;
  }

  high64(a: bigint): bigint {
    return a >> 64n;
  }

  join(high: bigint, low: bigint): bigint {
    return (high << 64n) | low;
  }

  select(_size: ValueSize, c: boolean, a: bigint, b: bigint): bigint {
    return c ? a : b;
  }

  truth(c: boolean): bigint {
    return c ? 1n : 0n;
  }

  // ---- conditions

  isZero(_size: IntegerSize, a: bigint): boolean {
    return a === 0n;
  }

  equal(_size: IntegerSize, a: bigint, b: bigint): boolean {
    return a === b;
  }

  below(_size: IntegerSize, a: bigint, b: bigint): boolean {
    return a < b;
  }

  less(size: IntegerSize, a: bigint, b: bigint): boolean {
    return signed(size * 8, a) < signed(size * 8, b);
  }

  not(c: boolean): boolean {
    return !c;
  }

  both(a: boolean, b: boolean): boolean {
    return a && b;
  }

  either(a: boolean, b: boolean): boolean {
    return a || b;
  }

  // ---- registers

  reg(size: IntegerSize, register: GprOperand | number): bigint {
    if (typeof register === 'number') return this.#registers[register]! & SIZE_MASK[size]!;
    const value = this.#registers[register.index]!;
    return (register.high ? value >> 8n : value) & SIZE_MASK[size]!;
  }

  setReg(size: IntegerSize, register: GprOperand | number, value: bigint): void {
    const { index, high } =
      typeof register === 'number' ? { index: register, high: false } : register;
    const mask = SIZE_MASK[size]!;
    const place = high ? 8n : 0n;
    const kept = size >= 4 ? 0n : this.#registers[index]! & ~(mask << place);
    this.#registers[index] = kept | (value << place);
  }

  xmm(size: ValueSize, register: XmmOperand | number): bigint {
    return this.#vector(this.#xmmOffset(register)) & SIZE_MASK[size]!;
  }

  setXmm(size: ValueSize, register: XmmOperand | number, value: bigint): void {
    const offset = this.#xmmOffset(register);
    const kept = this.#vector(offset) & ~SIZE_MASK[size]!;
    this.#setVector(offset, kept | value);
  }

  mm({ index }: MmOperand): bigint {
    return this.#core.state.get(STATE.ST + 16 * index);
  }

  setMm({ index }: MmOperand, value: bigint): void {
    this.#core.state.set(STATE.ST + 16 * index, value);
    this.setField(2, STATE.ST + 16 * index + 8, 0xffffn);
  }

  selector({ index }: SegOperand): bigint {
    return BigInt(this.#core.state.segment(SEGMENTS[index]!).selector);
  }

  field(size: IntegerSize, offset: number): bigint {
    return this.#core.state.get(offset) & SIZE_MASK[size]!;
  }

  setField(size: IntegerSize, offset: number, value: bigint): void {
    const { state } = this.#core;
    state.set(offset, (state.get(offset) & ~SIZE_MASK[size]!) | value);
  }

  #xmmOffset(register: XmmOperand | number): number {
    return STATE.XMM + 32 * (typeof register === 'number' ? register : register.index);
  }

  #vector(offset: number): bigint {
    const { state } = this.#core;
    return state.get(offset) | (state.get(offset + 8) << 64n);
  }

  #setVector(offset: number, value: bigint): void {
    const { state } = this.#core;
    state.set(offset, value & MASK64);
    state.set(offset + 8, value >> 64n);
  }

  // ---- flags

  cond(code: number): boolean {
    return holds(code, readStatusFlags(this.#core.state));
  }

  statusFlags(): bigint {
    return readStatusFlags(this.#core.state);
  }

  flags(kind: FlagKind, size: IntegerSize, x: bigint, y = 0n, carry = false): void {
    const { state } = this.#core;
    state.set32(STATE.FLAG_KIND, flagKind(kind, size) | (carry ? FLAG_CARRY : 0));
    state.set(STATE.FLAG_X, x);
    state.set(STATE.FLAG_Y, y);
  }

  flagsIf(c: boolean, kind: FlagKind, size: IntegerSize, x: bigint, y = 0n): void {
    if (c) this.flags(kind, size, x, y);
  }

  // ---- memory

  load(size: ValueSize, segment: SegmentName, offset: bigint, aligned = false): bigint {
    const linear = this.#linear(size, segment, offset, 'read', aligned);
    const value = this.#core.memory.read(linear, size, this.#core.privilege);
    this.#accessed('load', linear, size);
    return value;
  }

  store(
    size: ValueSize,
    segment: SegmentName,
    offset: bigint,
    value: bigint,
    aligned = false,
  ): void {
    const linear = this.#linear(size, segment, offset, 'write', aligned);
    this.#core.memory.write(linear, size, value & SIZE_MASK[size]!, this.#core.privilege);
    this.#accessed('store', linear, size);
  }

  loadForWrite(size: ValueSize, segment: SegmentName, offset: bigint, aligned = false): bigint {
    const linear = this.#linear(size, segment, offset, 'write', aligned);
    this.#writePlace = linear;
    this.#core.memory.probe(linear, size, this.#core.privilege);
    const value = this.#core.memory.read(linear, size, this.#core.privilege);
    this.#accessed('load', linear, size);
    return value;
  }

  storeBack(size: ValueSize, value: bigint): void {
    this.#core.memory.write(this.#writePlace, size, value, this.#core.privilege);
    this.#accessed('store', this.#writePlace, size);
  }

  probe(bytes: number, segment: SegmentName, offset: bigint): void {
    const linear = this.#core.linear(segment, offset, bytes, 'write');
    if (bytes === 2 || bytes === 4 || bytes === 8) this.#align(bytes, linear, false);
    this.#core.memory.probe(linear, bytes, this.#core.privilege);
  }

  /** An access that went well: what it counts as, and who hears of it. */
  #accessed(access: 'load' | 'store', linear: bigint, size: number): void {
    const split = Number(linear & 63n) + size > 64;
    if (access === 'load') {
      this.loaded = true;
      this.splitLoad ||= split;
    } else {
      this.stored = true;
      this.splitStore ||= split;
    }
    this.#core.observer?.accessed?.(access, linear, size);
  }

  /** Segmentation, the alignment that an instruction demands, and alignment checking. */
  #linear(
    size: ValueSize,
    segment: SegmentName,
    offset: bigint,
    access: MemoryAccess,
    aligned: boolean,
  ): bigint {
    // In 64-bit mode the alignment that an instruction demands comes first, alignment checking before the second page.
    if (is64Bit(this.#core.state)) {
      const { state } = this.#core;
      const base = segment === 'FS' || segment === 'GS' ? state.segment(segment).base : 0n;
      const first = (base + offset) & MASK64;
      if (aligned || this.#core.isCanonical(first)) this.#align(size, first, aligned);
      return this.#core.linear(segment, offset, size, access);
    }
    const linear = this.#core.linear(segment, offset, size, access);
    this.#align(size, linear, aligned);
    return linear;
  }

  #align(size: ValueSize, linear: bigint, aligned: boolean): void {
    if ((linear & BigInt(size - 1)) === 0n) return;
    if (aligned) throw new Fault('#GP', 0);
    if (size < 16 && this.#alignmentChecked()) throw new Fault('#AC', 0);
  }

  #alignmentChecked(): boolean {
    const { state } = this.#core;
    return (
      state.cpl === 3 &&
      (state.get(STATE.RFLAGS_SYSTEM) & AC) !== 0n &&
      (state.get(STATE.CR0) & AM) !== 0n
    );
  }

  // ---- traps and plain TypeScript

  trapIf(c: boolean, exception: Exception, code?: number): void {
    if (c) throw new Fault(exception, code);
  }

  checkTarget(target: bigint, taken = true): void {
    if (!taken) return;
    const outside = is64Bit(this.#core.state)
      ? !this.#core.isCanonical(target)
      : target > BigInt(this.#core.state.segment('CS').limit);
    if (outside) throw new Fault('#GP', 0);
  }

  assist(name: string, results: readonly ValueSize[], args: readonly Argument<bigint>[]): bigint[] {
    for (const [i, { value }] of args.entries()) this.#setVector(slot(i), value);
    const run = ASSISTS[name];
    if (!run) throw new TypeError(`no assist ${name}`);
    run(this.#core.state);
    return results.map((size, i) => this.#vector(slot(i)) & SIZE_MASK[size]!);
  }

  effect(name: string, args: readonly Argument<bigint>[]): void {
    this.assist(name, [], args);
  }

  vector(name: string, a: bigint, b: bigint, imm = 0n): bigint {
    const args = [
      { size: 16, value: a },
      { size: 16, value: b },
      { size: 1, value: imm },
    ] as const;
    return this.assist(name, [16], args)[0]!;
  }

  // ---- control

  jump(operand: RelOperand, taken = true): void {
    if (taken) this.jumpTo(this.relative(operand));
  }

  jumpTo(target: bigint): void {
    this.#core.state.rip = target;
    this.outcome = 'jumped';
    this.taken = true;
  }

  repeat(addressSize: 2 | 4 | 8, body: () => void, again?: () => boolean): void {
    const count = this.reg(addressSize, RCX);
    if (count === 0n) return;
    body();
    this.setReg(addressSize, RCX, count - 1n);
    if (count !== 1n && (again === undefined || again())) this.outcome = 'repeats';
  }

  system(): void {
    this.outcome = 'system';
  }
}
