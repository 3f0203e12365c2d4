import { describe, expect, it } from 'vitest';
import {
  FLAG_CARRY,
  flagKind,
  holds,
  readStatusFlags,
  statusFlags,
  writeStatusFlags,
} from '../../src/cpu/flags.ts';
import { FlatMachine } from './flat-machine.ts';

const CF = 0x001;
const PF = 0x004;
const AF = 0x010;
const ZF = 0x040;
const SF = 0x080;
const OF = 0x800;

const evenParity = (byte: number) => byte.toString(2).replaceAll('0', '').length % 2 === 0;
const common = (result: number) =>
  (evenParity(result & 255) ? PF : 0) | ((result & 255) === 0 ? ZF : 0) | (result & 0x80 ? SF : 0);
const signed8 = (byte: number) => (byte << 24) >> 24;
const outside = (value: number) => value < -128 || value > 127;

describe('lazy status flags', () => {
  it('of every 8-bit addition with either carry are those of the sum', () => {
    const wrong: string[] = [];
    for (let x = 0; x < 256; x++)
      for (let y = 0; y < 256; y++)
        for (const carry of [0, 1]) {
          const expected =
            common(x + y + carry) |
            (x + y + carry > 255 ? CF : 0) |
            ((x & 15) + (y & 15) + carry > 15 ? AF : 0) |
            (outside(signed8(x) + signed8(y) + carry) ? OF : 0);
          const kind = flagKind('ADD', 1) | (carry * FLAG_CARRY);
          if (Number(statusFlags(kind, BigInt(x), BigInt(y))) !== expected)
            wrong.push(`${x} + ${y} + ${carry}`);
        }
    expect(wrong).toEqual([]);
  });

  it('of every 8-bit subtraction with either borrow are those of the difference', () => {
    const wrong: string[] = [];
    for (let x = 0; x < 256; x++)
      for (let y = 0; y < 256; y++)
        for (const borrow of [0, 1]) {
          const expected =
            common(x - y - borrow) |
            (x < y + borrow ? CF : 0) |
            ((x & 15) < (y & 15) + borrow ? AF : 0) |
            (outside(signed8(x) - signed8(y) - borrow) ? OF : 0);
          const kind = flagKind('SUB', 1) | (borrow * FLAG_CARRY);
          if (Number(statusFlags(kind, BigInt(x), BigInt(y))) !== expected)
            wrong.push(`${x} − ${y} − ${borrow}`);
        }
    expect(wrong).toEqual([]);
  });

  // biome-ignore format: a table
  it.each([
    ['INC to 80H overflows',                     'INC', 1, 0x80n,                  0n,     SF | AF | OF],
    ['INC to 0 keeps CF',                        'INC', 1, 0n,                     'CF',   ZF | PF | AF | CF],
    ['DEC to 7FH overflows',                     'DEC', 1, 0x7fn,                  0n,     AF | OF],
    ['DEC to FFFFFFFFH borrows from the digit',  'DEC', 4, 0xffff_ffffn,           0n,     SF | PF | AF],
    ['a logical zero clears CF and OF',          'LOGIC', 8, 0n,                   0n,     ZF | PF],
    ['parity is of the low byte only',           'LOGIC', 2, 0x0100n,              0n,     PF],
    ['a result with CF and OF beside it',        'RESULT', 8, 0x8000_0000_0000_0000n, 0x801n, SF | PF | CF | OF],
    ['a result takes ZF from its value',         'RESULT', 4, 1n,                  0x40n,  0],
    ['raw flags are as they stand',              'RAW', 4, 0x8d5n,                 0n,     CF | PF | AF | ZF | SF | OF],
    ['raw flags leave out the others',           'RAW', 4, 0xffff_f72an,           0n,     0],
  ] as const)('%s', (_name, kind, size, x, y, expected) => {
    const carry = y === 'CF' ? FLAG_CARRY : 0;
    expect(Number(statusFlags(flagKind(kind, size) | carry, x, y === 'CF' ? 0n : y))).toBe(expected);
  });

  it('read back as they were written', () => {
    const { state } = new FlatMachine();
    for (const flags of [0n, 0x8d5n, 0x41n, 0x890n]) {
      writeStatusFlags(state, flags | 0x702n);
      expect(readStatusFlags(state)).toBe(flags);
    }
  });
});

describe('condition codes', () => {
  // biome-ignore format: a table
  it.each([
    ['O',  0x0, OF, 0],       ['B',  0x2, CF, 0],            ['E',  0x4, ZF, 0],   ['BE', 0x6, ZF, SF],
    ['BE', 0x6, CF, 0],       ['S',  0x8, SF, 0],            ['P',  0xa, PF, 0],   ['L',  0xc, SF, SF | OF],
    ['L',  0xc, OF, 0],       ['LE', 0xe, ZF | SF | OF, SF | OF],                  ['LE', 0xe, SF, 0],
  ])('%s holds and fails, its negation the other way round', (_name, code, yes, no) => {
    expect(holds(code, BigInt(yes))).toBe(true);
    expect(holds(code, BigInt(no))).toBe(false);
    expect(holds(code | 1, BigInt(yes))).toBe(false);
    expect(holds(code | 1, BigInt(no))).toBe(true);
  });
});
