import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { differences, PUBLISHED, signatureOf } from './signature.ts';

/** All guests on both profiles: the judge `signature`. */
const PROFILE = 'sapphire-rapids';

describe('overflow sees and leaves what it does on the bare machine, but for the PMU that CPUID shows', () => {
  const bare = signatureOf('overflow', 'bare', PROFILE);

  it.each(Object.keys(DESIGNS))('under %s', (design) => {
    const guest = signatureOf('overflow', design, PROFILE);
    expect(guest.accesses).toEqual(bare.accesses);
    expect(guest.retired).toEqual(bare.retired);
    expect(guest.exceptions).toBe(bare.exceptions);
    expect(guest.verdicts).toEqual(bare.verdicts);
    expect(differences(bare.ram, guest.ram)).toEqual(PUBLISHED[PROFILE]);
  });
});
