import { describe, it } from 'vitest';
import { judgeAgainstReference } from './reference-pair.ts';
import { REFERENCE_PROFILES } from './reference-profiles.ts';

describe.each(REFERENCE_PROFILES)('$name', (profile) => {
  it('does what a model does that takes one event after the other, whatever software does to it', () =>
    judgeAgainstReference(profile, 200));
});
