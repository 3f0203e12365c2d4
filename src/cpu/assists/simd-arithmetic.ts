import {
  add,
  compare,
  divide,
  multiply,
  type Outcome,
  squareRoot,
  subtract,
} from '../float/arithmetic.ts';
import { type Float, finite, INDEFINITE, isNan, pack, quieted, zero } from '../float/format.ts';
import { FLAG, type Rounding, round, toInteger } from '../float/round.ts';
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

/** An operation: exactly, and as the host's doubles have it to nearest. */
interface Operation {
  readonly exact: (a: Float, b: Float, rounding: Rounding) => Outcome;
  readonly host: (x: number, y: number) => number;
}

// biome-ignore format: a table
const ADD: Operation = { exact: add,                       host: (x, y) => x + y };
const SUB: Operation = { exact: subtract, host: (x, y) => x - y };
const MUL: Operation = { exact: multiply, host: (x, y) => x * y };
const DIV: Operation = { exact: divide, host: (x, y) => x / y };
const SQRT: Operation = { exact: (_, b) => squareRoot(b), host: (_, y) => Math.sqrt(y) };

/** Vol. 1, "Results of Operations with NaN Operands": the first operand that is a NaN. */
const nanOf = (a: Float, b: Float): Float => quieted(isNan(a) ? a : b);

/** One operation on bits. Results of unmasked exceptions are never used. */
function operate(
  env: SimdEnvironment,
  { format }: LaneFormat,
  { exact }: Operation,
  aBits: bigint,
  bBits: bigint,
): bigint {
  const a = input(env, format, aBits);
  const b = input(env, format, bBits);
  if (noteNans(env, a, b)) return pack(format, nanOf(a, b));
  const outcome = exact(a, b, env.rounding);
  if (outcome === 'invalid') {
    env.before |= FLAG.IE;
    return pack(format, INDEFINITE);
  }
  if ('divided' in outcome) {
    env.before |= FLAG.ZE;
    return pack(format, outcome.divided);
  }
  noteDenormals(env, a, b);
  return pack(format, round(env, format, outcome));
}

/** Numbers that raise nothing but PE and come out as the host rounds them. */
const ordinary = (x: number, least: number): boolean => {
  const size = Math.abs(x);
  return (size > least && size < Infinity) || x === 0;
};

function operateLane(
  env: SimdEnvironment,
  shape: LaneFormat,
  operation: Operation,
  r: Vector,
  a: Vector,
  b: Vector,
  i: number,
): void {
  if (env.carefree) {
    const x = a[shape.numbers][i]!;
    const y = b[shape.numbers][i]!;
    const z = shape.nearest(operation.host(x, y));
    if (
      z !== 0 &&
      ordinary(z, shape.least) &&
      ordinary(x, shape.least) &&
      ordinary(y, shape.least)
    ) {
      r[shape.numbers][i] = z;
      return;
    }
  }
  shape.set(r, i, operate(env, shape, operation, shape.get(a, i), shape.get(b, i)));
}

const each =
  (shape: LaneFormat, operation: Operation, lanes = shape.lanes): SimdFunction =>
  (env, r, a, b) => {
    for (let i = 0; i < lanes; i++) operateLane(env, shape, operation, r, a, b, i);
  };

/** A root has only the source as operand. */
const root =
  (shape: LaneFormat, lanes = shape.lanes): SimdFunction =>
  (env, r, _a, b) => {
    for (let i = 0; i < lanes; i++) operateLane(env, shape, SQRT, r, b, b, i);
  };

/** Vol. 2, "MINPS—Minimum of Packed Single Precision Floating-Point Values": the source unless the destination is better. */
const extreme =
  (shape: LaneFormat, better: -1 | 1, lanes = shape.lanes): SimdFunction =>
  (env, r, a, b) => {
    for (let i = 0; i < lanes; i++) {
      const x = input(env, shape.format, shape.get(a, i));
      const y = input(env, shape.format, shape.get(b, i));
      let chosen = y;
      if (isNan(x) || isNan(y)) env.before |= FLAG.IE;
      else {
        noteDenormals(env, x, y);
        if (compare(x, y) === better) chosen = x;
      }
      shape.set(r, i, pack(shape.format, chosen));
    }
  };

/** CMPxx predicates: on less, equal, greater, unordered; and which of them signal on quiet NaNs. */
// biome-ignore format: a table
const PREDICATES = [
  { holds: '=', signals: false }, { holds: '<', signals: true },    { holds: '<=', signals: true },  { holds: '?', signals: false },
  { holds: '<>?', signals: false }, { holds: '=>?', signals: true }, { holds: '>?', signals: true }, { holds: '<=>', signals: false },
] as const;

const ORDER = { '-1': '<', 0: '=', 1: '>' } as const;

/** How two numbers stand, exceptions noted. */
function relation(
  env: SimdEnvironment,
  x: Float,
  y: Float,
  signals: boolean,
): '<' | '=' | '>' | '?' {
  if (noteNans(env, x, y)) {
    if (signals) env.before |= FLAG.IE;
    return '?';
  }
  noteDenormals(env, x, y);
  return ORDER[compare(x, y)];
}

const predicate =
  (shape: LaneFormat, lanes = shape.lanes): SimdFunction =>
  (env, r, a, b, imm) => {
    const { holds, signals } = PREDICATES[imm & 7]!;
    for (let i = 0; i < lanes; i++) {
      const x = input(env, shape.format, shape.get(a, i));
      const y = input(env, shape.format, shape.get(b, i));
      const yes = holds.includes(relation(env, x, y, signals));
      shape.set(r, i, yes ? (1n << BigInt(128 / shape.lanes)) - 1n : 0n);
    }
  };

const CF = 1;
const PF = 4;
const ZF = 64;
const COMPARED = { '<': CF, '=': ZF, '>': 0, '?': ZF | PF | CF } as const;

/** COMISx and UCOMISx: the status flags. */
const ordered =
  (shape: LaneFormat, signals: boolean): SimdFunction =>
  (env, r, a, b) => {
    const x = input(env, shape.format, shape.get(a, 0));
    const y = input(env, shape.format, shape.get(b, 0));
    r.u32[0] = COMPARED[relation(env, x, y, signals)];
  };

/** Neighbours of `a`, then of `b`. */
const horizontal =
  (shape: LaneFormat, operation: Operation): SimdFunction =>
  (env, r, a, b) => {
    const half = shape.lanes / 2;
    for (let i = 0; i < shape.lanes; i++) {
      const from = i < half ? a : b;
      const k = 2 * (i % half);
      shape.set(r, i, operate(env, shape, operation, shape.get(from, k), shape.get(from, k + 1)));
    }
  };

/** Odd lanes added, even lanes subtracted. */
const alternating =
  (shape: LaneFormat): SimdFunction =>
  (env, r, a, b) => {
    for (let i = 0; i < shape.lanes; i++) operateLane(env, shape, i & 1 ? ADD : SUB, r, a, b, i);
  };

/** Vol. 2, "DPPS—Dot Product of Packed Single Precision Floating-Point Values". */
const dotProduct =
  (shape: LaneFormat): SimdFunction =>
  (env, r, a, b, imm) => {
    const products = Array.from({ length: shape.lanes }, (_, i) =>
      (imm >> (4 + i)) & 1 ? operate(env, shape, MUL, shape.get(a, i), shape.get(b, i)) : 0n,
    );
    // The order matters where there are several NaNs. Each lane adds in its own, as Intel's processors do.
    let sums = products;
    for (let apart = 1; apart < shape.lanes; apart *= 2) {
      const last = sums;
      const swapped = apart < shape.lanes / 2;
      sums = last.map((x, i) => {
        const y = last[i ^ apart]!;
        return swapped ? operate(env, shape, ADD, y, x) : operate(env, shape, ADD, x, y);
      });
    }
    for (let i = 0; i < shape.lanes; i++) shape.set(r, i, (imm >> i) & 1 ? sums[i]! : 0n);
  };

/** Vol. 2, "ROUNDPS—Round Packed Single Precision Floating-Point Values": RC in the immediate, or MXCSR's. */
const toIntegral =
  (shape: LaneFormat, lanes = shape.lanes): SimdFunction =>
  (env, r, _a, b, imm) => {
    const inner = { ...env, rounding: ((imm & 4) !== 0 ? env.rounding : imm & 3) as Rounding };
    for (let i = 0; i < lanes; i++) {
      const x = input(env, shape.format, shape.get(b, i));
      let value = x;
      if (noteNans(env, x)) value = quieted(x);
      else if (x.kind === 'finite' && x.exponent < 0) {
        const integer = toInteger(inner, x)!;
        value =
          integer === 0n
            ? zero(x.negative)
            : finite(x.negative, integer < 0n ? -integer : integer, 0);
      }
      shape.set(r, i, pack(shape.format, value));
    }
    if ((imm & 8) === 0) env.flags |= inner.flags;
  };

/** The four forms of an arithmetic instruction. */
const forms = <const M extends string>(
  name: M,
  of: (shape: LaneFormat, lanes?: number) => SimdFunction,
) => ({
  [`${name}PS`]: of(SINGLES),
  [`${name}PD`]: of(DOUBLES),
  [`${name}SS`]: of(SINGLES, 1),
  [`${name}SD`]: of(DOUBLES, 1),
});

/** Floating-point arithmetic and comparisons, by mnemonic. */
export const SIMD_ARITHMETIC: Readonly<Record<string, SimdFunction>> = {
  ...forms('ADD', (shape, lanes) => each(shape, ADD, lanes)),
  ...forms('SUB', (shape, lanes) => each(shape, SUB, lanes)),
  ...forms('MUL', (shape, lanes) => each(shape, MUL, lanes)),
  ...forms('DIV', (shape, lanes) => each(shape, DIV, lanes)),
  ...forms('SQRT', root),
  ...forms('MIN', (shape, lanes) => extreme(shape, -1, lanes)),
  ...forms('MAX', (shape, lanes) => extreme(shape, 1, lanes)),
  ...forms('CMP', predicate),
  ...forms('ROUND', toIntegral),
  COMISS: ordered(SINGLES, true),
  COMISD: ordered(DOUBLES, true),
  UCOMISS: ordered(SINGLES, false),
  UCOMISD: ordered(DOUBLES, false),
  HADDPS: horizontal(SINGLES, ADD),
  HADDPD: horizontal(DOUBLES, ADD),
  HSUBPS: horizontal(SINGLES, SUB),
  HSUBPD: horizontal(DOUBLES, SUB),
  ADDSUBPS: alternating(SINGLES),
  ADDSUBPD: alternating(DOUBLES),
  DPPS: dotProduct(SINGLES),
  DPPD: dotProduct(DOUBLES),
};
