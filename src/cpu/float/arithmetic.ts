import { bitLength, type Float, finite, infinity, zero } from './format.ts';
import type { Rounding } from './round.ts';

/** What is no number: the operation is invalid, or divides by zero with the infinity as its result. */
export type Outcome = Float | 'invalid' | { readonly divided: Float };

/** Further apart than this, the smaller summand only decides on which side of the larger the sum lies. */
const FAR = 140;

/** The exact sum of two numbers that are no NaN; of a far smaller summand a stand-in is enough. */
export function add(a: Float, b: Float, rounding: Rounding): Outcome {
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    if (a.kind === b.kind && a.negative !== b.negative) return 'invalid';
    return a.kind === 'infinity' ? a : b;
  }
  if (a.kind === 'zero' && b.kind === 'zero') {
    return zero(a.negative === b.negative ? a.negative : rounding === 1);
  }
  if (a.kind === 'zero') return b;
  if (b.kind === 'zero') return a;

  const topOf = ({ significand, exponent }: Float) => exponent + bitLength(significand);
  const [large, small] = topOf(a) >= topOf(b) ? [a, b] : [b, a];
  if (topOf(large) - topOf(small) > FAR) {
    const lifted = large.significand << BigInt(FAR);
    const significand = large.negative === small.negative ? lifted + 1n : lifted - 1n;
    return finite(large.negative, significand, large.exponent - FAR);
  }
  const exponent = Math.min(a.exponent, b.exponent);
  const at = (x: Float) => {
    const significand = x.significand << BigInt(x.exponent - exponent);
    return x.negative ? -significand : significand;
  };
  const sum = at(a) + at(b);
  if (sum === 0n) return zero(rounding === 1);
  return finite(sum < 0n, sum < 0n ? -sum : sum, exponent);
}

export const negated = (x: Float): Float => ({ ...x, negative: !x.negative });

export const subtract = (a: Float, b: Float, rounding: Rounding): Outcome =>
  add(a, negated(b), rounding);

export function multiply(a: Float, b: Float): Outcome {
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    return a.kind === 'zero' || b.kind === 'zero' ? 'invalid' : infinity(negative);
  }
  return finite(negative, a.significand * b.significand, a.exponent + b.exponent);
}

/** More bits than any format keeps, for quotients and roots that go on for ever. */
const ENOUGH = 68;

/** The quotient with enough bits for rounding, the last of which tells whether there is a remainder. */
export function divide(a: Float, b: Float): Outcome {
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinity') return b.kind === 'infinity' ? 'invalid' : infinity(negative);
  if (b.kind === 'infinity') return zero(negative);
  if (b.kind === 'zero') return a.kind === 'zero' ? 'invalid' : { divided: infinity(negative) };
  if (a.kind === 'zero') return zero(negative);
  const lift = Math.max(0, ENOUGH + bitLength(b.significand) - bitLength(a.significand));
  const dividend = a.significand << BigInt(lift);
  const quotient = dividend / b.significand;
  const sticky = quotient * b.significand === dividend ? 0n : 1n;
  return finite(negative, (quotient << 1n) | sticky, a.exponent - b.exponent - lift - 1);
}

/** The square root, likewise. */
export function squareRoot(a: Float): Outcome {
  if (a.kind === 'zero') return a;
  if (a.negative) return 'invalid';
  if (a.kind === 'infinity') return a;
  let lift = Math.max(0, 2 * ENOUGH - bitLength(a.significand));
  if (((a.exponent - lift) & 1) !== 0) lift++;
  const radicand = a.significand << BigInt(lift);
  const root = integerRoot(radicand);
  const sticky = root * root === radicand ? 0n : 1n;
  return finite(false, (root << 1n) | sticky, (a.exponent - lift) / 2 - 1);
}

/** The largest integer whose square does not exceed `n`, by Newton's method from a double's root. */
export function integerRoot(n: bigint): bigint {
  if (n === 0n) return 0n;
  let root = BigInt(Math.floor(Math.sqrt(Number(n)))) + 1n;
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next === root || next === root + 1n) break;
    root = next;
  }
  while (root * root > n) root--;
  while ((root + 1n) * (root + 1n) <= n) root++;
  return root;
}

/** -1, 0 or 1 as `a` is less than, equal to or greater than `b`; neither is a NaN. */
export function compare(a: Float, b: Float): -1 | 0 | 1 {
  const sign = (x: Float) => (x.kind === 'zero' ? 0 : x.negative ? -1 : 1);
  if (sign(a) !== sign(b)) return sign(a) < sign(b) ? -1 : 1;
  if (sign(a) === 0) return 0;
  const magnitude = compareMagnitudes(a, b);
  return a.negative ? (-magnitude as -1 | 0 | 1) : magnitude;
}

function compareMagnitudes(a: Float, b: Float): -1 | 0 | 1 {
  if (a.kind !== b.kind) return a.kind === 'infinity' ? 1 : -1;
  if (a.kind === 'infinity') return 0;
  const tops = a.exponent + bitLength(a.significand) - b.exponent - bitLength(b.significand);
  if (tops !== 0) return tops < 0 ? -1 : 1;
  const exponent = Math.min(a.exponent, b.exponent);
  const x = a.significand << BigInt(a.exponent - exponent);
  const y = b.significand << BigInt(b.exponent - exponent);
  return x < y ? -1 : x > y ? 1 : 0;
}
