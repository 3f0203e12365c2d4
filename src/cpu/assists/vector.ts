import { type Assist, slot } from '../assist.ts';
import type { State } from '../state/state.ts';

/** Sixteen bytes seen as lanes of every kind. */
export class Vector {
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly i64: BigInt64Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;

  constructor(buffer: ArrayBufferLike = new ArrayBuffer(16), offset = 0) {
    this.u8 = new Uint8Array(buffer, offset, 16);
    this.i8 = new Int8Array(buffer, offset, 16);
    this.u16 = new Uint16Array(buffer, offset, 8);
    this.i16 = new Int16Array(buffer, offset, 8);
    this.u32 = new Uint32Array(buffer, offset, 4);
    this.i32 = new Int32Array(buffer, offset, 4);
    this.u64 = new BigUint64Array(buffer, offset, 2);
    this.i64 = new BigInt64Array(buffer, offset, 2);
    this.f32 = new Float32Array(buffer, offset, 4);
    this.f64 = new Float64Array(buffer, offset, 2);
  }
}

const ARGUMENTS = 5;
const views = new WeakMap<State, readonly Vector[]>();

/** The argument slots of a state as vectors. */
export function slots(state: State): readonly Vector[] {
  let vectors = views.get(state);
  if (!vectors) {
    vectors = Array.from(
      { length: ARGUMENTS },
      (_, i) => new Vector(state.view.buffer, state.view.byteOffset + state.base + slot(i)),
    );
    views.set(state, vectors);
  }
  return vectors;
}

/** A function of two vectors and an immediate byte, or of three vectors; it fills `r`, which starts as zeros. */
export type VectorFunction = (r: Vector, a: Vector, b: Vector, imm: number, c: Vector) => void;

const result = new Vector();

/** The assist that computes a vector function of the first two slots, the immediate or third vector in the third. */
export const vectorAssist =
  (compute: VectorFunction): Assist =>
  (state) => {
    const [a, b, c] = slots(state) as readonly [Vector, Vector, Vector];
    result.u32.fill(0);
    compute(result, a, b, c.u8[0]!, c);
    a.u32.set(result.u32);
  };

export type Lanes = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32';

/** Lane by lane; what the function gives wraps to the lane's width. */
export const map =
  (lanes: Lanes, of: (x: number, y: number) => number): VectorFunction =>
  (r, a, b) => {
    const [x, y, z] = [a[lanes], b[lanes], r[lanes]];
    for (let i = 0; i < z.length; i++) z[i] = of(x[i]!, y[i]!);
  };

/** The same on 64-bit lanes. */
export const map64 =
  (of: (x: bigint, y: bigint) => bigint): VectorFunction =>
  (r, a, b) => {
    for (let i = 0; i < 2; i++) r.u64[i] = of(a.u64[i]!, b.u64[i]!);
  };
