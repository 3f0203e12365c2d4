import type { FlagKind, IntegerSize } from '../../emit.ts';
import { FLAG_CARRY } from '../../flags.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import type { Opcode } from './assembler/opcodes.ts';

/** Where the lazy flags are while a function is written, and what is known of them. */
export interface FlagSource {
  readonly kind: FlagKind;
  readonly size: IntegerSize;
  /** Whether FLAG_KIND may have `FLAG_CARRY`. */
  readonly carry: boolean;
  /** Locals: FLAG_KIND (i32), FLAG_X and FLAG_Y (i64). */
  readonly locals: { readonly kind: number; readonly x: number; readonly y: number };
}

/** Bit numbers of the status flags. */
const BIT = { CF: 0, PF: 2, AF: 4, ZF: 6, SF: 7, OF: 11 } as const;
type Flag = keyof typeof BIT;

/** Writes code that evaluates status flags of one known kind and size (cpu/flags.ts has the meaning). */
export class ConditionWriter {
  readonly #f: FunctionWriter;
  readonly #source: FlagSource;
  readonly #wide: boolean;

  constructor(f: FunctionWriter, source: FlagSource) {
    this.#f = f;
    this.#source = source;
    this.#wide = source.size === 8;
  }

  /** Leaves 1 on the stack if condition code `code` (0–15) holds, else 0. */
  condition(code: number): void {
    const negate = (code & 1) === 1;
    if (this.#compared(code >> 1, negate)) return;
    switch (code >> 1) {
      case 0:
        this.#flag('OF');
        break;
      case 1:
        this.#flag('CF');
        break;
      case 2:
        this.#flag('ZF');
        break;
      case 3:
        this.#either('CF', 'ZF');
        break;
      case 4:
        this.#flag('SF');
        break;
      case 5:
        this.#flag('PF');
        break;
      case 6:
        this.#signNotOverflow();
        break;
      default:
        this.#signNotOverflow();
        this.#flag('ZF');
        this.#f.op('i32.or');
    }
    if (negate) this.#f.op('i32.eqz');
  }

  /** Leaves the six status flags in their RFLAGS positions on the stack, as an i32. */
  statusFlags(): void {
    const f = this.#f;
    if (this.#source.kind === 'RAW') {
      f.get(this.#source.locals.x).op('i32.wrap_i64').i32(0x8d5).op('i32.and');
      return;
    }
    f.i32(0);
    for (const flag of Object.keys(BIT) as Flag[]) {
      this.#flag(flag);
      f.i32(BIT[flag]).op('i32.shl', 'i32.or');
    }
  }

  /** After a comparison or a logical instruction, one comparison answers. */
  #compared(pair: number, negate: boolean): boolean {
    const { kind, carry } = this.#source;
    const ops = COMPARISONS[pair];
    if (ops && kind === 'SUB' && !carry) {
      this.#x(ops.signed);
      this.#y(ops.signed);
      this.#op(negate ? ops.negated : ops.plain);
      return true;
    }
    if (ops && kind === 'LOGIC' && pair !== 1) {
      // CF and OF are 0: below-or-equal is equal.
      const [plain, negated] = pair === 3 ? (['eq', 'ne'] as const) : [ops.plain, ops.negated];
      this.#x(ops.signed);
      this.#constant(0);
      this.#op(negate ? negated : plain);
      return true;
    }
    return false;
  }

  #either(a: Flag, b: Flag): void {
    this.#flag(a);
    this.#flag(b);
    this.#f.op('i32.or');
  }

  #signNotOverflow(): void {
    this.#flag('SF');
    this.#flag('OF');
    this.#f.op('i32.xor');
  }

  /** Leaves one flag as 0 or 1. */
  #flag(flag: Flag): void {
    const { kind, locals } = this.#source;
    const f = this.#f;
    if (
      kind === 'RAW' ||
      (kind === 'RESULT' && (flag === 'CF' || flag === 'AF' || flag === 'OF'))
    ) {
      f.get(kind === 'RAW' ? locals.x : locals.y).i64(BIT[flag]);
      f.op('i64.shr_u', 'i32.wrap_i64').i32(1).op('i32.and');
      return;
    }
    switch (flag) {
      case 'ZF':
        this.#result(false);
        f.op(this.#wide ? 'i64.eqz' : 'i32.eqz');
        break;
      case 'SF':
        this.#result(true);
        this.#constant(0);
        this.#op('lt_s');
        break;
      case 'PF':
        this.#result(false);
        if (this.#wide) f.op('i32.wrap_i64');
        f.i32(0xff).op('i32.and', 'i32.popcnt').i32(1).op('i32.and', 'i32.eqz');
        break;
      case 'CF':
        this.#carryFlag();
        break;
      case 'OF':
        this.#overflowFlag();
        break;
      case 'AF':
        this.#adjustFlag();
    }
  }

  #carryFlag(): void {
    const { kind, carry } = this.#source;
    switch (kind) {
      case 'ADD':
        this.#result(false);
        this.#x();
        this.#op('lt_u');
        if (carry) {
          this.#result(false);
          this.#x();
          this.#op('eq');
          this.#carryIn();
          this.#f.op('i32.and', 'i32.or');
        }
        break;
      case 'SUB':
        this.#x();
        this.#y();
        this.#op('lt_u');
        if (carry) {
          this.#x();
          this.#y();
          this.#op('eq');
          this.#carryIn();
          this.#f.op('i32.and', 'i32.or');
        }
        break;
      case 'INC':
      case 'DEC':
        if (carry) this.#carryIn();
        else this.#f.i32(0);
        break;
      default:
        this.#f.i32(0);
    }
  }

  #overflowFlag(): void {
    const { kind, size } = this.#source;
    const sign = 1n << BigInt(size * 8 - 1);
    switch (kind) {
      case 'ADD':
      case 'SUB':
        this.#x(true);
        this.#result(true);
        this.#op('xor');
        if (kind === 'ADD') this.#result(true);
        else this.#x(true);
        this.#y(true);
        this.#op('xor');
        this.#op('and');
        this.#constant(0);
        this.#op('lt_s');
        break;
      case 'INC':
      case 'DEC':
        this.#x();
        this.#constant(kind === 'INC' ? sign : sign - 1n);
        this.#op('eq');
        break;
      default:
        this.#f.i32(0);
    }
  }

  #adjustFlag(): void {
    const { kind } = this.#source;
    const f = this.#f;
    const low = () => this.#wide && f.op('i32.wrap_i64');
    switch (kind) {
      case 'ADD':
      case 'SUB':
        this.#x();
        this.#y();
        this.#op('xor');
        this.#result(false);
        this.#op('xor');
        low();
        f.i32(4).op('i32.shr_u').i32(1).op('i32.and');
        break;
      case 'INC':
      case 'DEC':
        this.#x();
        low();
        f.i32(15)
          .op('i32.and')
          .i32(kind === 'INC' ? 0 : 15)
          .op('i32.eq');
        break;
      default:
        f.i32(0);
    }
  }

  /** The result that the flags describe; `signed` extends its sign, otherwise it is canonical. */
  #result(signed: boolean): void {
    const { kind, size, carry } = this.#source;
    if (kind !== 'ADD' && kind !== 'SUB') {
      this.#x(signed);
      return;
    }
    this.#x();
    this.#y();
    this.#op(kind === 'ADD' ? 'add' : 'sub');
    if (carry) {
      this.#carryIn();
      if (this.#wide) this.#f.op('i64.extend_i32_u');
      this.#op(kind === 'ADD' ? 'add' : 'sub');
    }
    if (signed) this.#extend();
    else if (size < 4) this.#f.i32(size === 1 ? 0xff : 0xffff).op('i32.and');
  }

  #carryIn(): void {
    this.#f.get(this.#source.locals.kind).i32(Math.log2(FLAG_CARRY)).op('i32.shr_u');
  }

  #x(signed = false): void {
    this.#operand(this.#source.locals.x, signed);
  }

  #y(signed = false): void {
    this.#operand(this.#source.locals.y, signed);
  }

  #operand(local: number, signed: boolean): void {
    this.#f.get(local);
    if (!this.#wide) this.#f.op('i32.wrap_i64');
    if (signed) this.#extend();
  }

  #extend(): void {
    const { size } = this.#source;
    if (size < 4) this.#f.op(size === 1 ? 'i32.extend8_s' : 'i32.extend16_s');
  }

  #constant(value: number | bigint): void {
    if (this.#wide) this.#f.i64(value);
    else this.#f.i32(Number(BigInt.asIntN(32, BigInt(value))));
  }

  #op(name: 'add' | 'sub' | 'and' | 'xor' | 'eq' | 'ne' | Comparison): void {
    this.#f.op(`${this.#wide ? 'i64' : 'i32'}.${name}` as Opcode);
  }
}

type Comparison = 'lt_u' | 'ge_u' | 'le_u' | 'gt_u' | 'lt_s' | 'ge_s' | 'le_s' | 'gt_s';

/** What x and y are compared by for each pair of condition codes after CMP. */
const COMPARISONS: Readonly<
  Record<
    number,
    {
      readonly plain: 'eq' | Comparison;
      readonly negated: 'ne' | Comparison;
      readonly signed: boolean;
    }
  >
> = {
  1: { plain: 'lt_u', negated: 'ge_u', signed: false },
  2: { plain: 'eq', negated: 'ne', signed: false },
  3: { plain: 'le_u', negated: 'gt_u', signed: false },
  6: { plain: 'lt_s', negated: 'ge_s', signed: true },
  7: { plain: 'le_s', negated: 'gt_s', signed: true },
};
