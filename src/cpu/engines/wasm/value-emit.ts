import type { BinaryOp, CountOp, IntegerSize, ShiftOp, ValueSize } from '../../emit.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import type { Opcode } from './assembler/opcodes.ts';
import type { RuntimeIndices } from './runtime-functions.ts';
import {
  type Condition,
  constant,
  push,
  push32,
  push64,
  push128,
  typeOf,
  type Value,
} from './value.ts';

/** Opcodes for i32 and i64. */
type Pair = readonly [Opcode, Opcode];

const BINARY: Readonly<Record<BinaryOp, Pair>> = {
  add: ['i32.add', 'i64.add'],
  sub: ['i32.sub', 'i64.sub'],
  and: ['i32.and', 'i64.and'],
  or: ['i32.or', 'i64.or'],
  xor: ['i32.xor', 'i64.xor'],
  mul: ['i32.mul', 'i64.mul'],
};

const SHIFT: Readonly<Record<ShiftOp, Pair>> = {
  shl: ['i32.shl', 'i64.shl'],
  shr: ['i32.shr_u', 'i64.shr_u'],
  sar: ['i32.shr_s', 'i64.shr_s'],
  rol: ['i32.rotl', 'i64.rotl'],
  ror: ['i32.rotr', 'i64.rotr'],
};

const SIGN_EXTEND_32: Readonly<Record<number, Opcode>> = {
  1: 'i32.extend8_s',
  2: 'i32.extend16_s',
};
const SIGN_EXTEND_64: Readonly<Record<number, Opcode>> = {
  1: 'i64.extend8_s',
  2: 'i64.extend16_s',
  4: 'i64.extend32_s',
};

/** Arithmetic and conditions of the emitter, as WebAssembly. */
export class ValueEmit {
  protected readonly f: FunctionWriter;
  protected readonly runtime: RuntimeIndices;

  constructor(f: FunctionWriter, runtime: RuntimeIndices) {
    this.f = f;
    this.runtime = runtime;
  }

  const(size: ValueSize, value: number | bigint): Value {
    return constant(size, BigInt(value));
  }

  bin(op: BinaryOp, size: IntegerSize, a: Value, b: Value): Value {
    push(this.f, size, a);
    push(this.f, size, b);
    this.f.op(BINARY[op][size === 8 ? 1 : 0]);
    return this.#narrowed(size);
  }

  shift(op: ShiftOp, size: IntegerSize, a: Value, count: Value): Value {
    if (size < 4 && (op === 'rol' || op === 'ror')) return this.#rotateNarrow(op, size, a, count);
    if (op === 'sar') this.pushSigned(size, a);
    else push(this.f, size, a);
    push(this.f, size, count);
    this.f.op(SHIFT[op][size === 8 ? 1 : 0]);
    return this.#narrowed(size);
  }

  #rotateNarrow(op: ShiftOp, size: IntegerSize, a: Value, count: Value): Value {
    const turn = (shift: Opcode, complement: boolean) => {
      push32(this.f, a);
      if (complement) this.f.i32(size * 8);
      push32(this.f, count);
      if (complement) this.f.op('i32.sub');
      this.f.op(shift);
    };
    turn(op === 'rol' ? 'i32.shl' : 'i32.shr_u', false);
    turn(op === 'rol' ? 'i32.shr_u' : 'i32.shl', true);
    this.f.op('i32.or');
    return this.#narrowed(size);
  }

  count(op: CountOp, size: IntegerSize, a: Value): Value {
    push(this.f, size, a);
    if (size === 8)
      this.f.op(op === 'popcnt' ? 'i64.popcnt' : op === 'lzcnt' ? 'i64.clz' : 'i64.ctz');
    else if (op === 'popcnt') this.f.op('i32.popcnt');
    else if (op === 'lzcnt')
      this.f
        .op('i32.clz')
        .i32(32 - size * 8)
        .op('i32.sub');
    else if (size === 4) this.f.op('i32.ctz');
    else this.f.i32(1 << (size * 8)).op('i32.or', 'i32.ctz');
    return this.take(size);
  }

  mulHigh(size: IntegerSize, signed: boolean, a: Value, b: Value): Value {
    const { f } = this;
    if (size < 8) {
      for (const v of [a, b]) {
        if (signed) {
          push64(f, v);
          f.op(SIGN_EXTEND_64[size]!);
        } else push64(f, v);
      }
      f.op('i64.mul')
        .i64(size * 8)
        .op(signed ? 'i64.shr_s' : 'i64.shr_u', 'i32.wrap_i64');
      return this.#narrowed(size);
    }
    const high = this.#mulHigh64(a, b);
    if (!signed) return high;
    // The signed product's high half is the unsigned one less each factor where the other is negative.
    f.get(high.local);
    for (const [sign, other] of [
      [a, b],
      [b, a],
    ] as const) {
      push64(f, sign);
      f.i64(63).op('i64.shr_s');
      push64(f, other);
      f.op('i64.and', 'i64.sub');
    }
    return this.take(8);
  }

  /** Unsigned, by 32-bit halves. */
  #mulHigh64(a: Value, b: Value): Value {
    const { f } = this;
    const low = (v: Value) => {
      push64(f, v);
      f.i64(0xffff_ffff).op('i64.and');
    };
    const high = (v: Value) => {
      push64(f, v);
      f.i64(32).op('i64.shr_u');
    };
    const middle = f.local('i64');
    const carry = f.local('i64');
    high(a);
    low(b);
    f.op('i64.mul');
    low(a);
    low(b);
    f.op('i64.mul').i64(32).op('i64.shr_u', 'i64.add').set(middle);
    low(a);
    high(b);
    f.op('i64.mul').get(middle).i64(0xffff_ffff).op('i64.and', 'i64.add').set(carry);
    high(a);
    high(b);
    f.op('i64.mul').get(middle).i64(32).op('i64.shr_u', 'i64.add');
    f.get(carry).i64(32).op('i64.shr_u', 'i64.add');
    return this.take(8);
  }

  divide(
    size: IntegerSize,
    signed: boolean,
    high: Value,
    low: Value,
    divisor: Value,
  ): { quotient: Value; remainder: Value; fits: Condition } {
    const { f } = this;
    if (size === 8) {
      push64(f, high);
      push64(f, low);
      push64(f, divisor);
      f.call(signed ? this.runtime.divideSigned : this.runtime.divideUnsigned);
      const fits = this.condition();
      const remainder = this.take(8);
      return { quotient: this.take(8), remainder, fits };
    }
    const dividend = f.local('i64');
    const by = f.local('i64');
    const quotient = f.local('i64');
    push64(f, high);
    f.i64(size * 8).op('i64.shl');
    push64(f, low);
    f.op('i64.or');
    if (signed && size < 4) f.op(size === 1 ? 'i64.extend16_s' : 'i64.extend32_s');
    f.set(dividend);
    push64(f, divisor);
    if (signed) f.op(SIGN_EXTEND_64[size]!);
    f.set(by);
    if (signed && size === 4) {
      // -2^63 ÷ -1 traps in WebAssembly; ÷ 1 does not fit either.
      f.i64(1)
        .get(by)
        .get(dividend)
        .i64(-(1n << 63n))
        .op('i64.eq')
        .get(by)
        .i64(-1)
        .op('i64.eq', 'i32.and', 'select');
      f.set(by);
    }
    f.get(dividend)
      .get(by)
      .op(signed ? 'i64.div_s' : 'i64.div_u')
      .set(quotient);
    f.get(quotient)
      .op(...(signed ? [SIGN_EXTEND_64[size]!] : []))
      .get(quotient);
    if (!signed) f.i64((1n << BigInt(size * 8)) - 1n).op('i64.and');
    f.op('i64.eq');
    const fits = this.condition();
    f.get(dividend)
      .get(by)
      .op(signed ? 'i64.rem_s' : 'i64.rem_u', 'i32.wrap_i64');
    const remainder = this.#narrowed(size);
    f.get(quotient).op('i32.wrap_i64');
    return { quotient: this.#narrowed(size), remainder, fits };
  }

  byteSwap(size: 2 | 4 | 8, a: Value): Value {
    const { f } = this;
    if (size === 2) return this.#rotateNarrow('rol', 2, a, constant(4, 8n));
    if (size === 4) {
      push32(f, a);
      f.i32(8).op('i32.rotl').i32(0x00ff_00ff).op('i32.and');
      push32(f, a);
      f.i32(8).op('i32.rotr').i32(0xff00_ff00).op('i32.and', 'i32.or');
      return this.take(4);
    }
    const swapped = f.local('i64');
    push64(f, a);
    f.set(swapped);
    for (const [mask, shift] of [
      [0x00ff_00ff_00ff_00ffn, 8],
      [0x0000_ffff_0000_ffffn, 16],
    ] as const) {
      f.get(swapped).i64(mask).op('i64.and').i64(shift).op('i64.shl');
      f.get(swapped).i64(shift).op('i64.shr_u').i64(mask).op('i64.and', 'i64.or').set(swapped);
    }
    f.get(swapped).i64(32).op('i64.rotl');
    return this.take(8);
  }

  signExtend(from: IntegerSize, to: IntegerSize, a: Value): Value {
    if (from === to) return a;
    if (to === 8) {
      push64(this.f, a);
      this.f.op(SIGN_EXTEND_64[from]!);
      return this.take(8);
    }
    push32(this.f, a);
    this.f.op(SIGN_EXTEND_32[from]!);
    return this.#narrowed(to);
  }

  low(size: IntegerSize, a: Value): Value {
    if (a.size <= size) return a;
    if (a.local < 0) return constant(size, a.constant);
    push(this.f, size, a);
    return this.#narrowed(size);
  }

  high64(a: Value): Value {
    push128(this.f, a);
    this.f.lane64('extract', 1);
    return this.take(8);
  }

  join(high: Value, low: Value): Value {
    push64(this.f, low);
    this.f.op('i64x2.splat');
    push64(this.f, high);
    this.f.lane64('replace', 1);
    return this.take(16);
  }

  select(size: ValueSize, c: Condition, a: Value, b: Value): Value {
    push(this.f, size, a);
    push(this.f, size, b);
    this.f.get(c.local).op('select');
    return this.take(size);
  }

  truth(c: Condition): Value {
    return { size: 1, type: 'i32', local: c.local, constant: 0n };
  }

  isZero(size: IntegerSize, a: Value): Condition {
    push(this.f, size, a);
    this.f.op(size === 8 ? 'i64.eqz' : 'i32.eqz');
    return this.condition();
  }

  equal(size: IntegerSize, a: Value, b: Value): Condition {
    push(this.f, size, a);
    push(this.f, size, b);
    this.f.op(size === 8 ? 'i64.eq' : 'i32.eq');
    return this.condition();
  }

  below(size: IntegerSize, a: Value, b: Value): Condition {
    push(this.f, size, a);
    push(this.f, size, b);
    this.f.op(size === 8 ? 'i64.lt_u' : 'i32.lt_u');
    return this.condition();
  }

  less(size: IntegerSize, a: Value, b: Value): Condition {
    this.pushSigned(size, a);
    this.pushSigned(size, b);
    this.f.op(size === 8 ? 'i64.lt_s' : 'i32.lt_s');
    return this.condition();
  }

  not(c: Condition): Condition {
    this.f.get(c.local).op('i32.eqz');
    return this.condition();
  }

  both(a: Condition, b: Condition): Condition {
    this.f.get(a.local).get(b.local).op('i32.and');
    return this.condition();
  }

  either(a: Condition, b: Condition): Condition {
    this.f.get(a.local).get(b.local).op('i32.or');
    return this.condition();
  }

  /** Puts a value on the stack sign-extended to its type. */
  protected pushSigned(size: IntegerSize, a: Value): void {
    push(this.f, size, a);
    if (size < 4) this.f.op(SIGN_EXTEND_32[size]!);
  }

  /** The value on the stack, which is canonical. */
  protected take(size: ValueSize): Value {
    const type = typeOf(size);
    const local = this.f.local(type);
    this.f.set(local);
    return { size, type, local, constant: 0n };
  }

  /** The truth value on the stack. */
  protected condition(): Condition {
    const local = this.f.local('i32');
    this.f.set(local);
    return { local };
  }

  /** The value on the stack, cut to `size` bytes. */
  #narrowed(size: IntegerSize): Value {
    if (size < 4) this.f.i32(size === 1 ? 0xff : 0xffff).op('i32.and');
    return this.take(size);
  }
}
