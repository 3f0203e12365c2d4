import { DESIGNS, type VpmuDesign } from '../kvm/vpmu/designs.ts';
import type { GuestOptions } from '../machine/host-machine.ts';
import { type Profile, profileNamed } from '../machine/profiles.ts';
import type { Exposure } from './case.ts';

type PmuExposure = NonNullable<GuestOptions['exposure']>;

/** What a VM of each exposure asks its PMU to be. */
const EXPOSURES: Readonly<Record<Exposure, PmuExposure>> = {
  default: {},
  half: { gp: 4, fixed: 2 },
  all: { gp: 64, fixed: 64, metrics: true, lbr: true },
  none: { enabled: false },
};

export const exposureOf = (exposure: Exposure): PmuExposure => EXPOSURES[exposure];

export const DESIGN_NAMES: readonly string[] = Object.keys(DESIGNS);
/** Processors that campaigns are about unless told: their PMUs have counters and nothing else. */
export const PROFILE_NAMES: readonly string[] = ['sapphire-rapids', 'skylake-server'];
export const designOf = (name: string): VpmuDesign => DESIGNS[name as keyof typeof DESIGNS];
export const profileOf = (name: string): Profile => profileNamed(name);

/** Whether a processor's PMU can be handed over as the design wants it: PMUs before version 4 cannot. */
const canHave = (design: string, profile: string): boolean => {
  const { version, fullWidthWrites } = profileOf(profile).pmu.shape;
  return designOf(design).kind !== 'mediated' || (version >= 4 && fullWidthWrites);
};

/** Designs with the processors that can have them. */
export const pairsOf = (
  designs: readonly string[],
  profiles: readonly string[],
): (readonly [design: string, profile: string])[] =>
  profiles.flatMap((profile) =>
    designs
      .filter((design) => canHave(design, profile))
      .map((design) => [design, profile] as const),
  );
