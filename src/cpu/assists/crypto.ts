import type { Vector, VectorFunction } from './vector.ts';

/** Multiplication by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. FIPS 197. */
const timesX = (b: number) => ((b << 1) ^ (b & 0x80 ? 0x1b : 0)) & 0xff;

function product(a: number, b: number): number {
  let sum = 0;
  for (let i = 0; i < 8; i++, a = timesX(a)) if ((b >> i) & 1) sum ^= a;
  return sum;
}

const rotate8 = (b: number, n: number) => ((b << n) | (b >> (8 - n))) & 0xff;
const inverse = (a: number) => {
  for (let b = 0; b < 256; b++) if (product(a, b) === 1) return b;
  return 0;
};

/** The substitution of AES: inversion and an affine map; and its inverse. */
const SBOX = Uint8Array.from({ length: 256 }, (_, a) => {
  const b = inverse(a);
  return b ^ rotate8(b, 1) ^ rotate8(b, 2) ^ rotate8(b, 3) ^ rotate8(b, 4) ^ 0x63;
});
const INVERSE_SBOX = new Uint8Array(256);
for (const [a, b] of SBOX.entries()) INVERSE_SBOX[b] = a;

/** Columns of four bytes times a circulant matrix with this first row. */
function mixColumns(bytes: Uint8Array, row: readonly number[]): void {
  for (let column = 0; column < 16; column += 4) {
    const old = bytes.slice(column, column + 4);
    for (let i = 0; i < 4; i++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum ^= product(old[k]!, row[(k - i + 4) & 3]!);
      bytes[column + i] = sum;
    }
  }
}
const MIX = [2, 3, 1, 1];
const INVERSE_MIX = [14, 11, 13, 9];

/** One round: rows shifted, bytes substituted, columns mixed unless it is the last, key added. */
const round =
  (box: Uint8Array, direction: 1 | -1, mix: readonly number[] | undefined): VectorFunction =>
  (r, a, b) => {
    for (let i = 0; i < 16; i++) {
      const column = (i >> 2) + direction * (i & 3);
      r.u8[i] = box[a.u8[((column & 3) << 2) | (i & 3)]!]!;
    }
    if (mix) mixColumns(r.u8, mix);
    xor(r, b);
  };

function xor(r: Vector, b: Vector): void {
  for (let i = 0; i < 4; i++) r.u32[i]! ^= b.u32[i]!;
}

const substituteWord = (word: number) => {
  const byte = (i: number) => SBOX[(word >>> (8 * i)) & 0xff]! << (8 * i);
  return byte(0) | byte(1) | byte(2) | byte(3);
};

const keyAssist: VectorFunction = (r, _a, b, imm) => {
  for (const i of [0, 2]) {
    const word = substituteWord(b.u32[i + 1]!);
    r.u32[i] = word;
    r.u32[i + 1] = ror(word, 8) ^ imm;
  }
};

/** Product of polynomials over GF(2), of one half of each source. */
const carryLess: VectorFunction = (r, a, b, imm) => {
  const x = a.u64[imm & 1]!;
  const y = b.u64[(imm >> 4) & 1]!;
  let sum = 0n;
  for (let i = 0n; i < 64n; i++) if ((y >> i) & 1n) sum ^= x << i;
  r.u64[0] = sum & 0xffff_ffff_ffff_ffffn;
  r.u64[1] = sum >> 64n;
};

const ror = (x: number, n: number) => (x >>> n) | (x << (32 - n));
const rol = (x: number, n: number) => ror(x, 32 - n);

const choose = (x: number, y: number, z: number) => (x & y) ^ (~x & z);
const parity = (x: number, y: number, z: number) => x ^ y ^ z;
const majority = (x: number, y: number, z: number) => (x & y) ^ (x & z) ^ (y & z);

/** FIPS 180: the functions and constants of the four groups of SHA-1 rounds. */
const SHA1 = [
  [choose, 0x5a82_7999],
  [parity, 0x6ed9_eba1],
  [majority, 0x8f1b_bcdc],
  [parity, 0xca62_c1d6],
] as const;

/** Four rounds of SHA-1: A to D in `a` from the top, W0+E to W3 in `b`. */
const sha1Rounds: VectorFunction = (r, a, b, imm) => {
  const [of, k] = SHA1[imm & 3]!;
  let [d, c, bb, aa] = a.i32 as unknown as [number, number, number, number];
  let e = 0;
  for (let i = 3; i >= 0; i--) {
    const next = (of(bb, c, d) + rol(aa, 5) + b.i32[i]! + e + k) | 0;
    [e, d, c, bb, aa] = [d, c, rol(bb, 30), aa, next];
  }
  r.i32.set([d, c, bb, aa]);
};

const sha1Next: VectorFunction = (r, a, b) => {
  r.u32.set(b.u32);
  r.i32[3]! += rol(a.i32[3]!, 30);
};

const sha1Message1: VectorFunction = (r, a, b) => {
  const w = [a.i32[3]!, a.i32[2]!, a.i32[1]!, a.i32[0]!, b.i32[3]!, b.i32[2]!] as const;
  for (let i = 0; i < 4; i++) r.i32[3 - i] = w[i + 2]! ^ w[i]!;
};

const sha1Message2: VectorFunction = (r, a, b) => {
  const w16 = rol(a.i32[3]! ^ b.i32[2]!, 1);
  const w17 = rol(a.i32[2]! ^ b.i32[1]!, 1);
  const w18 = rol(a.i32[1]! ^ b.i32[0]!, 1);
  r.i32.set([rol(a.i32[0]! ^ w16, 1), w18, w17, w16]);
};

const sigma = (x: number, i: number, j: number, shift: number) =>
  ror(x, i) ^ ror(x, j) ^ (x >>> shift);
const sum = (x: number, i: number, j: number, k: number) => ror(x, i) ^ ror(x, j) ^ ror(x, k);

/** Two rounds of SHA-256: C D G H in `a`, A B E F in `b`, message and constants in `c`; from the top. */
const sha256Rounds: VectorFunction = (r, a, b, _imm, c) => {
  let [h, g, d, cc] = a.i32 as unknown as [number, number, number, number];
  let [f, e, bb, aa] = b.i32 as unknown as [number, number, number, number];
  for (let i = 0; i < 2; i++) {
    const t = (choose(e, f, g) + sum(e, 6, 11, 25) + c.i32[i]! + h) | 0;
    const next = (t + majority(aa, bb, cc) + sum(aa, 2, 13, 22)) | 0;
    [h, g, f, e, d, cc, bb, aa] = [g, f, e, (d + t) | 0, cc, bb, aa, next];
  }
  r.i32.set([f, e, bb, aa]);
};

const sha256Message1: VectorFunction = (r, a, b) => {
  for (let i = 0; i < 4; i++) {
    const next = i < 3 ? a.i32[i + 1]! : b.i32[0]!;
    r.i32[i] = a.i32[i]! + sigma(next, 7, 18, 3);
  }
};

const sha256Message2: VectorFunction = (r, a, b) => {
  const s1 = (x: number) => sigma(x, 17, 19, 10);
  const w16 = (a.i32[0]! + s1(b.i32[2]!)) | 0;
  const w17 = (a.i32[1]! + s1(b.i32[3]!)) | 0;
  r.i32.set([w16, w17, a.i32[2]! + s1(w16), a.i32[3]! + s1(w17)]);
};

/** AES, carry-less multiplication, SHA-1 and SHA-256, by mnemonic. */
// biome-ignore format: a table
export const CRYPTO: Readonly<Record<string, VectorFunction>> = {
  AESENC: round(SBOX, 1, MIX),                  AESENCLAST: round(SBOX, 1, undefined),
  AESDEC: round(INVERSE_SBOX, -1, INVERSE_MIX), AESDECLAST: round(INVERSE_SBOX, -1, undefined),
  AESIMC: (r, _a, b) => { r.u8.set(b.u8); mixColumns(r.u8, INVERSE_MIX); },
  AESKEYGENASSIST: keyAssist,  PCLMULQDQ: carryLess,
  SHA1RNDS4: sha1Rounds,  SHA1NEXTE: sha1Next,  SHA1MSG1: sha1Message1,  SHA1MSG2: sha1Message2,
  SHA256RNDS2: sha256Rounds,  SHA256MSG1: sha256Message1,  SHA256MSG2: sha256Message2,
};
