import { describe, expect, it } from 'vitest';
import type { FuzzCase } from '../../src/fuzz/case.ts';
import { Examiner } from '../../src/fuzz/examine.ts';

/** Registers in which a host leaves something, by the processors that have them. */
// biome-ignore format: a table
const HOLD: readonly (readonly [profile: string, registers: readonly number[]])[] = [
  ['sapphire-rapids-whole', [0x4c8, 0x18d, 0x30c, 0x329, 0x1a6, 0x1a7, 0x3f6, 0x3f7, 0x3f2, 0x600, 0x1200, 0x1500, 0x161f]],
  ['skylake-server-whole',  [0x1a6, 0x3f6, 0x3f7, 0x600, 0x1c8, 0x1c9, 0x680, 0x69f, 0x6c0, 0x6df, 0xdc0, 0xddf]],
  ['ice-lake-server',       [0x1a7, 0x3f7, 0x3f2, 0x600, 0x329, 0x1c8, 0x1c9, 0x681, 0x6c1, 0xdc1]],
  ['perfmon-v4',            [0x30b]],
  ['perfmon-v6',            [0xc8, 0x18d, 0x30f, 0x3f4, 0x3f5, 0x1309, 0x14c1, 0x1910, 0x191c, 0x1911, 0x1990, 0x1903, 0x1983]],
];

describe('what a host leaves in a register that the MSR bitmap opens by mistake', () => {
  it.each(HOLD)('is told at the RDMSR, and differs between two hosts: %s', (profile, registers) => {
    const examiner = new Examiner(({ guest: { vm, vcpu } }) => {
      for (const address of registers) vm.bitmapFor(vcpu).set(address, 'read', false);
    });
    for (const register of registers) {
      const fuzzed: FuzzCase = {
        ...{ seed: 'secrets', index: 1, design: 'mediated', profile, exposure: 'half' },
        ...{ cpl: 0, pce: false, lvtpc: 'masked', registers: [], bitmap: [] },
        host: { secret: 5, events: [] },
        steps: [{ do: 'rdmsr', register }],
      };
      const oracles = examiner.examine(fuzzed).violations.map(({ oracle }) => oracle);
      expect(oracles, register.toString(16)).toEqual(
        expect.arrayContaining(['policy', 'provenance', 'non-interference']),
      );
    }
  });
});
