import { type Lanes, map, map64, type VectorFunction } from './vector.ts';

const clamp = (low: number, high: number) => (value: number) =>
  Math.max(low, Math.min(high, value));

/** Signed and unsigned saturation. Vol. 1, "Saturation and Wraparound Modes". */
export const toI8 = clamp(-0x80, 0x7f);
export const toU8 = clamp(0, 0xff);
export const toI16 = clamp(-0x8000, 0x7fff);
export const toU16 = clamp(0, 0xffff);

const add = (x: number, y: number) => x + y;
const sub = (x: number, y: number) => x - y;
const mask = (c: boolean) => (c ? -1 : 0);
const equal = (x: number, y: number) => mask(x === y);
const greater = (x: number, y: number) => mask(x > y);
const average = (x: number, y: number) => (x + y + 1) >> 1;
const sign = (x: number, y: number) => (y < 0 ? -x : y === 0 ? 0 : x);
const low32 = 0xffff_ffffn;

/** Shifts by the low 64 bits of the second vector; from the width on, nothing is left but the sign. */
const shift = (
  lanes: Lanes,
  width: number,
  of: (x: number, count: number) => number,
  arithmetic = false,
) =>
  ((r, a, b) => {
    const far = b.u32[1] !== 0 || b.u32[0]! >= width;
    if (far && !arithmetic) return;
    const count = far ? width - 1 : b.u32[0]!;
    for (let i = 0; i < r[lanes].length; i++) r[lanes][i] = of(a[lanes][i]!, count);
  }) satisfies VectorFunction;

const shift64 =
  (of: (x: bigint, count: bigint) => bigint): VectorFunction =>
  (r, a, b) => {
    const count = b.u64[0]!;
    if (count > 63n) return;
    for (let i = 0; i < 2; i++) r.u64[i] = of(a.u64[i]!, count);
  };

/** Bytes of the whole vector, towards higher (-) or lower addresses. */
const shiftBytes =
  (direction: 1 | -1): VectorFunction =>
  (r, a, b) => {
    const by = Math.min(b.u32[0]!, 16) * direction;
    for (let i = 0; i < 16; i++) r.u8[i] = a.u8[i + by] ?? 0;
  };

/** Products of neighbouring lanes, added. */
const multiplyAdd: VectorFunction = (r, a, b) => {
  for (let i = 0; i < 4; i++) {
    r.i32[i] = a.i16[2 * i]! * b.i16[2 * i]! + a.i16[2 * i + 1]! * b.i16[2 * i + 1]!;
  }
};

const multiplyAddBytes: VectorFunction = (r, a, b) => {
  for (let i = 0; i < 8; i++) {
    r.i16[i] = toI16(a.u8[2 * i]! * b.i8[2 * i]! + a.u8[2 * i + 1]! * b.i8[2 * i + 1]!);
  }
};

/** Sums of absolute differences, one per eight bytes. */
const sumOfDifferences: VectorFunction = (r, a, b) => {
  for (let i = 0; i < 16; i++) r.u32[(i >> 3) * 2]! += Math.abs(a.u8[i]! - b.u8[i]!);
};

/** Eight sums over four bytes: a sliding window of `a` against one group of `b`. */
const multipleSums: VectorFunction = (r, a, b, imm) => {
  const from = (imm & 4) !== 0 ? 4 : 0;
  const group = (imm & 3) * 4;
  for (let i = 0; i < 8; i++) {
    for (let k = 0; k < 4; k++) r.u16[i]! += Math.abs(a.u8[from + i + k]! - b.u8[group + k]!);
  }
};

/** Neighbouring lanes of `a`, then of `b`; `half` lanes from each. */
const horizontal =
  (lanes: 'i16' | 'i32', half: number, of: (x: number, y: number) => number): VectorFunction =>
  (r, a, b) => {
    for (let i = 0; i < half; i++) {
      r[lanes][i] = of(a[lanes][2 * i]!, a[lanes][2 * i + 1]!);
      r[lanes][half + i] = of(b[lanes][2 * i]!, b[lanes][2 * i + 1]!);
    }
  };
const addSaturated = (x: number, y: number) => toI16(x + y);
const subSaturated = (x: number, y: number) => toI16(x - y);

/** The smallest word, and where it stands. */
const smallestWord: VectorFunction = (r, _a, b) => {
  const least = Math.min(...b.u16);
  r.u16[0] = least;
  r.u16[1] = b.u16.indexOf(least);
};

/** Packed integer arithmetic, comparison and shifts, by mnemonic; `.64` where MMX differs. */
// biome-ignore format: a table
export const PACKED_INTEGER: Readonly<Record<string, VectorFunction>> = {
  PADDB: map('u8', add),    PADDW: map('u16', add),    PADDD: map('u32', add),    PADDQ: map64((x, y) => x + y),
  PSUBB: map('u8', sub),    PSUBW: map('u16', sub),    PSUBD: map('u32', sub),    PSUBQ: map64((x, y) => x - y),
  PADDSB:  map('i8', (x, y) => toI8(x + y)),   PADDSW:  map('i16', addSaturated),
  PSUBSB:  map('i8', (x, y) => toI8(x - y)),   PSUBSW:  map('i16', subSaturated),
  PADDUSB: map('u8', (x, y) => toU8(x + y)),   PADDUSW: map('u16', (x, y) => toU16(x + y)),
  PSUBUSB: map('u8', (x, y) => toU8(x - y)),   PSUBUSW: map('u16', (x, y) => toU16(x - y)),
  PAND: map64((x, y) => x & y),   PANDN: map64((x, y) => ~x & y),   POR: map64((x, y) => x | y),   PXOR: map64((x, y) => x ^ y),
  PCMPEQB: map('i8', equal),     PCMPEQW: map('i16', equal),     PCMPEQD: map('i32', equal),     PCMPEQQ: map64((x, y) => (x === y ? -1n : 0n)),
  PCMPGTB: map('i8', greater),   PCMPGTW: map('i16', greater),   PCMPGTD: map('i32', greater),
  PCMPGTQ: (r, a, b) => { for (let i = 0; i < 2; i++) r.i64[i] = a.i64[i]! > b.i64[i]! ? -1n : 0n; },
  PAVGB: map('u8', average),     PAVGW: map('u16', average),
  PMINUB: map('u8', Math.min),   PMINUW: map('u16', Math.min),   PMINUD: map('u32', Math.min),
  PMAXUB: map('u8', Math.max),   PMAXUW: map('u16', Math.max),   PMAXUD: map('u32', Math.max),
  PMINSB: map('i8', Math.min),   PMINSW: map('i16', Math.min),   PMINSD: map('i32', Math.min),
  PMAXSB: map('i8', Math.max),   PMAXSW: map('i16', Math.max),   PMAXSD: map('i32', Math.max),
  PSIGNB: map('i8', sign),       PSIGNW: map('i16', sign),       PSIGND: map('i32', sign),
  PABSB: map('i8', (_, y) => Math.abs(y)),   PABSW: map('i16', (_, y) => Math.abs(y)),   PABSD: map('i32', (_, y) => Math.abs(y)),
  PMULLW: map('i16', Math.imul),  PMULLD: map('i32', Math.imul),
  PMULHW: map('i16', (x, y) => (x * y) >> 16),  PMULHUW: map('u16', (x, y) => (x * y) / 0x1_0000),
  PMULHRSW: map('i16', (x, y) => (((x * y) >> 14) + 1) >> 1),
  PMULUDQ: map64((x, y) => (x & low32) * (y & low32)),
  PMULDQ: (r, a, b) => { for (let i = 0; i < 2; i++) r.i64[i] = BigInt(a.i32[2 * i]!) * BigInt(b.i32[2 * i]!); },
  PMADDWD: multiplyAdd,  PMADDUBSW: multiplyAddBytes,  PSADBW: sumOfDifferences,  MPSADBW: multipleSums,  PHMINPOSUW: smallestWord,
  PHADDW: horizontal('i16', 4, add),  PHADDD: horizontal('i32', 2, add),  PHADDSW: horizontal('i16', 4, addSaturated),
  PHSUBW: horizontal('i16', 4, sub),  PHSUBD: horizontal('i32', 2, sub),  PHSUBSW: horizontal('i16', 4, subSaturated),
  'PHADDW.64': horizontal('i16', 2, add),  'PHADDD.64': horizontal('i32', 1, add),  'PHADDSW.64': horizontal('i16', 2, addSaturated),
  'PHSUBW.64': horizontal('i16', 2, sub),  'PHSUBD.64': horizontal('i32', 1, sub),  'PHSUBSW.64': horizontal('i16', 2, subSaturated),
  PSLLW: shift('u16', 16, (x, n) => x << n),   PSLLD: shift('u32', 32, (x, n) => x << n),   PSLLQ: shift64((x, n) => x << n),
  PSRLW: shift('u16', 16, (x, n) => x >> n),   PSRLD: shift('u32', 32, (x, n) => x >>> n),  PSRLQ: shift64((x, n) => x >> n),
  PSRAW: shift('i16', 16, (x, n) => x >> n, true),   PSRAD: shift('i32', 32, (x, n) => x >> n, true),
  PSLLDQ: shiftBytes(-1),  PSRLDQ: shiftBytes(1),
};
