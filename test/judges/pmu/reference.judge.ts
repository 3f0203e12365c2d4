import { describe, it } from 'vitest';
import { judgeAgainstReference } from '../../pmu/reference-pair.ts';
import { REFERENCE_PROFILES } from '../../pmu/reference-profiles.ts';

/** Random sequences for every PMU; 10000 unless told. */
const SEQUENCES = Number(process.env.SEQUENCES ?? 10_000);

describe.each(REFERENCE_PROFILES)('$name', (profile) => {
  it(`does what the reference model does in ${SEQUENCES} sequences`, () =>
    judgeAgainstReference(profile, SEQUENCES));
});
