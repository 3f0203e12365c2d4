import { integerRoot } from './arithmetic.ts';
import { bitLength, type Float, finite } from './format.ts';

/**
 * Elementary functions of numbers, in fixed point with so many bits that what is left to round is right but for one case in
 * 2^100. All results are irrational where the functions are called, so the last bit says "and a little more".
 */

/** Fraction bits that everything is computed with. */
const P = 320;
const ONE = 1n << BigInt(P);

/** So far below 1 a function is its linear term, give or take a hair. */
const TINY = -80;

/** Arithmetic shift, to nearest enough. */
const scaled = (product: bigint): bigint => product >> BigInt(P);

/** Fixed point of a number; small ones lose bits, so not below `TINY`. */
const fixed = ({ negative, significand, exponent }: Float): bigint => {
  const shift = exponent + P;
  const value = shift >= 0 ? significand << BigInt(shift) : significand >> BigInt(-shift);
  return negative ? -value : value;
};

/** The number of a fixed-point value that goes on behind its last bit. */
const number = (value: bigint): Float => {
  const negative = value < 0n;
  return finite(negative, ((negative ? -value : value) << 1n) | 1n, -P - 1);
};

const top = ({ significand, exponent }: Float) => exponent + bitLength(significand) - 1;

/** x a hair closer to zero (-1) or farther from it (1). */
const nearly = (x: Float, direction: 1 | -1): Float =>
  finite(x.negative, (x.significand << 80n) + BigInt(direction), x.exponent - 80);

/** Σ terms until they vanish; `next` makes term n out of the one before. */
function series(first: bigint, next: (term: bigint, n: number) => bigint): bigint {
  let sum = 0n;
  let term = first;
  for (let n = 1; term !== 0n && term !== -1n; n++) {
    sum += term;
    term = next(term, n);
  }
  return sum;
}

/** arctan of a small fixed-point number; of 1/n for the constants. */
function arctanSeries(z: bigint): bigint {
  const square = scaled(z * z);
  let sum = 0n;
  let power = z;
  for (let n = 1n; power !== 0n && power !== -1n; n += 2n) {
    sum += (n & 2n) === 0n ? power / n : -power / n;
    power = scaled(power * square);
  }
  return sum;
}

/** 2 · artanh z = ln((1 + z) / (1 - z)). */
function logarithmSeries(z: bigint): bigint {
  const square = scaled(z * z);
  let sum = 0n;
  let power = z;
  for (let n = 1n; power !== 0n && power !== -1n; n += 2n) {
    sum += power / n;
    power = scaled(power * square);
  }
  return 2n * sum;
}

/** Machin's formula, and ln 2 = 2 artanh 1/3. */
const PI = 4n * (4n * arctanSeries(ONE / 5n) - arctanSeries(ONE / 239n));
const LN2 = logarithmSeries(ONE / 3n);

const divideFixed = (a: bigint, b: bigint): bigint => (a << BigInt(P)) / b;

/** The π that the processor reduces arguments by: 66 bits. Vol. 1, "Approximation of Pi". */
const SHORT_PI = 0xc90f_daa2_2168_c234_cn;
const SHORT_PI_EXPONENT = -66;

/** x modulo the processor's π/2: the remainder, at most π/4, exactly, and the quotient modulo 4. */
function reduced(x: Float): { remainder: Float; quadrant: number } {
  if (top(x) < -1) return { remainder: x, quadrant: 0 };
  const half = { significand: SHORT_PI, exponent: SHORT_PI_EXPONENT - 1 };
  const exponent = Math.min(x.exponent, half.exponent);
  const a = x.significand << BigInt(x.exponent - exponent);
  const b = half.significand << BigInt(half.exponent - exponent);
  const quotient = (2n * a + b) / (2n * b);
  const left = a - quotient * b;
  const turns = x.negative ? -quotient : quotient;
  const negative = left < 0n !== x.negative;
  return {
    remainder: finite(negative, left < 0n ? -left : left, exponent),
    quadrant: Number(((turns % 4n) + 4n) % 4n),
  };
}

function sineOf(x: Float): Float {
  if (x.kind === 'zero') return x;
  if (top(x) < TINY) return nearly(x, -1);
  const r = fixed(x);
  const square = scaled(r * r);
  return number(series(r, (term, n) => -scaled(term * square) / BigInt(2 * n * (2 * n + 1))));
}

function cosineOf(x: Float): Float {
  if (x.kind === 'zero') return finite(false, 1n, 0);
  if (top(x) < TINY) return nearly(finite(false, 1n, 0), -1);
  const r = fixed(x);
  const square = scaled(r * r);
  return number(series(ONE, (term, n) => -scaled(term * square) / BigInt(2 * n * (2 * n - 1))));
}

const negate = (x: Float): Float => ({ ...x, negative: !x.negative });

/** sin x of a finite x other than zero. */
export function sine(x: Float): Float {
  const { remainder, quadrant } = reduced(x);
  const value = quadrant & 1 ? cosineOf(remainder) : sineOf(remainder);
  return quadrant & 2 ? negate(value) : value;
}

/** cos x. */
export function cosine(x: Float): Float {
  const { remainder, quadrant } = reduced(x);
  const value = quadrant & 1 ? sineOf(remainder) : cosineOf(remainder);
  return quadrant === 1 || quadrant === 2 ? negate(value) : value;
}

/** a / b with plenty of bits; both go on behind their last. */
function ratio(a: Float, b: Float): Float {
  const lift = Math.max(0, 200 + bitLength(b.significand) - bitLength(a.significand));
  const quotient = (a.significand << BigInt(lift)) / b.significand;
  return finite(
    a.negative !== b.negative,
    (quotient << 1n) | 1n,
    a.exponent - b.exponent - lift - 1,
  );
}

/** tan x of a finite x other than zero. */
export function tangent(x: Float): Float {
  const { remainder, quadrant } = reduced(x);
  if (quadrant === 0 && top(x) < TINY) return nearly(x, 1);
  const s = sineOf(remainder);
  const c = cosineOf(remainder);
  return quadrant & 1 ? negate(ratio(c, s)) : ratio(s, c);
}

/** arctan of fixed 0 ≤ t ≤ 1: halved until the series is short. */
function arctan(t: bigint): bigint {
  let z = t;
  let doublings = 0n;
  while (z > ONE >> 5n) {
    const root = integerRoot((ONE + scaled(z * z)) << BigInt(P));
    z = divideFixed(z, ONE + root);
    doublings++;
  }
  return arctanSeries(z) << doublings;
}

/** The angle of the point (x, y), neither of them zero nor infinite, in (-π, π). */
export function angle(y: Float, x: Float): Float {
  const apart = top(y) - top(x);
  if (apart < TINY && !x.negative) {
    const small = ratio(y, x);
    return { ...small, negative: y.negative };
  }
  const a = { ...y, negative: false };
  const b = { ...x, negative: false };
  // How far from the nearer axis, and so from 0, π/2 or π.
  const steep = apart > 0;
  const tangentValue = Math.abs(apart) > P ? 0n : fixed(steep ? ratio(b, a) : ratio(a, b));
  let value = arctan(tangentValue);
  if (steep) value = PI / 2n - value;
  if (x.negative) value = PI - value;
  return number(y.negative ? -value : value);
}

/** n/4 of π. */
export const quartersOfPi = (n: number, negative: boolean): Float => {
  const value = (PI * BigInt(n)) / 4n;
  return number(negative ? -value : value);
};

/** log2 of a positive number, in fixed point. Powers of two come out exact. */
function logarithm2(x: Float): bigint {
  const length = bitLength(x.significand);
  let exponent = BigInt(x.exponent + length - 1);
  let m = (x.significand << BigInt(P)) >> BigInt(length - 1);
  if (m === ONE) return exponent << BigInt(P);
  if (m > (ONE * 3n) / 2n) {
    m >>= 1n;
    exponent++;
  }
  const ln = logarithmSeries(divideFixed(m - ONE, m + ONE));
  return (exponent << BigInt(P)) + divideFixed(ln, LN2);
}

const isPowerOfTwo = ({ significand }: Float) => (significand & (significand - 1n)) === 0n;

/** y · log2 x for positive finite x other than 1 and finite y other than 0. */
export function yLog2(y: Float, x: Float): Float {
  const log = logarithm2(x);
  const sticky = isPowerOfTwo(x) ? 0n : 1n;
  const negative = log < 0n !== y.negative;
  const product = y.significand * (log < 0n ? -log : log);
  return finite(negative, (product << 1n) | sticky, y.exponent - P - 1);
}

/** y · log2(1 + x) for finite x above -1 and y, neither of them 0. */
export function yLog2p1(y: Float, x: Float): Float {
  if (top(x) >= TINY) {
    const sum = fixed(x) + ONE;
    return yLog2(y, finite(false, sum, -P));
  }
  const inverse = divideFixed(ONE, LN2);
  const product = ((x.significand * y.significand * inverse) << 1n) | 1n;
  return finite(x.negative !== y.negative, product, x.exponent + y.exponent - P - 1);
}

/** 2^x - 1 for |x| below 1, x not 0. */
export function exp2m1(x: Float): Float {
  if (top(x) < TINY) {
    return finite(x.negative, ((x.significand * LN2) << 1n) | 1n, x.exponent - P - 1);
  }
  const r = scaled(fixed(x) * LN2);
  return number(series(r, (term, n) => scaled(term * r) / BigInt(n + 1)));
}
