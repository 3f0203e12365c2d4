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
import {
  SAPPHIRE_RAPIDS_VMX,
  SAPPHIRE_RAPIDS_WHOLE_VMX,
  SKYLAKE_SERVER_VMX,
  type VmxShape,
} from '../msr/vmx.ts';
import {
  ARCHITECTURAL_PROFILES,
  ICE_LAKE_SERVER as ICE_LAKE_SERVER_PMU,
  type PmuProfile,
  SAPPHIRE_RAPIDS as SAPPHIRE_RAPIDS_PMU,
  SAPPHIRE_RAPIDS_WHOLE as SAPPHIRE_RAPIDS_WHOLE_PMU,
  SKYLAKE_SERVER as SKYLAKE_SERVER_PMU,
  SKYLAKE_SERVER_WHOLE as SKYLAKE_SERVER_WHOLE_PMU,
} from '../pmu/profiles.ts';
import type { Deviations } from '../pmu/silicon.ts';
import type { Timing } from '../pmu/timing.ts';

/** What a user may ask of counting and timing, for those who may not reach the PMU itself. */
export { DEVIATIONS, type Deviations, IDEAL, readDeviations } from '../pmu/silicon.ts';
export type { Timing } from '../pmu/timing.ts';

/** A processor to be, whole: what CPUID says of it, its PMU and its VMX. */
export interface Profile {
  readonly name: string;
  /** One line on what it is like. */
  readonly title: string;
  readonly cpu: CpuProfile;
  readonly pmu: PmuProfile;
  readonly vmx: VmxShape;
  /** Parameters that the micro-architecture model has for it. */
  readonly model: MicroArchitectureParameters;
  /** The same, while it is on; without them every instruction takes one cycle. */
  readonly timing?: MicroArchitectureParameters;
  /** How counting departs from the manual; without them the PMU is *ideal*. */
  readonly deviations?: Deviations;
}

const SKYLAKE_LIKE = { cpu: SKYLAKE_SERVER_CPU, vmx: SKYLAKE_SERVER_VMX, model: SKYLAKE } as const;
const GOLDEN_COVE_LIKE = {
  cpu: SAPPHIRE_RAPIDS_CPU,
  vmx: SAPPHIRE_RAPIDS_VMX,
  model: GOLDEN_COVE,
} as const;

/** The architectural PMU of a version on a core that has nothing against it. */
const version = (number: 2 | 3 | 4 | 5 | 6, title: string): Omit<Profile, 'name'> => ({
  ...(number < 5 ? SKYLAKE_LIKE : GOLDEN_COVE_LIKE),
  title: `PMU version ${number} of no particular processor: ${title}`,
  pmu: ARCHITECTURAL_PROFILES[number - 1]!,
});

const ROWS: Readonly<Record<string, Omit<Profile, 'name'>>> = {
  'sapphire-rapids': {
    ...GOLDEN_COVE_LIKE,
    title: 'PMU version 5, 8 + 4 counters of 48 bits; VM exits can save IA32_PERF_GLOBAL_CTRL',
    pmu: SAPPHIRE_RAPIDS_PMU,
  },
  'sapphire-rapids-whole': {
    ...GOLDEN_COVE_LIKE,
    title: 'as sapphire-rapids, with architectural LBRs, adaptive PEBS and PERF_METRICS',
    pmu: SAPPHIRE_RAPIDS_WHOLE_PMU,
    vmx: SAPPHIRE_RAPIDS_WHOLE_VMX,
  },
  'ice-lake-server': {
    ...SKYLAKE_LIKE,
    title: 'PMU version 5, 8 + 4 counters, 32 LBRs, adaptive PEBS, PERF_METRICS; no save control',
    pmu: ICE_LAKE_SERVER_PMU,
  },
  'skylake-server': {
    ...SKYLAKE_LIKE,
    title: 'PMU version 4, 8 + 3 counters of 48 bits; VM exits need the MSR-store list for it',
    pmu: SKYLAKE_SERVER_PMU,
  },
  'skylake-server-whole': {
    ...SKYLAKE_LIKE,
    title: 'as skylake-server, with 32 LBRs and PEBS records of 200 bytes',
    pmu: SKYLAKE_SERVER_WHOLE_PMU,
  },
  'perfmon-v2': version(2, '2 + 3 counters of 40 bits, no full-width writes'),
  'perfmon-v3': version(3, '4 + 3 counters, AnyThread'),
  'perfmon-v4': version(4, '4 + 3 counters, streamlined freezing'),
  'perfmon-v5': version(5, '8 + 4 counters, fixed ones by bitmap'),
  'perfmon-v6': version(
    6,
    'counters with gaps, UMASK2, EQ, RDPMC user disable, architectural PEBS, auto counter reload',
  ),
};

/** Every processor that can be named. */
export const PROFILES: Readonly<Record<string, Profile>> = Object.fromEntries(
  Object.entries(ROWS).map(([name, row]) => [name, { name, ...row }]),
);

/** The same processor with its caches, TLBs and branch predictor modelled: slower to run, richer to count. */
export const withTiming = (profile: Profile): Profile => ({
  ...profile,
  timing: profile.model,
});

/** The same processor counting as silicon does, in the documented ways that are asked for. */
export const withDeviations = (profile: Profile, deviations: Deviations): Profile => ({
  ...profile,
  deviations,
});

/** A profile with what a user asks of timing and counting. */
export function shaped(
  profile: Profile,
  asked: { timing?: Timing | undefined; deviations?: Deviations | undefined },
): Profile {
  const { timing, deviations } = asked;
  const timed = timing === 'modelled' ? withTiming(profile) : profile;
  return deviations ? withDeviations(timed, deviations) : timed;
}

/** The profile of that name. @throws CounterpointError `unknown-profile` */
export function profileNamed(name: string): Profile {
  const profile = Object.hasOwn(PROFILES, name) ? PROFILES[name] : undefined;
  if (profile) return profile;
  throw new CounterpointError(
    'unknown-profile',
    `there is no profile '${name}': ${Object.keys(PROFILES).join(', ')}`,
  );
}
