import { add, divide, multiply, type Outcome, squareRoot, subtract } from '../float/arithmetic.ts';
import {
  DOUBLE,
  EXTENDED,
  type Float,
  finite,
  INDEFINITE,
  infinity,
  pack,
  SINGLE,
  unpack,
  zero,
} from '../float/format.ts';
import { FLAG, type Rounding, toInteger } from '../float/round.ts';
import type { Insn } from '../insn.ts';
import type { SystemFunction } from '../system/core.ts';
import { FSW } from './registers.ts';
import { computing, denormalsPass, register, special, type Unit } from './unit.ts';

type Operation = (a: Float, b: Float, rounding: Rounding) => Outcome;

/** A signed integer as a number. */
export const fromInteger = (value: bigint): Float =>
  finite(value < 0n, value < 0n ? -value : value, 0);

/** A memory operand as a number: single, double or integer. */
export function memoryValue(unit: Unit, insn: Insn, integer: boolean): Float {
  const bits = unit.load();
  if (integer) return fromInteger(BigInt.asIntN(insn.size * 8, bits));
  return unpack(insn.size === 4 ? SINGLE : DOUBLE, bits);
}

/** The result of an operation in the register format; undefined where an unmasked exception leaves none. */
export function compute(
  unit: Unit,
  of: Operation,
  a: Float,
  b: Float,
  control = true,
): Float | undefined {
  unit.setConditions(0, FSW.C1);
  const known = special(unit, a, b);
  if (known !== 'numbers') return known;
  const outcome = of(a, b, unit.environment().rounding);
  if (outcome === 'invalid') return unit.signal(FLAG.IE) ? INDEFINITE : undefined;
  if ('divided' in outcome) return unit.signal(FLAG.ZE) ? outcome.divided : undefined;
  if (!denormalsPass(unit, a, b)) return undefined;
  return unit.rounded(outcome, control);
}

/** FADD and its kin: two registers, or ST(0) and memory. */
const binary = (of: Operation, { integer = false, pops = false, reversed = false }) =>
  computing((unit, insn) => {
    const fromMemory = insn.operands[0]?.kind === 'mem';
    const source = fromMemory ? memoryValue(unit, insn, integer) : undefined;
    const to = fromMemory ? 0 : register(insn, 0);
    const from = register(insn, 1);
    let result: Float | undefined;
    if (unit.isEmpty(to) || (!source && unit.isEmpty(from))) {
      result = unit.stackUnderflow() ? INDEFINITE : undefined;
    } else {
      const a = unit.value(to);
      const b = source ?? unit.value(from);
      result = reversed ? compute(unit, of, b, a) : compute(unit, of, a, b);
    }
    if (!result) return;
    unit.setValue(to, result);
    if (pops) unit.pop();
  });

const family = (of: Operation, reversed = false) => ({
  plain: binary(of, { reversed }),
  popping: binary(of, { reversed, pops: true }),
  integer: binary(of, { reversed, integer: true }),
});
const ADD = family(add);
const MUL = family(multiply);
const SUB = family(subtract);
const SUBR = family(subtract, true);
const DIV = family(divide);
const DIVR = family(divide, true);

/** An instruction on ST(0) alone. */
const unary = (body: (unit: Unit, x: Float) => Float | undefined): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, FSW.C1);
    const result = unit.isEmpty(0)
      ? unit.stackUnderflow()
        ? INDEFINITE
        : undefined
      : body(unit, unit.value(0));
    if (result) unit.setValue(0, result);
  });

const SIGN = 1n << 79n;

/** FCHS and FABS touch the sign bit only, whatever else is there. */
const signOnly = (of: (bits: bigint) => bigint): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, FSW.C1);
    if (!unit.isEmpty(0)) unit.set(0, of(unit.get(0)));
    else if (unit.stackUnderflow()) unit.setValue(0, INDEFINITE);
  });

const root = unary((unit, x) => compute(unit, (a) => squareRoot(a), x, x));

/** FRNDINT. */
const toIntegral = unary((unit, x) => {
  const known = special(unit, x);
  if (known !== 'numbers') return known;
  if (!denormalsPass(unit, x)) return undefined;
  if (x.kind !== 'finite' || x.exponent >= 0) return x;
  const env = unit.environment();
  const integer = toInteger(env, x)!;
  unit.signal(env.flags);
  unit.setConditions(env.roundedUp ? FSW.C1 : 0, FSW.C1);
  return integer === 0n ? zero(x.negative) : fromInteger(integer);
});

/** The integral part, kept in bounds: no format spans more. */
function truncated(x: Float): number {
  if (x.kind === 'zero') return 0;
  const integer = toInteger({ rounding: 3, flags: 0, roundedUp: false }, x)!;
  return Math.max(-70_000, Math.min(70_000, Number(integer)));
}

/** Vol. 2, "FSCALE—Scale": ST(0) · 2^trunc(ST(1)). */
const scale: Operation = (x, by) => {
  if (by.kind === 'infinity') {
    if (by.negative) return x.kind === 'infinity' ? 'invalid' : zero(x.negative);
    return x.kind === 'zero' ? 'invalid' : infinity(x.negative);
  }
  return x.kind === 'finite' ? { ...x, exponent: x.exponent + truncated(by), denormal: false } : x;
};

/** Instructions on ST(0) with ST(1) as the other operand. */
const withSecond = (
  body: (unit: Unit, x: Float, y: Float) => Float | undefined,
  cleared: number,
): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, cleared);
    const result =
      unit.isEmpty(0) || unit.isEmpty(1)
        ? unit.stackUnderflow()
          ? INDEFINITE
          : undefined
        : body(unit, unit.value(0), unit.value(1));
    if (result) unit.setValue(0, result);
  });

const topOf = ({ significand, exponent }: Float) => exponent + significand.toString(2).length - 1;

/**
 * FPREM and FPREM1. Vol. 2, "FPREM—Partial Remainder": exact; where the exponents are 64 or more apart, one step of the
 * reduction, by as many bits as Intel's processors take (32 to 63, congruent to the distance modulo 32).
 */
const remainder = (nearest: boolean): SystemFunction =>
  withSecond((unit, x, y) => {
    const known = special(unit, x, y);
    if (known !== 'numbers') return known;
    if (x.kind === 'infinity' || y.kind === 'zero')
      return unit.signal(FLAG.IE) ? INDEFINITE : undefined;
    if (!denormalsPass(unit, x, y)) return undefined;
    if (x.kind === 'zero' || y.kind === 'infinity') {
      unit.setConditions(0);
      return x;
    }

    const apart = topOf(x) - topOf(y);
    const exponent = Math.min(x.exponent, y.exponent);
    const dividend = x.significand << BigInt(x.exponent - exponent);
    const divisor = y.significand << BigInt(y.exponent - exponent);
    if (apart >= 64) {
      const step = BigInt(apart - ((apart & 31) | 32));
      const left = dividend - (((dividend / (divisor << step)) * divisor) << step);
      unit.setConditions(FSW.C2);
      return unit.rounded(finite(x.negative, left, exponent), false);
    }
    let quotient = dividend / divisor;
    let left = dividend - quotient * divisor;
    let negative = x.negative;
    if (nearest && (2n * left > divisor || (2n * left === divisor && (quotient & 1n) === 1n))) {
      quotient++;
      left = divisor - left;
      negative = !negative;
    }
    const bit = (n: bigint, flag: number) => (((quotient >> n) & 1n) === 1n ? flag : 0);
    const conditions = bit(0n, FSW.C1) | bit(1n, FSW.C3) | bit(2n, FSW.C0);
    const result =
      left === 0n ? zero(x.negative) : unit.rounded(finite(negative, left, exponent), false);
    unit.setConditions(conditions);
    return result;
  }, FSW.C1 | FSW.C2);

/** FXTRACT: the exponent in place of ST(0), then the significand on top. */
const extract = computing((unit) => {
  unit.setConditions(0, FSW.C1);
  const [exponent, significand] = parts(unit) ?? [];
  if (!exponent || !significand) return;
  unit.setValue(0, exponent);
  unit.place(pack(EXTENDED, significand));
});

function parts(unit: Unit): readonly [Float, Float] | undefined {
  if (unit.isEmpty(0)) return unit.stackUnderflow() ? [INDEFINITE, INDEFINITE] : undefined;
  if (!unit.isEmpty(7)) return unit.stackOverflow() ? [INDEFINITE, INDEFINITE] : undefined;
  const x = unit.value(0);
  const known = special(unit, x);
  if (known === undefined) return undefined;
  if (known !== 'numbers') return [known, known];
  if (x.kind === 'infinity') return [infinity(), x];
  if (x.kind === 'zero') return unit.signal(FLAG.ZE) ? [infinity(true), x] : undefined;
  if (!denormalsPass(unit, x)) return undefined;
  const top = topOf(x);
  return [fromInteger(BigInt(top)), { ...x, exponent: x.exponent - top, denormal: false }];
}

/** Basic x87 arithmetic, by mnemonic. */
// biome-ignore format: a table
export const X87_ARITHMETIC = {
  FADD: ADD.plain,    FADDP: ADD.popping,    FIADD: ADD.integer,
  FMUL: MUL.plain,    FMULP: MUL.popping,    FIMUL: MUL.integer,
  FSUB: SUB.plain,    FSUBP: SUB.popping,    FISUB: SUB.integer,
  FSUBR: SUBR.plain,  FSUBRP: SUBR.popping,  FISUBR: SUBR.integer,
  FDIV: DIV.plain,    FDIVP: DIV.popping,    FIDIV: DIV.integer,
  FDIVR: DIVR.plain,  FDIVRP: DIVR.popping,  FIDIVR: DIVR.integer,
  FSQRT: root,  FRNDINT: toIntegral,  FCHS: signOnly((bits) => bits ^ SIGN),  FABS: signOnly((bits) => bits & ~SIGN),
  FSCALE: withSecond((unit, x, y) => compute(unit, scale, x, y, false), FSW.C1),
  FPREM: remainder(false),  FPREM1: remainder(true),  FXTRACT: extract,
} as const;
