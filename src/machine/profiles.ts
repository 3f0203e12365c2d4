import { CounterpointError } from '../bits/error.ts';
import {
  GOLDEN_COVE,
  type MicroArchitectureParameters,
  SKYLAKE,
} from '../cpu/models/parameters.ts';
import {
  type CpuProfile,
  SAPPHIRE_RAPIDS as SAPPHIRE_RAPIDS_CPU,
  SKYLAKE_SERVER as SKYLAKE_SERVER_CPU,
} from '../cpu/profiles.ts';
import { SAPPHIRE_RAPIDS_VMX, SKYLAKE_SERVER_VMX, type VmxShape } from '../msr/vmx.ts';
import {
  type PmuProfile,
  SAPPHIRE_RAPIDS as SAPPHIRE_RAPIDS_PMU,
  SAPPHIRE_RAPIDS_WHOLE,
  SKYLAKE_SERVER as SKYLAKE_SERVER_PMU,
  SKYLAKE_SERVER_WHOLE,
} from '../pmu/profiles.ts';
import type { Deviations } from '../pmu/silicon.ts';

/** A processor to be, whole: what CPUID says of it, its PMU and its VMX. */
export interface Profile {
  readonly name: string;
  /** One line on what it is like. */
  readonly title: string;
  readonly cpu: CpuProfile;
  readonly pmu: PmuProfile;
  readonly vmx: VmxShape;
  /** Parameters of the micro-architecture model; without them every instruction takes one cycle. */
  readonly timing?: MicroArchitectureParameters;
  /** How counting departs from the manual; without them the PMU is *ideal*. */
  readonly deviations?: Deviations;
}

export const PROFILES: Readonly<Record<string, Profile>> = {
  'sapphire-rapids': {
    name: 'sapphire-rapids',
    title: 'PMU version 5, 8 + 4 counters of 48 bits; VM exits can save IA32_PERF_GLOBAL_CTRL',
    cpu: SAPPHIRE_RAPIDS_CPU,
    pmu: SAPPHIRE_RAPIDS_PMU,
    vmx: SAPPHIRE_RAPIDS_VMX,
  },
  'skylake-server': {
    name: 'skylake-server',
    title: 'PMU version 4, 8 + 3 counters of 48 bits; VM exits need the MSR-store list for it',
    cpu: SKYLAKE_SERVER_CPU,
    pmu: SKYLAKE_SERVER_PMU,
    vmx: SKYLAKE_SERVER_VMX,
  },
};

/** What the micro-architecture model is told for each profile. */
const TIMING: Readonly<Record<string, MicroArchitectureParameters>> = {
  'sapphire-rapids': GOLDEN_COVE,
  'skylake-server': SKYLAKE,
};

/** The same processor with its caches, TLBs and branch predictor modelled: slower to run, richer to count. */
export const withTiming = (profile: Profile): Profile => ({
  ...profile,
  timing: TIMING[profile.name] ?? GOLDEN_COVE,
});

const EVERYTHING: Readonly<Record<string, PmuProfile>> = {
  'sapphire-rapids': SAPPHIRE_RAPIDS_WHOLE,
  'skylake-server': SKYLAKE_SERVER_WHOLE,
};

/** The same processor with the LBRs, PEBS and metrics that the plain profile hides. */
export const withEverything = (profile: Profile): Profile => ({
  ...profile,
  pmu: EVERYTHING[profile.name] ?? profile.pmu,
});

/** The same processor counting as silicon does, in the documented ways that are asked for. */
export const withDeviations = (profile: Profile, deviations: Deviations): Profile => ({
  ...profile,
  deviations,
});

/** The profile of that name. @throws CounterpointError `unknown-profile` */
export function profileNamed(name: string): Profile {
  const profile = Object.hasOwn(PROFILES, name) ? PROFILES[name] : undefined;
  if (profile) return profile;
  throw new CounterpointError(
    'unknown-profile',
    `there is no profile '${name}': ${Object.keys(PROFILES).join(', ')}`,
  );
}
