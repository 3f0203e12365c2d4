import { describe, expect, it } from 'vitest';
import { isCanonical, signed, u64 } from '../../src/bits/u64.ts';

describe('64-bit numbers', () => {
  it('wrap at 2^64, both ways', () => {
    expect(u64(1n << 64n)).toBe(0n);
    expect(u64(-1n)).toBe(0xffff_ffff_ffff_ffffn);
  });

  it.each([
    [8, 0x80n, -128n],
    [8, 0x17fn, 127n],
    [32, 0xffff_ffffn, -1n],
    [48, 0x8000_0000_0000n, -0x8000_0000_0000n],
    [64, 0x7fff_ffff_ffff_ffffn, 0x7fff_ffff_ffff_ffffn],
  ])('sign-extend from %s bits: %s is %s', (width, value, expected) => {
    expect(signed(width, value)).toBe(expected);
  });

  it.each([
    [0x0000_7fff_ffff_ffffn, 48, true],
    [0x0000_8000_0000_0000n, 48, false],
    [0xffff_8000_0000_0000n, 48, true],
    [0x0000_8000_0000_0000n, 57, true],
    [0x0100_0000_0000_0000n, 57, false],
  ])('are canonical or not: %s at %s bits is %s', (address, width, expected) => {
    expect(isCanonical(address, width)).toBe(expected);
  });
});
