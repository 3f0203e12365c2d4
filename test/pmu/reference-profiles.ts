import {
  ARCHITECTURAL_PROFILES,
  ICE_LAKE_SERVER,
  type PmuProfile,
  SAPPHIRE_RAPIDS,
  SAPPHIRE_RAPIDS_WHOLE,
  SKYLAKE_SERVER,
  SKYLAKE_SERVER_WHOLE,
} from '../../src/pmu/profiles.ts';

/** Architectural PEBS has tests of its own; the model has none. */
const withoutArchitecturalPebs = (profile: PmuProfile): PmuProfile => {
  const { architecturalPebs: _, ...shape } = profile.shape;
  return { ...profile, shape };
};

/** The PMUs that the reference model judges. */
export const REFERENCE_PROFILES: readonly PmuProfile[] = [
  ...ARCHITECTURAL_PROFILES.map(withoutArchitecturalPebs),
  SKYLAKE_SERVER,
  SAPPHIRE_RAPIDS,
  SKYLAKE_SERVER_WHOLE,
  ICE_LAKE_SERVER,
  SAPPHIRE_RAPIDS_WHOLE,
];
