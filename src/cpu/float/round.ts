import { bitLength, type Float, type Format, finite, infinity, zero } from './format.ts';

/** Exception flags where MXCSR and the x87 status word have them. */
export const FLAG = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;

/** As RC encodes them: to nearest even, down, up, toward zero. */
export type Rounding = 0 | 1 | 2 | 3;

/** What arithmetic is done under, and what it reports. */
export interface Environment {
  readonly rounding: Rounding;
  /** Bits of significand that results keep, where that is less than the format has. */
  readonly precision?: number;
  /** A tiny result becomes zero. */
  readonly flushToZero?: boolean;
  /** x87: an unmasked overflow or underflow gives the result with its exponent moved by 24576. */
  readonly wrapped?: { readonly overflow: boolean; readonly underflow: boolean };
  /** Exceptions so far. */
  flags: number;
  /** Whether the last rounding was away from zero (C1). */
  roundedUp: boolean;
}

/** significand · 2^-shift as an integer. */
function shiftRight(significand: bigint, shift: number, negative: boolean, rounding: Rounding) {
  if (shift <= 0) return { value: significand << BigInt(-shift), inexact: false, up: false };
  const s = BigInt(shift);
  const down = significand >> s;
  const rest = significand - (down << s);
  const half = 1n << (s - 1n);
  const up =
    rest !== 0n &&
    (rounding === 0
      ? rest > half || (rest === half && (down & 1n) === 1n)
      : rounding === (negative ? 1 : 2));
  return { value: up ? down + 1n : down, inexact: rest !== 0n, up };
}

const WRAP = 24576;

/**
 * An exact finite number rounded to a format: what the format holds, exceptions noted. Tininess is detected after
 * rounding. Vol. 1, "Floating-Point Exceptions".
 */
export function round(env: Environment, format: Format, exact: Float): Float {
  const { negative, significand, exponent } = exact;
  if (exact.kind !== 'finite') return exact;
  const precision = Math.min(env.precision ?? format.precision, format.precision);
  const length = bitLength(significand);
  const free = shiftRight(significand, length - precision, negative, env.rounding);
  const top = exponent + length - 1 + (bitLength(free.value) > precision ? 1 : 0);
  const away = env.rounding === (negative ? 1 : 2);
  const moved = (move: number) =>
    finite(negative, free.value, exponent + length - precision + move);
  // FSCALE can go farther than moving makes up for. In other formats than the registers' the result is never used.
  const fits = (move: number) =>
    !format.explicit || (top + move >= format.least && top + move <= format.most);

  if (top > format.most) {
    env.flags |= FLAG.OE;
    if (env.wrapped?.overflow && fits(-WRAP)) {
      note(env, free);
      return moved(-WRAP);
    }
    env.flags |= FLAG.PE;
    env.roundedUp = env.rounding === 0 || away;
    if (env.roundedUp) return infinity(negative);
    return finite(negative, (1n << BigInt(precision)) - 1n, format.most - precision + 1);
  }
  if (exponent + length - 1 >= format.least) {
    note(env, free);
    return moved(0);
  }

  const tiny = top < format.least;
  if (tiny && env.wrapped?.underflow) {
    env.flags |= FLAG.UE;
    if (fits(WRAP)) {
      note(env, free);
      return moved(WRAP);
    }
  }
  if (tiny && env.flushToZero) {
    env.flags |= FLAG.UE | FLAG.PE;
    return zero(negative);
  }
  const lowest = format.least - (precision - 1);
  const graded = shiftRight(significand, lowest - exponent, negative, env.rounding);
  if (tiny && graded.inexact) env.flags |= FLAG.UE;
  note(env, graded);
  return finite(negative, graded.value, lowest);
}

function note(env: Environment, { inexact, up }: { inexact: boolean; up: boolean }): void {
  if (inexact) env.flags |= FLAG.PE;
  env.roundedUp = up;
}

/**
 * A number rounded to an integer, signed; undefined for what is none. `env` gets PE.
 */
export function toInteger(env: Environment, value: Float): bigint | undefined {
  if (value.kind === 'zero') return 0n;
  if (value.kind !== 'finite') return undefined;
  const { negative, significand, exponent } = value;
  // Nothing needs more than the fact that it is huge or next to nothing.
  if (exponent > 128) return negative ? -(1n << 128n) : 1n << 128n;
  const shift = Math.min(-exponent, bitLength(significand) + 2);
  const rounded = shiftRight(significand, shift, negative, env.rounding);
  note(env, rounded);
  return negative ? -rounded.value : rounded.value;
}
