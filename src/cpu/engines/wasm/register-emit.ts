import type {
  GprOperand,
  IntegerSize,
  MmOperand,
  SegOperand,
  ValueSize,
  XmmOperand,
} from '../../emit.ts';
import type { Insn, Operand } from '../../insn.ts';
import { SEGMENT, STATE } from '../../state/layout.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import type { MemoryOpcode } from './assembler/opcodes.ts';
import { RECORD } from './record.ts';
import type { RuntimeIndices } from './runtime-functions.ts';
import { push, push64, type Value } from './value.ts';
import { ValueEmit } from './value-emit.ts';

/** Zero-extending loads and narrowing stores by size. */
// biome-ignore format: a table
export const LOAD: Readonly<Record<ValueSize, MemoryOpcode>> = {
  1: 'i32.load8_u', 2: 'i32.load16_u', 4: 'i32.load', 8: 'i64.load', 16: 'v128.load',
};
// biome-ignore format: a table
export const STORE: Readonly<Record<ValueSize, MemoryOpcode>> = {
  1: 'i32.store8', 2: 'i32.store16', 4: 'i32.store', 8: 'i64.store', 16: 'v128.store',
};

export const XMM_STRIDE = 32;
export const ST_STRIDE = 16;

/** Parameters of every handler: the record, ticks left, and the status flags as `FLAG_KIND`, `FLAG_X`, `FLAG_Y`. */
export const PARAMETER = { RECORD: 0, FUEL: 1, KIND: 2, X: 3, Y: 4 } as const;

/**
 * Registers of the emitter. A register that is an operand is no part of the form: its offset from the state block
 * stands in the instruction's record. What the mnemonic implies is a constant.
 */
export class RegisterEmit extends ValueEmit {
  protected readonly base: number;
  /** The instruction being written, and where its record is from the handler's record on. */
  protected insn!: Insn;
  protected offset = 0;

  /** @param base offset of the state block in linear memory */
  constructor(f: FunctionWriter, runtime: RuntimeIndices, base: number) {
    super(f, runtime);
    this.base = base;
  }

  reg(size: IntegerSize, register: GprOperand | number): Value {
    return this.#read(size, this.#gpr(register));
  }

  setReg(size: IntegerSize, register: GprOperand | number, value: Value): void {
    const at = this.#gpr(register);
    if (size >= 4) {
      push64(this.f, size === 4 ? this.low(4, value) : value);
      this.f.memory('i64.store', at);
    } else this.#write(size, at, value);
  }

  xmm(size: ValueSize, register: XmmOperand | number): Value {
    return this.#read(size, this.#register(register, STATE.XMM, XMM_STRIDE));
  }

  setXmm(size: ValueSize, register: XmmOperand | number, value: Value): void {
    this.#write(size, this.#register(register, STATE.XMM, XMM_STRIDE), value);
  }

  mm(register: MmOperand): Value {
    return this.#read(8, this.#register(register, STATE.ST, ST_STRIDE));
  }

  setMm(register: MmOperand, value: Value): void {
    this.#write(8, this.#register(register, STATE.ST, ST_STRIDE), value);
    this.#write(2, this.#register(register, STATE.ST, ST_STRIDE) + 8, this.const(2, 0xffff));
  }

  selector(segment: SegOperand): Value {
    return this.#read(2, this.#register(segment, STATE.SEGMENT, SEGMENT.SIZE) + SEGMENT.SELECTOR);
  }

  field(size: IntegerSize, offset: number): Value {
    this.f.i32(0);
    return this.#read(size, this.base + offset);
  }

  setField(size: IntegerSize, offset: number, value: Value): void {
    this.f.i32(0);
    this.#write(size, this.base + offset, value);
  }

  /** Position of an operand, and so of its record field. */
  protected position(operand: Operand): number {
    return this.insn.operands.indexOf(operand);
  }

  #gpr(register: GprOperand | number): number {
    return this.#register(register, STATE.GPR, 8);
  }

  /** Puts a register's place on the stack and returns the offset that goes with it. */
  #register(register: Operand | number, file: number, stride: number): number {
    if (typeof register === 'number') {
      this.f.i32(register * stride);
      return this.base + file;
    }
    this.f.get(PARAMETER.RECORD);
    this.f.memory('i32.load16_u', this.offset + RECORD.OPERAND + 2 * this.position(register));
    return this.base;
  }

  #read(size: ValueSize, at: number): Value {
    this.f.memory(LOAD[size], at);
    return this.take(size);
  }

  #write(size: ValueSize, at: number, value: Value): void {
    push(this.f, size, value);
    this.f.memory(STORE[size], at);
  }
}
