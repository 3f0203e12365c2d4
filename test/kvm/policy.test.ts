import { describe, expect, it } from 'vitest';
import type { DesignName } from '../../src/kvm/vpmu/designs.ts';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { SAPPHIRE_RAPIDS, SKYLAKE_SERVER } from '../../src/pmu/profiles.ts';
import { guestOn } from './vpmu-rig.ts';

/** Addresses of each kind for a guest with eight general-purpose and three fixed counters. */
// biome-ignore format: a table
const KINDS = {
  counters:  [0x0c1, 0x0c8, 0x4c1, 0x4c8, 0x309, 0x30b],
  beyond:    [0x0c9, 0x0e0, 0x4c9, 0x30c, 0x30d],
  global:    [0x38e, 0x38f, 0x390],
  selectors: [0x186, 0x18d, 0x38d],
  others:    [0x18e, 0x391, 0x392],
} as const;

describe('which accesses exit', () => {
  // biome-ignore format: a table
  it.each([
    // design              profile          counters beyond  global selectors others rdpmc
    ['emulated',           SAPPHIRE_RAPIDS, true,   true,    true,  true,     true,  true],
    ['emulated',           SKYLAKE_SERVER,  true,   true,    true,  true,     true,  true],
    ['mediated',           SAPPHIRE_RAPIDS, false,  true,    true,  true,     true,  true],
    ['mediated',           SKYLAKE_SERVER,  false,  true,    false, true,     true,  false],
    ['rfc-v1',             SAPPHIRE_RAPIDS, false,  true,    false, false,    true,  false],
    ['rfc-v1',             SKYLAKE_SERVER,  false,  true,    false, false,    true,  false],
    ['rfc-v1-filter',      SAPPHIRE_RAPIDS, false,  true,    false, true,     true,  false],
    ['guest-owned',        SKYLAKE_SERVER,  false,  true,    false, true,     true,  false],
    ['opt-out',            SKYLAKE_SERVER,  false,  true,    false, true,     true,  false],
    ['blend',              SAPPHIRE_RAPIDS, false,  true,    true,  true,     true,  true],
  ] as const)('%s', (name, profile, counters, beyond, global, selectors, others, rdpmc) => {
    const { vpmu } = guestOn({ design: DESIGNS[name as DesignName], profile });
    const expected = { counters, beyond, global, selectors, others };
    for (const [kind, addresses] of Object.entries(KINDS)) {
      for (const address of addresses) {
        for (const access of ['read', 'write'] as const) {
          const exits = vpmu.intercepts(address, access);
          expect(exits, `${access} 0x${address.toString(16)}`).toBe(expected[kind as keyof typeof KINDS]);
        }
      }
    }
    expect(vpmu.rdpmcExits).toBe(rdpmc);
  });

  it('with the identity map only GLOBAL_CTRL passes, and only if it holds no bit of a counter that the guest lacks', () => {
    const passing = (exposure: { fixed: number }) => {
      const { vpmu } = guestOn({ design: DESIGNS['emulated-identity'], exposure });
      return Object.values(KINDS)
        .flat()
        .filter((address) => !vpmu.intercepts(address, 'write'));
    };
    expect(passing({ fixed: 4 })).toEqual([0x38f]);
    expect(passing({ fixed: 3 })).toEqual([]);
  });

  it('a guest with four of eight counters reaches none of the others', () => {
    const { vpmu } = guestOn({ design: DESIGNS.mediated, exposure: { gp: 4 } });
    for (const address of [0xc5, 0xc8, 0x4c5, 0x4c8, 0x18a, 0x18d]) {
      expect(vpmu.intercepts(address, 'read')).toBe(true);
      expect(vpmu.rdmsr(address)).toBe('unclaimed');
    }
    expect([0, 3].map((ecx) => vpmu.rdpmc(ecx))).toEqual([0n, 0n]);
    expect([4, 7].map((ecx) => vpmu.rdpmc(ecx))).toEqual(['#GP', '#GP']);
  });

  it('a guest without a PMU has no register of it and no RDPMC', () => {
    const { vpmu } = guestOn({ design: DESIGNS.mediated, exposure: { enabled: false } });
    for (const address of Object.values(KINDS).flat()) {
      expect(vpmu.intercepts(address, 'read')).toBe(true);
      expect(vpmu.rdmsr(address)).toBe('unclaimed');
    }
    expect(vpmu.rdpmc(0)).toBe('#GP');
  });
});
