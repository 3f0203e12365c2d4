/**
 * 64-bit arithmetic on `bigint`, named once. Masks stay here: `BigInt.asUintN(n, x >> s)` may abort
 * optimised code in V8 11.3, `(x >> s) & mask` does not.
 */
export const MASK64 = 0xffff_ffff_ffff_ffffn;
export const MASK32 = 0xffff_ffffn;

/** The low `bytes` bytes, all ones, for the four operand sizes. */
export const SIZE_MASK: Readonly<Record<number, bigint>> = {
  1: 0xffn,
  2: 0xffffn,
  4: MASK32,
  8: MASK64,
  16: (1n << 128n) - 1n,
};

/** `value` modulo 2^64. */
export const u64 = (value: bigint): bigint => value & MASK64;

/** The low `width` bits of `value`, sign-extended to a signed number. */
export function signed(width: number, value: bigint): bigint {
  const w = BigInt(width);
  const low = value & ((1n << w) - 1n);
  return low >> (w - 1n) === 1n ? low - (1n << w) : low;
}

/** Below it, every address is canonical. */
const LOWER_HALF = 1n << 47n;

/** Whether `address` is canonical for `width`-bit linear addresses (48, or 57 with CR4.LA57). */
export const isCanonical = (address: bigint, width = 48): boolean =>
  address < LOWER_HALF || (signed(width, address) & MASK64) === address;
