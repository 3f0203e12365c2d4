import {
  angle,
  cosine,
  exp2m1,
  quartersOfPi,
  sine,
  tangent,
  yLog2,
  yLog2p1,
} from '../float/elementary.ts';
import {
  bitLength,
  EXTENDED,
  type Float,
  finite,
  INDEFINITE,
  infinity,
  pack,
  zero,
} from '../float/format.ts';
import { FLAG } from '../float/round.ts';
import type { SystemFunction } from '../system/core.ts';
import { FSW } from './registers.ts';
import { computing, denormalsPass, special, type Unit } from './unit.ts';

/**
 * The transcendental instructions. The manual promises results within one unit in the last place; ours are the exact ones
 * rounded as RC says (Vol. 1, "Transcendental Instruction Accuracy"), with arguments reduced by the 66-bit π of the processor.
 */

const ONE = finite(false, 1n, 0);
const top = ({ significand, exponent }: Float) => exponent + bitLength(significand) - 1;

/** Operands beyond this are left alone, and C2 says so. */
const TRIGONOMETRIC_LIMIT = 63;

/** What `of` gives for numbers; undefined where an unmasked exception leaves nothing. */
function evaluate(
  unit: Unit,
  operands: readonly [Float, Float],
  of: () => Float | 'invalid' | 'divided',
  sign = false,
) {
  const known = special(unit, ...operands);
  if (known !== 'numbers') return known;
  const result = of();
  if (result === 'invalid') return unit.signal(FLAG.IE) ? INDEFINITE : undefined;
  if (result === 'divided') return unit.signal(FLAG.ZE) ? infinity(sign) : undefined;
  if (!denormalsPass(unit, ...operands)) return undefined;
  return unit.rounded(result, false);
}

const empty = (unit: Unit): Float | undefined => (unit.stackUnderflow() ? INDEFINITE : undefined);

/** Whether the argument of a trigonometric function is too large. */
function tooLarge(unit: Unit): boolean {
  if (unit.isEmpty(0)) return false;
  const x = unit.value(0);
  const large = x.kind === 'finite' && top(x) >= TRIGONOMETRIC_LIMIT;
  if (large) unit.setConditions(FSW.C2, FSW.C2);
  return large;
}

const trigonometric = (of: (x: Float) => Float, atZero: (x: Float) => Float): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, FSW.C1 | FSW.C2);
    if (tooLarge(unit)) return;
    const x = unit.value(0);
    const result = unit.isEmpty(0)
      ? empty(unit)
      : evaluate(unit, [x, x], () => valueAt(x, of, atZero));
    if (result) unit.setValue(0, result);
  });

const valueAt = (x: Float, of: (x: Float) => Float, atZero: (x: Float) => Float) =>
  x.kind === 'infinity' ? 'invalid' : x.kind === 'zero' ? atZero(x) : of(x);

/** FSINCOS and FPTAN: one result in place of ST(0), one on top of it. */
const pair = (
  first: (x: Float) => Float,
  second: (x: Float) => Float,
  zeroFirst: (x: Float) => Float,
): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, FSW.C1 | FSW.C2);
    if (unit.isEmpty(0) || !unit.isEmpty(7)) {
      const masked = unit.isEmpty(0) ? unit.stackUnderflow() : unit.stackOverflow();
      if (!masked) return;
      unit.setValue(0, INDEFINITE);
      unit.place(pack(EXTENDED, INDEFINITE));
      return;
    }
    if (tooLarge(unit)) return;
    const x = unit.value(0);
    const a = evaluate(unit, [x, x], () => valueAt(x, first, zeroFirst));
    if (!a) return;
    const number = x.kind === 'zero' || x.kind === 'finite';
    const b = number ? unit.rounded(x.kind === 'zero' ? ONE : second(x), false) : a;
    unit.setValue(0, a);
    unit.place(pack(EXTENDED, b));
  });

/** Instructions on ST(1) and ST(0) that pop. */
const popping = (
  of: (y: Float, x: Float) => Float | 'invalid' | 'divided',
  sign: (y: Float, x: Float) => boolean = () => false,
): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, FSW.C1);
    const x = unit.value(0);
    const y = unit.value(1);
    const result =
      unit.isEmpty(0) || unit.isEmpty(1)
        ? empty(unit)
        : evaluate(unit, [x, y], () => of(y, x), sign(y, x));
    if (!result) return;
    // The processor takes no logarithm for exact, not even that of a power of two.
    if (of === logarithm && x.kind === 'finite' && result.kind === 'finite') unit.signal(FLAG.PE);
    unit.setValue(1, result);
    unit.pop();
  });

/** Vol. 2, "FPATAN—Partial Arctangent": the table of zeros and infinities, then the angle. */
function arctangent(y: Float, x: Float): Float {
  if (y.kind === 'infinity') {
    if (x.kind === 'infinity') return quartersOfPi(x.negative ? 3 : 1, y.negative);
    return quartersOfPi(2, y.negative);
  }
  if (x.kind === 'infinity') return x.negative ? quartersOfPi(4, y.negative) : zero(y.negative);
  if (y.kind === 'zero') return x.negative ? quartersOfPi(4, y.negative) : y;
  if (x.kind === 'zero') return quartersOfPi(2, y.negative);
  return angle(y, x);
}

const isOne = (x: Float) =>
  x.kind === 'finite' &&
  !x.negative &&
  top(x) === 0 &&
  (x.significand & (x.significand - 1n)) === 0n;

/** Vol. 2, "FYL2X—Compute y ∗ log2x". */
function logarithm(y: Float, x: Float): Float | 'invalid' | 'divided' {
  if (x.negative && x.kind !== 'zero') return 'invalid';
  if (x.kind === 'zero') {
    if (y.kind === 'zero') return 'invalid';
    return y.kind === 'infinity' ? infinity(!y.negative) : 'divided';
  }
  const above = x.kind === 'infinity' || top(x) >= 0;
  if (isOne(x)) return y.kind === 'infinity' ? 'invalid' : zero(y.negative);
  if (x.kind === 'infinity') return y.kind === 'zero' ? 'invalid' : infinity(y.negative);
  if (y.kind === 'infinity') return infinity(y.negative === above);
  if (y.kind === 'zero') return zero(y.negative === above);
  return yLog2(y, x);
}

/** Vol. 2, "FYL2XP1—Compute y ∗ log2(x +1)"; outside its range the manual leaves the result open. */
function logarithmOfMore(y: Float, x: Float): Float | 'invalid' {
  const negative = y.negative !== x.negative;
  if (x.kind === 'zero') return y.kind === 'infinity' ? 'invalid' : zero(negative);
  if (x.negative && (x.kind === 'infinity' || top(x) >= 0)) return 'invalid';
  if (x.kind === 'infinity') return y.kind === 'zero' ? 'invalid' : infinity(y.negative);
  if (y.kind === 'infinity') return infinity(negative);
  if (y.kind === 'zero') return zero(negative);
  return yLog2p1(y, x);
}

/** F2XM1; beyond ±1 the manual leaves the result open, and ours is the source. */
function powerLessOne(x: Float): Float {
  if (x.kind === 'infinity') return x.negative ? finite(true, 1n, 0) : x;
  if (x.kind === 'zero') return x;
  if (top(x) < 0) return exp2m1(x);
  const one = top(x) === 0 && (x.significand & (x.significand - 1n)) === 0n;
  if (one) return x.negative ? finite(true, 1n, -1) : ONE;
  return x;
}

const power = computing((unit) => {
  unit.setConditions(0, FSW.C1);
  const x = unit.value(0);
  const result = unit.isEmpty(0) ? empty(unit) : evaluate(unit, [x, x], () => powerLessOne(x));
  if (result) unit.setValue(0, result);
});

/** x87 transcendental instructions, by mnemonic. */
export const X87_TRANSCENDENTAL = {
  FSIN: trigonometric(sine, (x) => x),
  FCOS: trigonometric(cosine, () => ONE),
  FSINCOS: pair(sine, cosine, (x) => x),
  FPTAN: pair(
    tangent,
    () => ONE,
    (x) => x,
  ),
  FPATAN: popping(arctangent),
  F2XM1: power,
  FYL2X: popping(logarithm, (y) => !y.negative),
  FYL2XP1: popping(logarithmOfMore),
} as const;
