import { describe, expect, it } from 'vitest';
import {
  ARCHITECTURAL_PROFILES,
  ICE_LAKE_SERVER,
  NO_PMU,
  type PmuProfile,
  SAPPHIRE_RAPIDS,
  SAPPHIRE_RAPIDS_WHOLE,
  SKYLAKE_SERVER,
  SKYLAKE_SERVER_WHOLE,
} from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';

/**
 * What the manual says of every PMU register: addresses (with their distance), the bits that can be set, what is
 * dropped without a fault, how a bit reads back, the value after power-up. Written out; nothing is computed from the rows.
 * `=` reads back as written, `0` reads 0, `s32` is the low half sign-extended to the width, `ro` faults on every write,
 * `depth` takes 8, 16, 24 and 32 only.
 */
type Row = readonly [
  addresses: string,
  settable: string,
  reads: '=' | '0' | 's32' | 'ro' | 'depth' | 'canonical',
  reset?: bigint,
  dropped?: string,
];

const MISC = (reset: bigint): Row => ['1a0', '0', '=', reset, '7,11,12,18'];

// biome-ignore format: a table
const V1: readonly Row[] = [
  ['0c1-0c2',    '0-63',                    's32'],
  ['186-187',    '0-18,20,22-31',           '=', 0n, '19'],
  ['1d9',        '1',                       '='],
  MISC(0x4_1881n),
];

// biome-ignore format: a table
const V2: readonly Row[] = [
  ['0c1-0c2',    '0-63',                    's32'],
  ['186-187',    '0-18,20,22-31',           '=', 0n, '19'],
  ['1d9',        '1,11,12',                 '='],
  MISC(0x4_1881n),
  ['309-30b',    '0-39',                    '='],
  ['345',        '',                        'ro', 0n],
  ['38d',        '0,1,3,4,5,7,8,9,11',      '='],
  ['38e',        '',                        'ro'],
  ['38f',        '0,1,32-34',               '=', 3n],
  ['390',        '0,1,32-34,62,63',         '0'],
];

// biome-ignore format: a table
const V3: readonly Row[] = [
  ['0c1-0c4',    '0-63',                    's32'],
  ['186-189',    '0-18,20-31',              '=', 0n, '19'],
  ['1d9',        '1,11,12',                 '='],
  MISC(0x4_1881n),
  ['309-30b',    '0-47',                    '='],
  ['345',        '',                        'ro', 0x2000n],
  ['38d',        '0-11',                    '='],
  ['38e',        '',                        'ro'],
  ['38f',        '0-3,32-34',               '=', 0xfn],
  ['390',        '0-3,32-34,61-63',         '0'],
  ['4c1-4c4',    '0-47',                    '='],
];

// biome-ignore format: a table
const V4: readonly Row[] = [
  ...V3.filter(([addresses]) => addresses !== '390'),
  ['390',        '0-3,32-34,58-63',         '0'],
  ['391',        '0-3,32-34,58-62',         '0'],
  ['392',        '',                        'ro'],
];

// biome-ignore format: a table
const V5: readonly Row[] = [
  ['0c1-0c8',    '0-63',                    's32'],
  ['186-18d',    '0-18,20,22-31',           '=', 0n, '19'],
  ['1d9',        '1,11,12',                 '='],
  MISC(0x4_1881n),
  ['309-30c',    '0-47',                    '='],
  ['345',        '',                        'ro', 0x2000n],
  ['38d',        '0,1,3,4,5,7,8,9,11,12,13,15', '='],
  ['38e',        '',                        'ro'],
  ['38f',        '0-7,32-35',               '=', 0xffn],
  ['390',        '0-7,32-35,58-63',         '0'],
  ['391',        '0-7,32-35,58-62',         '0'],
  ['392',        '',                        'ro'],
  ['4c1-4c8',    '0-47',                    '='],
];

/** Counters 0–2, 4, 5 and 7; fixed counters 0–2 and 4–6. */
// biome-ignore format: a table
const V6: readonly Row[] = [
  ['0c1-0c3,0c5-0c6,0c8',       '0-63',                              's32'],
  ['186-188,18a-18b,18d',       '0-18,20,22-31,36,37,40-47',         '=', 0n, '19'],
  ['1d9',                       '1,11,12',                           '='],
  MISC(0x4_1881n),
  ['309-30b,30d-30f',           '0-47',                              '='],
  ['345',                       '',                                  'ro', 0x2000n],
  ['38d',  '0,1,3,33,4,5,7,37,8,9,11,41,16,17,19,49,20,21,23,53,24,25,27,57', '='],
  ['38e',                       '',                                  'ro'],
  ['38f',                       '0-2,4,5,7,32-34,36-38',             '=', 0xb7n],
  ['390',                       '0-2,4,5,7,32-34,36-38,54,58-63',    '0'],
  ['391',                       '0-2,4,5,7,32-34,36-38,54,58-62',    '0'],
  ['392',                       '',                                  'ro'],
  ['4c1-4c3,4c5-4c6,4c8',       '0-47',                              '='],
  ['1900,1904,1908,1910,1914,191c', '0-47',                          '='],
  ['1901,1905,1909,1911,1915,191d', '0-18,20,22-31,36,37,40-47',     '=', 0n, '19'],
  ['1980,1984,1988,1990,1994,1998', '0-47',                          '='],
  // Auto counter reload: counters 0–2, 4, 5 and fixed 0–2 can be reloaded, by these and by counter 7.
  ['1902,1906,190a,1912,1916',      '0-2,4,5,7,32-34',               '='],
  ['1982,1986,198a',                '0-2,4,5,7,32-34',               '='],
  ['14c1-14c3,14c5-14c6,14c8',      '0-31',                          '='],
  ['1309-130b,130d-130f',           '0-31',                          '='],
  // Architectural PEBS on every counter: reload value, XMM, GPRs, AUX, enable; base and index of the buffer.
  ['1903,1907,190b,1913,1917,191f', '0-31,49,61-63',                 '='],
  ['1983,1987,198b,1993,1997,199b', '0-31,49,61-63',                 '='],
  ['3f4',                           '0-3,12-51',                     '='],
  ['3f5',                           '4-26,31,32,36-58',              '='],
];

// biome-ignore format: a table
const SKYLAKE: readonly Row[] = [
  ['0c1-0c8',    '0-63',                    's32'],
  ['186-18d',    '0-18,20-31',              '=', 0n, '19'],
  ['1d9',        '1,11,12',                 '='],
  MISC(0x4_1881n),
  ['309-30b',    '0-47',                    '='],
  ['345',        '',                        'ro', 0x2000n],
  ['38d',        '0-11',                    '='],
  ['38e',        '',                        'ro'],
  ['38f',        '0-7,32-34',               '=', 0xffn],
  ['390',        '0-7,32-34,58-63',         '0'],
  ['391',        '0-7,32-34,58-62',         '0'],
  ['392',        '',                        'ro'],
  ['4c1-4c8',    '0-47',                    '='],
];

/** LBR format 5, PEBS format 3 trap-like with architectural registers, full-width writes. */
// biome-ignore format: a table
const SKYLAKE_WHOLE: readonly Row[] = [
  ...SKYLAKE.filter(([addresses]) => !['1d9', '1a0', '345'].includes(addresses)),
  ['1d9',        '0,1,11,12',               '='],
  MISC(0x4_0881n),
  ['345',        '',                        'ro', 0x23c5n],
  ['1c8',        '0-9',                     '='],
  ['1c9',        '0-4',                     '='],
  ['680-69f',    '0-63',                    '='],
  ['6c0-6df',    '0-63',                    '='],
  ['dc0-ddf',    '0-15,61-63',              '='],
  ['3f1',        '0-3,32-35',                '='],
  ['600',        '0-63',                    'canonical'],
  ['1a6-1a7',    '0-11,15-37',              '='],
  ['3f6',        '0-15',                    '='],
  ['3f7',        '0-2,4,8-22',              '='],
];

/** LBR format 3FH, PEBS format 4 with baseline, full-width writes, metrics. */
// biome-ignore format: a table
const SAPPHIRE_WHOLE: readonly Row[] = [
  ['0c1-0c8',    '0-63',                    's32'],
  ['186-18d',    '0-18,20,22-31,34',        '=', 0n, '19'],
  ['1d9',        '1,11,12',                 '=', 0n, '0'],
  MISC(0x4_0881n),
  ['309-30c',    '0-47',                    '='],
  ['329',        '0-63',                    '0'], // a fraction of no slots
  ['345',        '',                        'ro', 0xe4ffn],
  ['38d',        '0,1,3,4,5,7,8,9,11,12,13,15,32,36,40,44', '='],
  ['38e',        '',                        'ro'],
  ['38f',        '0-7,32-35,48',            '=', 0xffn],
  ['390',        '0-7,32-35,48,58-63',      '0'],
  ['391',        '0-7,32-35,48,58-62',      '0'],
  ['392',        '',                        'ro'],
  ['3f1',        '0-7,32-35',               '='],
  ['3f2',        '0-3,24-31',               '='],
  ['4c1-4c8',    '0-47',                    '='],
  ['600',        '0-63',                    'canonical'],
  ['14ce',       '0-3,16-22',               '='],
  ['14cf',       '0-63',                    'depth', 32n],
  ['1200-121f',  '0-15,56-63',              '='],
  ['1500-151f',  '0-63',                    '='],
  ['1600-161f',  '0-63',                    '='],
  ['1a6-1a7',    '0-37',                    '='],
  ['3f6',        '0-15',                    '='],
  ['3f7',        '0-4,8-22',                '='],
];

/** LBR format 5, PEBS format 4 with baseline, full-width writes, metrics. */
// biome-ignore format: a table
const ICE_LAKE: readonly Row[] = [
  ...SAPPHIRE_WHOLE.filter(([addresses]) => !/^(1d9|345|14c|1[256]00|1a6|3f7)/.test(addresses)),
  ['1d9',        '0,1,11,12',               '='],
  ['345',        '',                        'ro', 0xe4c5n],
  ['1a6-1a7',    '0-13,15-37',              '='],
  ['3f7',        '0-2,4,8-22',              '='],
  ['1c8',        '0-9',                     '='],
  ['1c9',        '0-4',                     '='],
  ['680-69f',    '0-63',                    '='],
  ['6c0-6df',    '0-63',                    '='],
  ['dc0-ddf',    '0-15,61-63',              '='],
];

const [v1, v2, v3, v4, v5, v6] = ARCHITECTURAL_PROFILES as PmuProfile[];

const EXPECTED: readonly (readonly [PmuProfile, readonly Row[]])[] = [
  [v1!, V1],
  [v2!, V2],
  [v3!, V3],
  [v4!, V4],
  [v5!, V5],
  [v6!, V6],
  [SAPPHIRE_RAPIDS, V5],
  [SKYLAKE_SERVER, SKYLAKE],
  [SKYLAKE_SERVER_WHOLE, SKYLAKE_WHOLE],
  [SAPPHIRE_RAPIDS_WHOLE, SAPPHIRE_WHOLE],
  [ICE_LAKE_SERVER, ICE_LAKE],
  [NO_PMU, [['1d9', '1', '='], MISC(0x4_1801n)]],
];

const numbers = (text: string, radix: number): number[] =>
  text === ''
    ? []
    : text.split(',').flatMap((part) => {
        const [from = Number.NaN, to = from] = part
          .split('-')
          .map((n) => Number.parseInt(n, radix));
        return Array.from({ length: to - from + 1 }, (_, i) => from + i);
      });

/** What bit `n`, written alone, reads back as. */
function readsBack(reads: Row[2], n: number, width: number): bigint {
  const value = 1n << BigInt(n);
  if (reads === 's32') {
    if (n > 31) return 0n;
    return n === 31 ? (1n << BigInt(width)) - (1n << 31n) : value;
  }
  return reads === '0' ? 0n : value;
}

/** What a write of bit `n` alone must do, as text that says it when it does not. */
function expected(row: Row, n: number, width: number): string {
  const [, settable, reads, , dropped = ''] = row;
  const value = 1n << BigInt(n);
  if (reads === 'depth') return [8, 16, 24, 32].includes(Number(value)) ? `${value}` : '#GP';
  if (reads === 'canonical') return n < 47 ? `${value}` : '#GP';
  if (numbers(dropped, 10).includes(n)) return '0';
  if (!numbers(settable, 10).includes(n)) return '#GP';
  return `${readsBack(reads, n, width)}`;
}

describe.each(EXPECTED.map(([profile, rows]) => ({ name: profile.name, profile, rows })))(
  '$name',
  ({ profile, rows }) => {
    const byAddress = new Map(
      rows.flatMap((row) => numbers(row[0], 16).map((address) => [address, row] as const)),
    );

    it('has these registers and no others', () => {
      const { bus } = new PmuBench(profile);
      const found = [...bus.registers()].map(({ address }) => address.toString(16));
      const wanted = [...byAddress.keys()].sort((a, b) => a - b).map((a) => a.toString(16));
      expect(found).toEqual(wanted);
    });

    it('reads the reset value from each', () => {
      const bench = new PmuBench(profile);
      for (const [address, row] of byAddress) {
        expect(bench.read(address), address.toString(16)).toBe(row[3] ?? 0n);
      }
    });

    it('takes, drops or refuses each of the 64 bits as the manual says', () => {
      const actual: string[] = [];
      const wanted: string[] = [];
      for (const [address, row] of byAddress) {
        for (let n = 0; n < 64; n++) {
          const bench = new PmuBench(profile);
          const constant = row[2] === '=' && address === 0x1a0 ? (row[3] ?? 0n) & ~1n : 0n;
          if (address !== 0x1a0 && bench.read(address) !== 0n) bench.bus.wrmsr(address, 0n);
          const outcome = bench.bus.wrmsr(address, 1n << BigInt(n));
          const read = outcome === 'done' ? `${bench.read(address) & ~constant}` : outcome;
          const where = `${address.toString(16)} bit ${n}: `;
          actual.push(where + read);
          wanted.push(where + expected(row, n, profile.shape.gpWidth));
        }
      }
      expect(actual).toEqual(wanted);
    });

    it('leaves a register as it was when it refuses a write', () => {
      for (const [address, row] of byAddress) {
        const refused = Array.from({ length: 64 }, (_, n) => n).find(
          (n) => expected(row, n, profile.shape.gpWidth) === '#GP',
        );
        if (refused === undefined) continue;
        const bench = new PmuBench(profile);
        const before = bench.read(address);
        expect(bench.bus.wrmsr(address, (1n << BigInt(refused)) | 1n)).toBe('#GP');
        expect(bench.read(address), address.toString(16)).toBe(before);
      }
    });
  },
);

it('gives counter 2 alone the bit that drops transactions from its count', () => {
  const shape = { ...SKYLAKE_SERVER.shape, transactions: true };
  const { bus } = new PmuBench({ ...SKYLAKE_SERVER, shape });
  const outcomes = [0, 1, 2, 3].map((i) => bus.wrmsr(0x186 + i, 1n << 33n));
  expect(outcomes).toEqual(['#GP', '#GP', 'done', '#GP']);
  expect(bus.wrmsr(0x186, 1n << 32n)).toBe('done');
});
