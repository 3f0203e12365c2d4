import type { ValueSize } from '../../emit.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import type { Type } from './assembler/opcodes.ts';

/** What an instruction works on while its handler is written: a local of the handler, or a constant. */
export interface Value {
  readonly size: ValueSize;
  readonly type: Type;
  /** -1 for a constant. */
  readonly local: number;
  readonly constant: bigint;
  /** A branch target that was checked when the instruction was decoded. */
  readonly checked?: boolean;
}

/** A truth value: a local that holds 0 or 1. */
export interface Condition {
  readonly local: number;
}

/** The type that holds a value of `size` bytes, zero-extended. */
export const typeOf = (size: ValueSize): Type =>
  size === 16 ? 'v128' : size === 8 ? 'i64' : 'i32';

export const constant = (size: ValueSize, value: bigint): Value => ({
  size,
  type: typeOf(size),
  local: -1,
  constant: value & ((1n << BigInt(size * 8)) - 1n),
});

/** Puts a value on the stack as an i32: its low four bytes. */
export function push32(f: FunctionWriter, value: Value): void {
  if (value.local < 0) f.i32(Number(BigInt.asIntN(32, value.constant)));
  else if (value.type === 'v128') f.get(value.local).lane64('extract', 0).op('i32.wrap_i64');
  else {
    f.get(value.local);
    if (value.type === 'i64') f.op('i32.wrap_i64');
  }
}

/** Puts a value on the stack as an i64: its low eight bytes, zero-extended. */
export function push64(f: FunctionWriter, value: Value): void {
  if (value.local < 0) f.i64(value.constant);
  else if (value.type === 'v128') f.get(value.local).lane64('extract', 0);
  else {
    f.get(value.local);
    if (value.type === 'i32') f.op('i64.extend_i32_u');
  }
}

/** Puts a value on the stack as a v128, zero-extended. */
export function push128(f: FunctionWriter, value: Value): void {
  if (value.type === 'v128' && value.local >= 0) {
    f.get(value.local);
    return;
  }
  const bytes = new Uint8Array(16);
  if (value.local < 0) {
    for (let i = 0; i < 16; i++) bytes[i] = Number((value.constant >> BigInt(8 * i)) & 0xffn);
    f.v128(bytes);
    return;
  }
  f.v128(bytes);
  push64(f, value);
  f.lane64('replace', 0);
}

/** Puts a value on the stack in the type that holds `size` bytes. */
export function push(f: FunctionWriter, size: ValueSize, value: Value): void {
  if (size === 16) push128(f, value);
  else if (size === 8) push64(f, value);
  else push32(f, value);
}
