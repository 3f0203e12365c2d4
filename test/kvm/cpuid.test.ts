import { expect, it } from 'vitest';
import { cpuid } from '../../src/cpu/cpuid.ts';
import { guestCpuid } from '../../src/kvm/cpuid.ts';
import { profileNamed } from '../../src/machine/profiles.ts';

it('a guest sees no supervisor state components, whatever the host has', () => {
  const { cpu, pmu } = profileNamed('sapphire-rapids-whole');
  const host = cpuid(cpu, pmu.shape, { apicId: 0, processors: 1 });
  const { lbr: _lbr, ...hidden } = pmu.shape;
  const state = { cr4: 0n, xcr0: 0x203n, xss: 0x8000n, apicEnabled: true };
  const leafOf = (subleaf: number) =>
    guestCpuid(0xd, subleaf, (leaf, sub) => host(leaf, sub, state), {
      osxsave: true,
      vmx: false,
      ospke: false,
      apicEnabled: true,
      apicId: 0,
      processors: 1,
      pmu: hidden,
    });
  const none = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  expect(host(0xd, 15, state)).not.toEqual(none);
  expect(leafOf(15)).toEqual(none);
  expect([leafOf(1).eax & 8, leafOf(1).ecx]).toEqual([0, 0]);
  expect(leafOf(9).eax).toBe(8);
});
