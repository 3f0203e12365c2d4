import type { SimdFunction } from './simd-float.ts';

const LEAST_NORMAL = 2 ** -126;

/**
 * RCPPS and RSQRTPS as Intel's processors compute them: a table of 2048 entries, each the function at the middle of its
 * interval rounded to 13 bits. (Found by looking at every input on one; the manual promises 1.5 · 2^-12.)
 */
const approximate =
  (of: 'reciprocal' | 'root', lanes: number): SimdFunction =>
  (_env, r, _a, b) => {
    for (let i = 0; i < lanes; i++) r.u32[i] = approximation(of, b.u32[i]!);
  };

function approximation(of: 'reciprocal' | 'root', bits: number): number {
  const sign = bits & 0x8000_0000;
  const exponent = (bits >>> 23) & 0xff;
  const fraction = bits & 0x7f_ffff;
  if (exponent === 0xff && fraction !== 0) return bits | 0x40_0000;
  if (exponent === 0) return sign | 0x7f80_0000;
  if (of === 'root' && sign !== 0) return 0xffc0_0000;
  if (exponent === 0xff) return sign;
  if (of === 'reciprocal') {
    const middle = 1 + ((fraction >>> 12) + 0.5) / 2048;
    const value = (Math.round(8192 / middle) / 8192) * 2 ** (127 - exponent);
    return value < LEAST_NORMAL ? sign : sign | singleBits(value);
  }
  const odd = (exponent - 127) & 1;
  const middle = (1 + ((fraction >>> 13) + 0.5) / 1024) * (odd ? 2 : 1);
  const value = Math.round(8192 / Math.sqrt(middle)) / 8192;
  return singleBits(value * 2 ** (-(exponent - 127 - odd) / 2));
}

const scratch = new Float32Array(1);
function singleBits(value: number): number {
  scratch[0] = value;
  return new Uint32Array(scratch.buffer)[0]!;
}

/** Approximations, by mnemonic. They raise nothing and look at no mode. */
export const SIMD_APPROXIMATE: Readonly<Record<string, SimdFunction>> = {
  RCPPS: approximate('reciprocal', 4),
  RCPSS: approximate('reciprocal', 1),
  RSQRTPS: approximate('root', 4),
  RSQRTSS: approximate('root', 1),
};
