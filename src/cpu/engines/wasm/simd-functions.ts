import type { FunctionWriter } from './assembler/function-writer.ts';
import type { Opcode } from './assembler/opcodes.ts';

/** A vector function under way: its arguments, each put on the stack when asked for. */
export interface SimdArguments {
  readonly f: FunctionWriter;
  a(): void;
  b(): void;
  /** The immediate, an i32. */
  imm(): void;
}

type Write = (at: SimdArguments) => void;

const bytes = (of: (i: number) => number): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => of(i));
const ZERO = bytes(() => 0);
const IOTA = bytes((i) => i);

/** One instruction of the host on both vectors. */
const both =
  (op: Opcode): Write =>
  ({ f, a, b }) => {
    a();
    b();
    f.op(op);
  };

/** One on the second vector alone. */
const second =
  (...ops: Opcode[]): Write =>
  ({ f, b }) => {
    b();
    f.op(...ops);
  };

/** Bytes 0–15 of a and 16–31 of b. */
const shuffle =
  (lane: (i: number) => number): Write =>
  ({ f, a, b }) => {
    a();
    b();
    f.shuffle([...bytes(lane)]);
  };

/** Lanes of `size` bytes from byte `from` on of both vectors in turn. */
const interleave = (size: number, from: number): Write =>
  shuffle((i) => {
    const lane = Math.floor(i / size);
    return (lane & 1) * 16 + from + (lane >> 1) * size + (i % size);
  });

/** A shift by the low 64 bits of b; from `width` on nothing is left, or with `arithmetic` only the sign. */
const shift =
  (op: Opcode, width: number, arithmetic = false): Write =>
  ({ f, a, b }) => {
    const count = f.local('i64');
    b();
    f.lane64('extract', 0).set(count);
    const far = () =>
      f
        .get(count)
        .i64(width - 1)
        .op('i64.gt_u');
    a();
    if (arithmetic) {
      f.i64(width - 1).get(count);
      far();
      f.op('select', 'i32.wrap_i64', op);
    } else {
      f.get(count).op('i32.wrap_i64', op).set(resultOf(f));
      f.v128(ZERO).get(resultOf(f));
      far();
      f.op('select');
    }
  };

/** One scratch vector per function is enough: no two are alive at once. */
const results = new WeakMap<FunctionWriter, number>();
function resultOf(f: FunctionWriter): number {
  const local = results.get(f) ?? f.local('v128');
  results.set(f, local);
  return local;
}

/** min(count, 16), of a shift by bytes. */
const byteCount = ({ f, b }: SimdArguments): void => {
  const count = f.local('i32');
  b();
  f.lane64('extract', 0).op('i32.wrap_i64').set(count);
  f.get(count).i32(16).get(count).i32(16).op('i32.lt_u', 'select');
};

/** Bytes move to higher (sub) or lower (add) places: an index that leaves 0–15 selects a zero. */
const shiftBytes =
  (op: 'i8x16.add' | 'i8x16.sub'): Write =>
  (at) => {
    at.a();
    at.f.v128(IOTA);
    byteCount(at);
    at.f.op('i8x16.splat', op, 'i8x16.swizzle');
  };

/** Four doublewords chosen by two bits of the immediate each, the first two from `low`, the others from `high`. */
const chooseDoublewords =
  (low: 'a' | 'b', high: 'a' | 'b'): Write =>
  (at) => {
    const { f } = at;
    // Two indices make the byte numbers of eight bytes: index · 04040404H + 03020100H, twice.
    const pair = (first: number) => {
      for (const i of [first, first + 1]) {
        at.imm();
        f.i32(2 * i)
          .op('i32.shr_u')
          .i32(3)
          .op('i32.and')
          .i32(0x0404_0404)
          .op('i32.mul')
          .i32(0x0302_0100);
        f.op('i32.add', 'i64.extend_i32_u');
        if (i !== first) f.i64(32).op('i64.shl', 'i64.or');
      }
    };
    at[low]();
    if (low === high) {
      pair(0);
      f.op('i64x2.splat');
      pair(2);
      f.lane64('replace', 1).op('i8x16.swizzle');
      return;
    }
    // Indices of 255 select zeros, so the halves can be joined by OR.
    pair(0);
    f.op('i64x2.splat').i64(-1).lane64('replace', 1).op('i8x16.swizzle');
    at[high]();
    pair(2);
    f.op('i64x2.splat').i64(-1).lane64('replace', 0).op('i8x16.swizzle', 'v128.or');
  };

/** The even doublewords of both, multiplied to quadwords. */
const multiplyEven =
  (op: Opcode): Write =>
  ({ f, a, b }) => {
    for (const vector of [a, b]) {
      vector();
      vector();
      f.shuffle([0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]);
    }
    f.op(op);
  };

/** Bit 0: b AND a is zero; bit 1: b AND NOT a is. */
const test: Write = ({ f, a, b }) => {
  b();
  a();
  f.op('v128.and', 'v128.any_true', 'i32.eqz');
  b();
  a();
  f.op('v128.andnot', 'v128.any_true', 'i32.eqz').i32(1).op('i32.shl', 'i32.or');
};

/** Vector functions that the host's SIMD computes exactly, by their names in cpu/assists. All others are TypeScript. */
// biome-ignore format: a table
export const SIMD_FUNCTIONS: Readonly<Record<string, Write>> = {
  PADDB: both('i8x16.add'),   PADDW: both('i16x8.add'),   PADDD: both('i32x4.add'),   PADDQ: both('i64x2.add'),
  PSUBB: both('i8x16.sub'),   PSUBW: both('i16x8.sub'),   PSUBD: both('i32x4.sub'),   PSUBQ: both('i64x2.sub'),
  PADDSB: both('i8x16.add_sat_s'),   PADDSW: both('i16x8.add_sat_s'),   PSUBSB: both('i8x16.sub_sat_s'),   PSUBSW: both('i16x8.sub_sat_s'),
  PADDUSB: both('i8x16.add_sat_u'),  PADDUSW: both('i16x8.add_sat_u'),  PSUBUSB: both('i8x16.sub_sat_u'),  PSUBUSW: both('i16x8.sub_sat_u'),
  PAND: both('v128.and'),   POR: both('v128.or'),   PXOR: both('v128.xor'),
  PANDN: ({ f, a, b }) => { b(); a(); f.op('v128.andnot'); },
  PCMPEQB: both('i8x16.eq'),    PCMPEQW: both('i16x8.eq'),    PCMPEQD: both('i32x4.eq'),    PCMPEQQ: both('i64x2.eq'),
  PCMPGTB: both('i8x16.gt_s'),  PCMPGTW: both('i16x8.gt_s'),  PCMPGTD: both('i32x4.gt_s'),  PCMPGTQ: both('i64x2.gt_s'),
  PAVGB: both('i8x16.avgr_u'),  PAVGW: both('i16x8.avgr_u'),
  PMINUB: both('i8x16.min_u'),  PMINUW: both('i16x8.min_u'),  PMINUD: both('i32x4.min_u'),
  PMAXUB: both('i8x16.max_u'),  PMAXUW: both('i16x8.max_u'),  PMAXUD: both('i32x4.max_u'),
  PMINSB: both('i8x16.min_s'),  PMINSW: both('i16x8.min_s'),  PMINSD: both('i32x4.min_s'),
  PMAXSB: both('i8x16.max_s'),  PMAXSW: both('i16x8.max_s'),  PMAXSD: both('i32x4.max_s'),
  PABSB: second('i8x16.abs'),   PABSW: second('i16x8.abs'),   PABSD: second('i32x4.abs'),
  PMULLW: both('i16x8.mul'),    PMULLD: both('i32x4.mul'),    PMADDWD: both('i32x4.dot_i16x8_s'),
  PMULUDQ: multiplyEven('i64x2.extmul_low_i32x4_u'),          PMULDQ: multiplyEven('i64x2.extmul_low_i32x4_s'),
  PSLLW: shift('i16x8.shl', 16),    PSLLD: shift('i32x4.shl', 32),    PSLLQ: shift('i64x2.shl', 64),
  PSRLW: shift('i16x8.shr_u', 16),  PSRLD: shift('i32x4.shr_u', 32),  PSRLQ: shift('i64x2.shr_u', 64),
  PSRAW: shift('i16x8.shr_s', 16, true),                              PSRAD: shift('i32x4.shr_s', 32, true),
  PSLLDQ: shiftBytes('i8x16.sub'),  PSRLDQ: shiftBytes('i8x16.add'),
  PUNPCKLBW: interleave(1, 0),  PUNPCKLWD: interleave(2, 0),  PUNPCKLDQ: interleave(4, 0),  PUNPCKLQDQ: interleave(8, 0),
  PUNPCKHBW: interleave(1, 8),  PUNPCKHWD: interleave(2, 8),  PUNPCKHDQ: interleave(4, 8),  PUNPCKHQDQ: interleave(8, 8),
  UNPCKLPS: interleave(4, 0),   UNPCKHPS: interleave(4, 8),   UNPCKLPD: interleave(8, 0),   UNPCKHPD: interleave(8, 8),
  PACKSSWB: both('i8x16.narrow_i16x8_s'),  PACKUSWB: both('i8x16.narrow_i16x8_u'),
  PACKSSDW: both('i16x8.narrow_i32x4_s'),  PACKUSDW: both('i16x8.narrow_i32x4_u'),
  PSHUFB: ({ f, a, b }) => { a(); b(); f.v128(bytes(() => 0x8f)).op('v128.and', 'i8x16.swizzle'); },
  PSHUFD: chooseDoublewords('b', 'b'),     SHUFPS: chooseDoublewords('a', 'b'),
  PMOVZXBW: second('i16x8.extend_low_i8x16_u'),  PMOVZXWD: second('i32x4.extend_low_i16x8_u'),  PMOVZXDQ: second('i64x2.extend_low_i32x4_u'),
  PMOVSXBW: second('i16x8.extend_low_i8x16_s'),  PMOVSXWD: second('i32x4.extend_low_i16x8_s'),  PMOVSXDQ: second('i64x2.extend_low_i32x4_s'),
};

/** The same of those that give bits: an i32. */
// biome-ignore format: a table
export const SIMD_MASKS: Readonly<Record<string, Write>> = {
  PMOVMSKB: second('i8x16.bitmask'),  MOVMSKPS: second('i32x4.bitmask'),  MOVMSKPD: second('i64x2.bitmask'),  PTEST: test,
};
