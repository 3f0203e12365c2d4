import type { Assist } from '../assist.ts';
import { Fault } from '../fault.ts';
import { DOUBLE, type Float, type Format, isNan, SINGLE, unpack, zero } from '../float/format.ts';
import { type Environment, FLAG, type Rounding } from '../float/round.ts';
import { STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import { slots, Vector } from './vector.ts';

/** Fields of MXCSR. Vol. 1, "MXCSR Control and Status Register". */
const DAZ = 1 << 6;
const MASKS = 7;
const RC = 13;
const FTZ = 1 << 15;
const FLAGS = 0x3f;
const CR4_OSXMMEXCPT = 1 << 10;

/** What one SIMD floating-point instruction is done under. */
export interface SimdEnvironment extends Environment {
  /** Exceptions found before computing; if one of them is unmasked, those of the result are not looked at. */
  before: number;
  readonly denormalsAreZero: boolean;
  /** Round to nearest, all masked, PE set already: nothing but the value of an ordinary result matters. */
  readonly carefree: boolean;
}

const ALL_MASKED = FLAGS << MASKS;

function environment(mxcsr: number): SimdEnvironment {
  const unmasked = ~(mxcsr >> MASKS) & FLAGS;
  return {
    rounding: ((mxcsr >> RC) & 3) as Rounding,
    flushToZero: (mxcsr & FTZ) !== 0 && (unmasked & FLAG.UE) === 0,
    wrapped: { overflow: (unmasked & FLAG.OE) !== 0, underflow: (unmasked & FLAG.UE) !== 0 },
    denormalsAreZero: (mxcsr & DAZ) !== 0,
    carefree: (mxcsr & ~(FLAGS | FTZ | DAZ)) === ALL_MASKED && (mxcsr & FLAG.PE) !== 0,
    flags: 0,
    before: 0,
    roundedUp: false,
  };
}

/** Sets the sticky flags, and raises what is unmasked. Vol. 1, "SIMD Floating-Point Exceptions". */
function raise(state: State, { before, flags }: SimdEnvironment): void {
  const mxcsr = state.get32(STATE.MXCSR);
  const unmasked = ~(mxcsr >> MASKS) & FLAGS;
  const raised = (before & unmasked) !== 0 ? before : before | flags;
  state.set32(STATE.MXCSR, mxcsr | raised);
  if ((raised & unmasked) === 0) return;
  throw new Fault((state.get32(STATE.CR4) & CR4_OSXMMEXCPT) !== 0 ? '#XM' : '#UD');
}

/** A function of two vectors under MXCSR that fills `r`; `a` is what the destination held. */
export type SimdFunction = (
  env: SimdEnvironment,
  r: Vector,
  a: Vector,
  b: Vector,
  imm: number,
) => void;

const result = new Vector();

/** The assist of such a function. Faults leave MXCSR's flags set, as the processor does, and nothing else. */
export const simdAssist =
  (compute: SimdFunction): Assist =>
  (state) => {
    const [a, b, imm] = slots(state) as readonly [Vector, Vector, Vector];
    const env = environment(state.get32(STATE.MXCSR));
    result.u32.fill(0);
    compute(env, result, a, b, imm.u8[0]!);
    raise(state, env);
    a.u32.set(result.u32);
  };

/** The lanes of a vector in one format. */
export interface LaneFormat {
  readonly format: Format;
  readonly numbers: 'f32' | 'f64';
  readonly lanes: number;
  /** Least normal number, and how a double is rounded to the format. */
  readonly least: number;
  readonly nearest: (x: number) => number;
  readonly get: (v: Vector, i: number) => bigint;
  readonly set: (v: Vector, i: number, bits: bigint) => void;
}

export const SINGLES: LaneFormat = {
  format: SINGLE,
  numbers: 'f32',
  lanes: 4,
  least: 2 ** -126,
  nearest: Math.fround,
  get: (v, i) => BigInt(v.u32[i]!),
  set: (v, i, bits) => {
    v.u32[i] = Number(bits);
  },
};

export const DOUBLES: LaneFormat = {
  format: DOUBLE,
  numbers: 'f64',
  lanes: 2,
  least: 2 ** -1022,
  nearest: (x) => x,
  get: (v, i) => v.u64[i]!,
  set: (v, i, bits) => {
    v.u64[i] = bits;
  },
};

/** An operand; denormals are zeros if MXCSR wants it. */
export function input(env: SimdEnvironment, format: Format, bits: bigint): Float {
  const value = unpack(format, bits);
  return value.denormal && env.denormalsAreZero ? zero(value.negative) : value;
}

/** Notes the operands' own exceptions, as far as every operation has them: signaling NaNs. */
export function noteNans(env: SimdEnvironment, ...operands: readonly Float[]): boolean {
  if (operands.some(({ kind }) => kind === 'signaling')) env.before |= FLAG.IE;
  return operands.some(isNan);
}

export function noteDenormals(env: SimdEnvironment, ...operands: readonly Float[]): void {
  if (operands.some(({ denormal }) => denormal)) env.before |= FLAG.DE;
}
