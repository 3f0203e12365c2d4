import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../../src/kvm/vpmu/designs.ts';
import { differences, digestOf, PUBLISHED, signatureOf } from '../../lab/signature.ts';

const ALL = Object.keys(DESIGNS);

describe.each(['sapphire-rapids', 'skylake-server'])('on %s', (profile) => {
  describe.each(['count', 'overflow'])(
    '%s sees and leaves what it does on the bare machine',
    (guest) => {
      const bare = signatureOf(guest, 'bare', profile);

      it.each(ALL)('under %s, but for the PMU that CPUID shows', (design) => {
        const hosted = signatureOf(guest, design, profile);
        expect(hosted.accesses).toEqual(bare.accesses);
        expect(hosted.retired).toEqual(bare.retired);
        expect(hosted.exceptions).toBe(bare.exceptions);
        expect(hosted.verdicts).toEqual(bare.verdicts);
        expect(differences(bare.ram, hosted.ram)).toEqual(PUBLISHED[profile]);
      });
    },
  );

  it('emulated does, until it tries what only a hypervisor answers; that is one digest under every design', () => {
    const bare = signatureOf('emulated', 'bare', profile);
    const digests = ALL.map((design) => {
      const hosted = signatureOf('emulated', design, profile);
      expect(hosted.accesses.slice(0, bare.accesses.length), design).toEqual(bare.accesses);
      return digestOf(hosted);
    });
    expect(new Set(digests).size).toBe(1);
  });

  it('multiplex rotates by the clock, so its readings differ; its verdicts do not', () => {
    const { verdicts } = signatureOf('multiplex', 'bare', profile);
    for (const design of ALL) {
      expect(signatureOf('multiplex', design, profile).verdicts, design).toEqual(verdicts);
    }
  });
});
