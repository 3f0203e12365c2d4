import { describe, expect, it } from 'vitest';
import { lbrLeaf, perfmonExtendedLeaf, perfmonLeaf } from '../../src/msr/pmu-leaves.ts';
import {
  ARCHITECTURAL_PROFILES,
  NO_PMU,
  SAPPHIRE_RAPIDS,
  SAPPHIRE_RAPIDS_WHOLE,
  SKYLAKE_SERVER,
} from '../../src/pmu/profiles.ts';

const hex = (leaf: Record<string, number>) =>
  Object.values(leaf).map((value) => value.toString(16).padStart(8, '0'));

describe('CPUID leaf 0AH', () => {
  // biome-ignore format: a table
  it.each([
    [SAPPHIRE_RAPIDS,            ['08300805', '00000000', '0000000f', '00008604']],
    [SKYLAKE_SERVER,             ['07300804', '00000000', '00000000', '00000603']],
    [ARCHITECTURAL_PROFILES[0]!, ['07280201', '00000000', '00000000', '00000000']],
    [ARCHITECTURAL_PROFILES[1]!, ['07280202', '00000000', '00000000', '00000503']],
    // Only counters without a gap can be announced here.
    [ARCHITECTURAL_PROFILES[5]!, ['0d300306', '00000000', '00000077', '00008603']],
    [NO_PMU,                     ['00000000', '00000000', '00000000', '00000000']],
  ])('of $name is as the manual lays it out', ({ shape }, registers) => {
    expect(hex({ ...perfmonLeaf(shape) })).toEqual(registers);
  });
});

describe('CPUID leaf 23H', () => {
  const { shape } = ARCHITECTURAL_PROFILES[5]!;

  // biome-ignore format: a table
  it.each([
    [0, ['0000003f', '00000007', '00000001', '00000000']],
    [1, ['000000b7', '00000077', '00000000', '00000000']],
    [2, ['00000037', '00000007', '000000b7', '00000007']],
    [3, ['00001fff', '00000000', '00000000', '00000000']],
  ])('sub-leaf %i announces counters with gaps and events that are there', (subleaf, registers) => {
    expect(hex({ ...perfmonExtendedLeaf(shape, subleaf) })).toEqual(registers);
  });

  it('is zero before version 6', () => {
    expect(perfmonExtendedLeaf(SAPPHIRE_RAPIDS.shape, 1).eax).toBe(0);
  });
});

describe('CPUID leaf 1CH', () => {
  it('lists the depths of architectural LBRs and their filters', () => {
    expect(hex({ ...lbrLeaf(SAPPHIRE_RAPIDS_WHOLE.shape) })).toEqual([
      '8000000f',
      '00000007',
      '00000005',
      '00000000',
    ]);
  });

  it('is zero without them', () => {
    expect(lbrLeaf(SKYLAKE_SERVER.shape).eax).toBe(0);
  });
});
