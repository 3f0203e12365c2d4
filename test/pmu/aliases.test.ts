import { describe, expect, it } from 'vitest';
import { PMU_PROFILES } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';

/** Counters by hand: general-purpose and fixed ones, their width, and whether 4C1H and 1900H exist. */
// biome-ignore format: a table
const COUNTERS: Readonly<Record<string, { gp: number[]; fixed: number[]; width: number; full: boolean; block: boolean; metrics?: boolean }>> = {
  'architectural-v1':      { gp: [0, 1],             fixed: [],                  width: 40, full: false, block: false },
  'architectural-v2':      { gp: [0, 1],             fixed: [0, 1, 2],           width: 40, full: false, block: false },
  'architectural-v3':      { gp: [0, 1, 2, 3],       fixed: [0, 1, 2],           width: 48, full: true,  block: false },
  'architectural-v4':      { gp: [0, 1, 2, 3],       fixed: [0, 1, 2],           width: 48, full: true,  block: false },
  'architectural-v5':      { gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],  width: 48, full: true,  block: false },
  'architectural-v6':      { gp: [0, 1, 2, 4, 5, 7], fixed: [0, 1, 2, 4, 5, 6],  width: 48, full: true,  block: true },
  'sapphire-rapids':       { gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],  width: 48, full: true,  block: false },
  'sapphire-rapids-whole': { gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],  width: 48, full: true,  block: false, metrics: true },
  'ice-lake-server':       { gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],  width: 48, full: true,  block: false, metrics: true },
  'skylake-server':        { gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2],     width: 48, full: true,  block: false },
  'skylake-server-whole':  { gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2],     width: 48, full: true,  block: false },
  none:                    { gp: [],                 fixed: [],                  width: 0,  full: false, block: false },
};

it('every profile has its line', () => {
  expect(Object.keys(COUNTERS).sort()).toEqual([...PMU_PROFILES.keys()].sort());
});

describe.each(Object.entries(COUNTERS))(
  '%s',
  (name, { gp, fixed, width, full, block, metrics }) => {
    const bench = () => new PmuBench(PMU_PROFILES.get(name)!);
    const gpNames = (i: number) => [
      0xc1 + i,
      ...(full ? [0x4c1 + i] : []),
      ...(block ? [0x1900 + 4 * i] : []),
    ];

    it('each bit of a general counter written through one name is read through all, and by RDPMC', () => {
      for (const i of gp) {
        for (const [which, written] of gpNames(i).entries()) {
          for (let n = 0; n < (which === 0 ? 64 : width); n++) {
            const { bus, pmu } = bench();
            bus.wrmsr(written, 1n << BigInt(n));
            // The oldest name takes 32 bits and extends the sign of bit 31.
            const kept =
              which > 0
                ? 1n << BigInt(n)
                : n < 31
                  ? 1n << BigInt(n)
                  : n === 31
                    ? (1n << BigInt(width)) - (1n << 31n)
                    : 0n;
            const read = [...gpNames(i).map((address) => bus.rdmsr(address)), pmu.rdpmc(i)];
            expect(read, `counter ${i} bit ${n}`).toEqual(read.map(() => kept));
          }
        }
      }
    });

    it('each bit of a fixed counter likewise', () => {
      for (const i of fixed) {
        const names = [0x309 + i, ...(block ? [0x1980 + 4 * i] : [])];
        for (const written of names) {
          for (let n = 0; n < width; n++) {
            const { bus, pmu } = bench();
            bus.wrmsr(written, 1n << BigInt(n));
            const read = [
              ...names.map((address) => bus.rdmsr(address)),
              pmu.rdpmc(0x4000_0000 + i),
            ];
            expect(read, `fixed ${i} bit ${n}`).toEqual(read.map(() => 1n << BigInt(n)));
          }
        }
      }
    });

    it.runIf(block)(
      'each bit of a selector written through one name is read through the other',
      () => {
        for (const i of gp) {
          const names = [0x186 + i, 0x1901 + 4 * i];
          for (const written of names) {
            for (let n = 0; n < 64; n++) {
              const { bus } = bench();
              const value =
                bus.wrmsr(written, 1n << BigInt(n)) === 'done' && n !== 19 ? 1n << BigInt(n) : 0n;
              expect(names.map((address) => bus.rdmsr(address))).toEqual([value, value]);
            }
          }
        }
      },
    );

    const statusSet = bench().bus.rdmsr(0x391) !== 'unclaimed';
    it.runIf(statusSet)('each status bit is what was set and not yet reset', () => {
      for (let n = 0; n < 64; n++) {
        const { bus } = bench();
        const bit = 1n << BigInt(n);
        if (bus.wrmsr(0x391, bit) !== 'done') continue;
        expect([bus.rdmsr(0x38e), bus.rdmsr(0x391), bus.rdmsr(0x390)]).toEqual([bit, 0n, 0n]);
        for (let other = 0; other < 64; other++)
          if (other !== n) bus.wrmsr(0x390, 1n << BigInt(other));
        expect(bus.rdmsr(0x38e)).toBe(bit);
        expect(bus.wrmsr(0x390, bit)).toBe('done');
        expect(bus.rdmsr(0x38e)).toBe(0n);
      }
    });

    it.runIf(statusSet)('INUSE follows selectors, fixed enables and whoever asks for a PMI', () => {
      for (const i of gp) {
        const { bus } = bench();
        bus.wrmsr(0x186 + i, 0xffn);
        expect(bus.rdmsr(0x392)).toBe(1n << BigInt(i));
        bus.wrmsr(0x186 + i, 0x10_0000n);
        expect(bus.rdmsr(0x392)).toBe(1n << 63n);
      }
      for (const i of fixed) {
        const { bus } = bench();
        bus.wrmsr(0x38d, 0b0001n << BigInt(4 * i));
        expect(bus.rdmsr(0x392)).toBe(1n << BigInt(32 + i));
        bus.wrmsr(0x38d, 0b1010n << BigInt(4 * i));
        expect(bus.rdmsr(0x392)).toBe((1n << BigInt(32 + i)) | (1n << 63n));
      }
    });

    it('RDPMC knows its counters and faults for every other type and index of ECX', () => {
      const { pmu } = bench();
      const valid = [
        ...gp,
        ...fixed.map((i) => 0x4000_0000 + i),
        ...(metrics ? [0x2000_0000] : []),
      ];
      const known: number[] = [];
      const look = (ecx: number) => {
        if (pmu.rdpmc(ecx) !== '#GP') known.push(ecx);
      };
      // Every index of the types that exist, the fast-read bit's among them, then the first indices of every type.
      for (const type of [0, 0x4000, 0x2000, 0x8000, 0xc000]) {
        for (let index = 0; index < 0x1_0000; index++) look(type * 0x1_0000 + index);
      }
      for (let type = 1; type < 0x1_0000; type++) {
        if ([0x4000, 0x2000, 0x8000, 0xc000].includes(type)) continue;
        for (let index = 0; index < 8; index++) look(type * 0x1_0000 + index);
      }
      expect(known.sort((a, b) => a - b)).toEqual(valid.sort((a, b) => a - b));
    });
  },
);

it('a counter closed to users reads 0 at CPL 3 and is itself at CPL 0', () => {
  const bench = new PmuBench(PMU_PROFILES.get('architectural-v6')!);
  bench.write(0x4c1, 5n);
  bench.write(0x186, 1n << 37n);
  bench.write(0x309, 7n);
  bench.write(0x38d, 1n << 33n);
  const read = () => [bench.pmu.rdpmc(0), bench.pmu.rdpmc(1), bench.pmu.rdpmc(0x4000_0000)];
  expect(read()).toEqual([5n, 0n, 7n]);
  bench.enter(3);
  expect(read()).toEqual([0n, 0n, 0n]);
});
