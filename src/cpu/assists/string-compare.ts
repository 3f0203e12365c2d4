import type { Assist } from '../assist.ts';
import { slots, type Vector } from './vector.ts';

/** Vol. 2, "Imm8 Control Byte Operation for PCMPESTRI/PCMPESTRM/PCMPISTRI/PCMPISTRM". */
const FORMATS = ['u8', 'u16', 'i8', 'i16'] as const;
type Text = Uint8Array | Uint16Array | Int8Array | Int16Array;

/** The status flags. */
const CF = 1;
const ZF = 1 << 6;
const SF = 1 << 7;
const OF = 1 << 11;

/** Whether character `j` of `b` matches, given as many valid characters as there are of each. */
type Aggregation = (a: Text, la: number, b: Text, lb: number, j: number) => boolean;

const some = (count: number, of: (i: number) => boolean): boolean => {
  for (let i = 0; i < count; i++) if (of(i)) return true;
  return false;
};

const equalAny: Aggregation = (a, la, b, lb, j) => j < lb && some(la, (i) => a[i] === b[j]);

const ranges: Aggregation = (a, la, b, lb, j) =>
  j < lb && some(la >> 1, (i) => a[2 * i]! <= b[j]! && b[j]! <= a[2 * i + 1]!);

const equalEach: Aggregation = (a, la, b, lb, j) =>
  j < la && j < lb ? a[j] === b[j] : j >= la && j >= lb;

/** Whether `a` begins at `j`; what would lie behind the end of the register counts as found. */
const equalOrdered: Aggregation = (a, la, b, lb, j) =>
  !some(Math.min(la, b.length - j), (i) => j + i >= lb || a[i] !== b[j + i]);

const AGGREGATIONS = [equalAny, ranges, equalEach, equalOrdered] as const;

/** IntRes2: a bit for each character of `b`. */
function matches(a: Text, la: number, b: Text, lb: number, imm: number): number {
  const aggregate = AGGREGATIONS[(imm >> 2) & 3]!;
  let bits = 0;
  for (let j = 0; j < b.length; j++) {
    const negated = (imm & 0x10) !== 0 && ((imm & 0x20) === 0 || j < lb);
    if (aggregate(a, la, b, lb, j) !== negated) bits |= 1 << j;
  }
  return bits;
}

/** Characters before the first zero. */
const implicitLength = (text: Text): number => {
  const end = text.indexOf(0);
  return end < 0 ? text.length : end;
};

/** The magnitude of a signed length, at most what fits. */
const explicitLength = (v: Vector, most: number): number => {
  const length = v.i64[0]!;
  const magnitude = length < 0n ? -length : length;
  return magnitude > BigInt(most) ? most : Number(magnitude);
};

/**
 * (a, b, immediate, length of a, length of b) to (index or mask, status flags); without lengths, strings end in zeros.
 * A length is a signed quadword.
 */
const comparison =
  (explicit: boolean, wanted: 'index' | 'mask'): Assist =>
  (state) => {
    const [x, y, control, ...lengths] = slots(state) as readonly [
      Vector,
      Vector,
      Vector,
      Vector,
      Vector,
    ];
    const imm = control.u8[0]!;
    const format = FORMATS[imm & 3]!;
    const [a, b] = [x[format], y[format]];
    const length = (text: Text, i: 0 | 1) =>
      explicit ? explicitLength(lengths[i], text.length) : implicitLength(text);
    const la = length(a, 0);
    const lb = length(b, 1);
    const bits = matches(a, la, b, lb, imm);
    const flags =
      (bits !== 0 ? CF : 0) |
      (lb < b.length ? ZF : 0) |
      (la < a.length ? SF : 0) |
      (bits & 1 ? OF : 0);
    const most = (imm & 0x40) !== 0;
    const count = b.length;
    x.u32.fill(0);
    if (wanted === 'index') {
      x.u32[0] = bits === 0 ? count : most ? 31 - Math.clz32(bits) : 31 - Math.clz32(bits & -bits);
    } else if (most) {
      const lanes = count === 16 ? x.i8 : x.i16;
      for (let j = 0; j < count; j++) lanes[j] = (bits >> j) & 1 ? -1 : 0;
    } else x.u32[0] = bits;
    y.u32.fill(0);
    y.u32[0] = flags;
  };

/** The string comparisons of SSE4.2. */
export const STRING_COMPARE = {
  PCMPESTRI: comparison(true, 'index'),
  PCMPESTRM: comparison(true, 'mask'),
  PCMPISTRI: comparison(false, 'index'),
  PCMPISTRM: comparison(false, 'mask'),
} as const;
