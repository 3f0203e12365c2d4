import { toI8, toI16, toU8, toU16 } from './packed-integer.ts';
import type { Lanes, VectorFunction } from './vector.ts';

type Wide = Lanes | 'u64';

/** Lanes `from`, `from + 1`, … of both sources in turn, `count` of each. */
const interleave =
  (lanes: Wide, from: number, count: number): VectorFunction =>
  (r, a, b) => {
    for (let i = 0; i < count; i++) {
      r[lanes][2 * i] = a[lanes][from + i]!;
      r[lanes][2 * i + 1] = b[lanes][from + i]!;
    }
  };

/** Both sources made half as wide with saturation, `count` lanes of each. */
const pack =
  (
    from: 'i16' | 'i32',
    to: Lanes,
    saturate: (x: number) => number,
    count: number,
  ): VectorFunction =>
  (r, a, b) => {
    for (let i = 0; i < count; i++) {
      r[to][i] = saturate(a[from][i]!);
      r[to][count + i] = saturate(b[from][i]!);
    }
  };

/** Four lanes of `b` from `base` on, chosen by two bits of the immediate each; the others as they are. */
const chooseOf =
  (lanes: 'u16' | 'u32', base: number): VectorFunction =>
  (r, _a, b, imm) => {
    r.u32.set(b.u32);
    for (let i = 0; i < 4; i++) r[lanes][base + i] = b[lanes][base + ((imm >> (2 * i)) & 3)]!;
  };

const shuffleBytes =
  (count: 8 | 16): VectorFunction =>
  (r, a, b) => {
    for (let i = 0; i < count; i++) {
      const selector = b.u8[i]!;
      r.u8[i] = (selector & 0x80) !== 0 ? 0 : a.u8[selector & (count - 1)]!;
    }
  };

/** `count` bytes out of a:b, from byte `imm` of b on. */
const align =
  (count: 8 | 16): VectorFunction =>
  (r, a, b, imm) => {
    for (let i = 0; i < count; i++) {
      const from = i + imm;
      r.u8[i] = from < count ? b.u8[from]! : from < 2 * count ? a.u8[from - count]! : 0;
    }
  };

/** Lanes of `b` where the immediate has a one, of `a` elsewhere. */
const blend =
  (lanes: 'u16' | 'u32' | 'u64'): VectorFunction =>
  (r, a, b, imm) => {
    for (let i = 0; i < r[lanes].length; i++) r[lanes][i] = ((imm >> i) & 1 ? b : a)[lanes][i]!;
  };

/** Lanes of `b` where the top bit in `c` is one, of `a` elsewhere. */
const blendBy =
  (lanes: 'i8' | 'i32' | 'i64'): VectorFunction =>
  (r, a, b, _imm, c) => {
    for (let i = 0; i < r[lanes].length; i++) r[lanes][i] = (c[lanes][i]! < 0 ? b : a)[lanes][i]!;
  };

/** Bytes of `a` where the top bit in `b` is one, of `c` elsewhere: what a masked store leaves in memory. */
const maskedStore: VectorFunction = (r, a, b, _imm, c) => {
  for (let i = 0; i < 16; i++) r.u8[i] = (b.i8[i]! < 0 ? a : c).u8[i]!;
};

/** Lanes widened, from the low end of `b`. */
const extend =
  (from: Lanes, to: Lanes | 'i64' | 'u64'): VectorFunction =>
  (r, _a, b) => {
    if (to === 'i64' || to === 'u64') {
      for (let i = 0; i < 2; i++) r[to][i] = BigInt(b[from][i]!);
    } else for (let i = 0; i < r[to].length; i++) r[to][i] = b[from][i]!;
  };

/** The top bits of lanes, gathered. */
const signMask =
  (lanes: 'i8' | 'i32' | 'i64'): VectorFunction =>
  (r, _a, b) => {
    for (let i = 0; i < b[lanes].length; i++) if (b[lanes][i]! < 0) r.u32[0]! |= 1 << i;
  };

/** One lane of `a`, chosen by the immediate. */
const extract =
  (lanes: 'u8' | 'u16' | 'u32' | 'u64'): VectorFunction =>
  (r, a, _b, imm) => {
    r[lanes][0] = a[lanes][imm & (a[lanes].length - 1)]!;
  };

/** `a` with the lane that the immediate chooses replaced by the lowest of `b`; of so many lanes. */
const insert =
  (lanes: 'u8' | 'u16' | 'u32' | 'u64', count: number): VectorFunction =>
  (r, a, b, imm) => {
    r.u32.set(a.u32);
    r[lanes][imm & (count - 1)] = b[lanes][0]!;
  };

/** Vol. 2, "INSERTPS—Insert Scalar Single Precision Floating-Point Value": source, place, and what to clear. */
const insertSingle =
  (fromMemory: boolean): VectorFunction =>
  (r, a, b, imm) => {
    r.u32.set(a.u32);
    r.u32[(imm >> 4) & 3] = b.u32[fromMemory ? 0 : imm >> 6]!;
    for (let i = 0; i < 4; i++) if ((imm >> i) & 1) r.u32[i] = 0;
  };

/** Whether b AND a is zero in bit 0, whether b AND NOT a is in bit 1. */
const test: VectorFunction = (r, a, b) => {
  let and = 0;
  let andNot = 0;
  for (let i = 0; i < 4; i++) {
    and |= a.i32[i]! & b.i32[i]!;
    andNot |= ~a.i32[i]! & b.i32[i]!;
  }
  r.u32[0] = (and === 0 ? 1 : 0) | (andNot === 0 ? 2 : 0);
};

/** Moves, shuffles, packs and masks, by mnemonic; `.64` where MMX differs. */
// biome-ignore format: a table
export const PACKED_SHUFFLE: Readonly<Record<string, VectorFunction>> = {
  PUNPCKLBW: interleave('u8', 0, 8),   PUNPCKLWD: interleave('u16', 0, 4),  PUNPCKLDQ: interleave('u32', 0, 2),  PUNPCKLQDQ: interleave('u64', 0, 1),
  PUNPCKHBW: interleave('u8', 8, 8),   PUNPCKHWD: interleave('u16', 4, 4),  PUNPCKHDQ: interleave('u32', 2, 2),  PUNPCKHQDQ: interleave('u64', 1, 1),
  'PUNPCKLBW.64': interleave('u8', 0, 4), 'PUNPCKLWD.64': interleave('u16', 0, 2), 'PUNPCKLDQ.64': interleave('u32', 0, 1),
  'PUNPCKHBW.64': interleave('u8', 4, 4), 'PUNPCKHWD.64': interleave('u16', 2, 2), 'PUNPCKHDQ.64': interleave('u32', 1, 1),
  PACKSSWB: pack('i16', 'i8', toI8, 8),  PACKSSDW: pack('i32', 'i16', toI16, 4),  PACKUSWB: pack('i16', 'u8', toU8, 8),  PACKUSDW: pack('i32', 'u16', toU16, 4),
  'PACKSSWB.64': pack('i16', 'i8', toI8, 4), 'PACKSSDW.64': pack('i32', 'i16', toI16, 2), 'PACKUSWB.64': pack('i16', 'u8', toU8, 4),
  PSHUFD: chooseOf('u32', 0),  PSHUFLW: chooseOf('u16', 0),  PSHUFHW: chooseOf('u16', 4),  PSHUFW: chooseOf('u16', 0),
  PSHUFB: shuffleBytes(16),  'PSHUFB.64': shuffleBytes(8),  PALIGNR: align(16),  'PALIGNR.64': align(8),
  PBLENDVB: blendBy('i8'),  BLENDVPS: blendBy('i32'),  BLENDVPD: blendBy('i64'),  MASKMOV: maskedStore,
  PBLENDW: blend('u16'),  BLENDPS: blend('u32'),  BLENDPD: blend('u64'),
  PMOVSXBW: extend('i8', 'i16'),  PMOVSXBD: extend('i8', 'i32'),  PMOVSXBQ: extend('i8', 'i64'),  PMOVSXWD: extend('i16', 'i32'),  PMOVSXWQ: extend('i16', 'i64'),  PMOVSXDQ: extend('i32', 'i64'),
  PMOVZXBW: extend('u8', 'u16'),  PMOVZXBD: extend('u8', 'u32'),  PMOVZXBQ: extend('u8', 'u64'),  PMOVZXWD: extend('u16', 'u32'),  PMOVZXWQ: extend('u16', 'u64'),  PMOVZXDQ: extend('u32', 'u64'),
  PMOVMSKB: signMask('i8'),  MOVMSKPS: signMask('i32'),  MOVMSKPD: signMask('i64'),
  PEXTRB: extract('u8'),  PEXTRW: extract('u16'),  PEXTRD: extract('u32'),  PEXTRQ: extract('u64'),  EXTRACTPS: extract('u32'),
  'PEXTRW.64': (r, a, _b, imm) => { r.u16[0] = a.u16[imm & 3]!; },
  PINSRB: insert('u8', 16),  PINSRW: insert('u16', 8),  PINSRD: insert('u32', 4),  PINSRQ: insert('u64', 2),  'PINSRW.64': insert('u16', 4),
  INSERTPS: insertSingle(false),  'INSERTPS.mem': insertSingle(true),  PTEST: test,
  SHUFPS: (r, a, b, imm) => { for (let i = 0; i < 4; i++) r.u32[i] = (i < 2 ? a : b).u32[(imm >> (2 * i)) & 3]!; },
  SHUFPD: (r, a, b, imm) => { r.u64[0] = a.u64[imm & 1]!; r.u64[1] = b.u64[(imm >> 1) & 1]!; },
  UNPCKLPS: interleave('u32', 0, 2),  UNPCKHPS: interleave('u32', 2, 2),  UNPCKLPD: interleave('u64', 0, 1),  UNPCKHPD: interleave('u64', 1, 1),
  MOVSLDUP: (r, _a, b) => { for (let i = 0; i < 4; i++) r.u32[i] = b.u32[i & 2]!; },
  MOVSHDUP: (r, _a, b) => { for (let i = 0; i < 4; i++) r.u32[i] = b.u32[i | 1]!; },
  MOVDDUP: (r, _a, b) => { r.u64.fill(b.u64[0]!); },
};
