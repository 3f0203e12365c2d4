import { type Format, finite, pack, quieted } from '../float/format.ts';
import { FLAG, round, toInteger } from '../float/round.ts';
import {
  DOUBLES,
  input,
  type LaneFormat,
  noteDenormals,
  noteNans,
  SINGLES,
  type SimdEnvironment,
  type SimdFunction,
} from './simd-float.ts';
import type { Vector } from './vector.ts';

/** The lanes of signed integers. */
interface IntegerLanes {
  readonly width: 32 | 64;
  readonly get: (v: Vector, i: number) => bigint;
  readonly set: (v: Vector, i: number, value: bigint) => void;
}

const INT32: IntegerLanes = {
  width: 32,
  get: (v, i) => BigInt(v.i32[i]!),
  set: (v, i, value) => {
    v.i32[i] = Number(value);
  },
};

const INT64: IntegerLanes = {
  width: 64,
  get: (v, i) => v.i64[i]!,
  set: (v, i, value) => {
    v.i64[i] = value;
  },
};

function fromInteger(env: SimdEnvironment, format: Format, value: bigint): bigint {
  return pack(format, round(env, format, finite(value < 0n, value < 0n ? -value : value, 0)));
}

/** A number as an integer, or the integer indefinite. Denormals raise nothing of their own. */
function integerOf(env: SimdEnvironment, format: Format, bits: bigint, width: number): bigint {
  const before = env.flags;
  const value = toInteger(env, input(env, format, bits));
  const limit = 1n << BigInt(width - 1);
  if (value !== undefined && value >= -limit && value < limit) return value;
  env.flags = before;
  env.before |= FLAG.IE;
  return -limit;
}

const intoIntegers =
  (from: LaneFormat, to: IntegerLanes, lanes: number, truncate: boolean): SimdFunction =>
  (env, r, _a, b) => {
    const inner: SimdEnvironment = truncate ? { ...env, rounding: 3 } : env;
    for (let i = 0; i < lanes; i++) {
      to.set(r, i, integerOf(inner, from.format, from.get(b, i), to.width));
    }
    env.flags = inner.flags;
    env.before = inner.before;
  };

const fromIntegers =
  (from: IntegerLanes, to: LaneFormat, lanes: number): SimdFunction =>
  (env, r, _a, b) => {
    for (let i = 0; i < lanes; i++) to.set(r, i, fromInteger(env, to.format, from.get(b, i)));
  };

const betweenFormats =
  (from: LaneFormat, to: LaneFormat, lanes: number): SimdFunction =>
  (env, r, _a, b) => {
    for (let i = 0; i < lanes; i++) {
      const x = input(env, from.format, from.get(b, i));
      if (noteNans(env, x)) to.set(r, i, pack(to.format, quieted(x)));
      else {
        noteDenormals(env, x);
        to.set(r, i, pack(to.format, round(env, to.format, x)));
      }
    }
  };

/** Conversions, by mnemonic; where a general register has two widths, with it. */
// biome-ignore format: a table
export const SIMD_CONVERT: Readonly<Record<string, SimdFunction>> = {
  'CVTSI2SS.4': fromIntegers(INT32, SINGLES, 1),  'CVTSI2SS.8': fromIntegers(INT64, SINGLES, 1),
  'CVTSI2SD.4': fromIntegers(INT32, DOUBLES, 1),  'CVTSI2SD.8': fromIntegers(INT64, DOUBLES, 1),
  CVTPI2PS: fromIntegers(INT32, SINGLES, 2),      CVTPI2PD: fromIntegers(INT32, DOUBLES, 2),
  CVTDQ2PS: fromIntegers(INT32, SINGLES, 4),      CVTDQ2PD: fromIntegers(INT32, DOUBLES, 2),

  'CVTSS2SI.4': intoIntegers(SINGLES, INT32, 1, false),   'CVTSS2SI.8': intoIntegers(SINGLES, INT64, 1, false),
  'CVTSD2SI.4': intoIntegers(DOUBLES, INT32, 1, false),   'CVTSD2SI.8': intoIntegers(DOUBLES, INT64, 1, false),
  'CVTTSS2SI.4': intoIntegers(SINGLES, INT32, 1, true),   'CVTTSS2SI.8': intoIntegers(SINGLES, INT64, 1, true),
  'CVTTSD2SI.4': intoIntegers(DOUBLES, INT32, 1, true),   'CVTTSD2SI.8': intoIntegers(DOUBLES, INT64, 1, true),
  CVTPS2PI: intoIntegers(SINGLES, INT32, 2, false),       CVTTPS2PI: intoIntegers(SINGLES, INT32, 2, true),
  CVTPD2PI: intoIntegers(DOUBLES, INT32, 2, false),       CVTTPD2PI: intoIntegers(DOUBLES, INT32, 2, true),
  CVTPS2DQ: intoIntegers(SINGLES, INT32, 4, false),       CVTTPS2DQ: intoIntegers(SINGLES, INT32, 4, true),
  CVTPD2DQ: intoIntegers(DOUBLES, INT32, 2, false),       CVTTPD2DQ: intoIntegers(DOUBLES, INT32, 2, true),

  CVTSS2SD: betweenFormats(SINGLES, DOUBLES, 1),  CVTPS2PD: betweenFormats(SINGLES, DOUBLES, 2),
  CVTSD2SS: betweenFormats(DOUBLES, SINGLES, 1),  CVTPD2PS: betweenFormats(DOUBLES, SINGLES, 2),
};
