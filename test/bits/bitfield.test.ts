import { describe, expect, it } from 'vitest';
import {
  bit,
  bits,
  extract,
  insert,
  isSet,
  lowest,
  maskOf,
  ones,
} from '../../src/bits/bitfield.ts';

describe('a bit field', () => {
  it('is written high bit first, as the manual writes it', () => {
    expect(bits(15, 8)).toBe(0xff00n);
    expect(bit(63)).toBe(0x8000_0000_0000_0000n);
    expect(ones(48)).toBe(0xffff_ffff_ffffn);
    expect(maskOf(bit(0), bits(33, 32))).toBe(0x3_0000_0001n);
  });

  it('is taken out and put back without touching its neighbours', () => {
    expect(extract(0x0053_4fc4n, bits(15, 8))).toBe(0x4fn);
    expect(insert(0x0053_4fc4n, bits(15, 8), 0x11n)).toBe(0x0053_11c4n);
    expect(insert(0n, bits(3, 0), 0x1fn)).toBe(0xfn);
    expect(isSet(0x10n, bit(4))).toBe(true);
    expect(isSet(0x10n, bits(3, 0))).toBe(false);
  });

  it('has a lowest bit, or is refused', () => {
    expect(lowest(bits(47, 40))).toBe(40n);
    expect(() => lowest(0n)).toThrow(RangeError);
  });
});
