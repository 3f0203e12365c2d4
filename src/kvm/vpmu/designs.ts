import type { PerfOptions } from '../../perf/perf.ts';

/** How guest accesses to one kind of PMU register are dealt with. */
export type Interception =
  /** Always a VM exit. */
  | 'trap'
  /** Never one. */
  | 'pass'
  /** None if the guest has every counter the host has and architectural version 2; a VM exit otherwise. */
  | 'pass-if-whole';

/** Kinds of PMU registers that a policy tells apart. */
export type RegisterKind =
  | 'counters'
  | 'counters-beyond'
  | 'global'
  | 'selectors'
  | 'rdpmc'
  /** PERF_METRICS and last branch records, where the guest was given them. */
  | 'extras'
  | 'others';

export type InterceptionPolicy = Readonly<Record<RegisterKind, Interception>>;

/** When a design that hands the PMU over gives it to the guest and takes it back. */
export type SwitchPoint =
  /** Around every VM entry. */
  | 'entry'
  /** Once per pass of the run loop; entries from fastpath exits are within one pass. */
  | 'pass'
  /** Given before an entry; taken back after the exit only if the host has events on that CPU, else when the vCPU leaves it. */
  | 'lazy'
  /** Given when the vCPU comes to a CPU, taken back when it leaves. */
  | 'sched';

/** What becomes of host events that do not exclude guests. */
export type HostRule =
  /** No VM while one is open (EBUSY), none opened while a VM exists (EOPNOTSUPP). */
  | 'refuse'
  /** They go to ERROR when they meet the vCPU; while a VM exists none is opened on a CPU or on a vCPU (EBUSY). */
  | 'error'
  /** They go to ERROR when they meet the vCPU; only events on the vCPU's own thread are refused (EOPNOTSUPP). */
  | 'error-scoped'
  /** There are none: the host has no PMU. */
  | 'none'
  /** They share counters with the guest as perf sees fit. */
  | 'share';

/** One way of giving a guest a PMU. Designs differ by these values only, and by the file that reads them. */
export interface VpmuDesign {
  readonly name: string;
  /** One sentence on what it is and who proposed it. */
  readonly title: string;
  readonly kind: 'emulated' | 'mediated';
  readonly interception: InterceptionPolicy;
  readonly switchPoint: SwitchPoint;
  /** Counter writes are left out where the hardware already holds the value. */
  readonly elides: boolean;
  /** Counters the guest does not see are zeroed at load, because it could read them. */
  readonly zeroesUnexposed: boolean;
  readonly hostRule: HostRule;
  /** Emulated: KVM's events come before CPU-pinned ones. */
  readonly alwaysWins: boolean;
  /** Emulated: guest counter i is host counter i, and GLOBAL_CTRL passes if the guest has all of the host's counters. */
  readonly identity: boolean;
  /** Emulated: perf switches a counter between a host-only and a guest-only event at entry and exit. */
  readonly sharesSides: boolean;
}

const EMULATED: Omit<VpmuDesign, 'name' | 'title'> = {
  kind: 'emulated',
  // biome-ignore format: a table
  interception: { counters: 'trap', 'counters-beyond': 'trap', global: 'trap', selectors: 'trap', rdpmc: 'trap', extras: 'trap', others: 'trap' },
  switchPoint: 'entry',
  elides: false,
  zeroesUnexposed: false,
  hostRule: 'share',
  alwaysWins: false,
  identity: false,
  sharesSides: false,
};

const MEDIATED: Omit<VpmuDesign, 'name' | 'title'> = {
  kind: 'mediated',
  // biome-ignore format: a table
  interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' },
  switchPoint: 'pass',
  elides: true,
  zeroesUnexposed: false,
  hostRule: 'refuse',
  alwaysWins: false,
  identity: false,
  sharesSides: false,
};

const RFC_V1: Omit<VpmuDesign, 'name' | 'title'> = {
  ...MEDIATED,
  // biome-ignore format: a table
  interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass', selectors: 'pass', rdpmc: 'pass', extras: 'trap', others: 'trap' },
  switchPoint: 'entry',
  elides: false,
  zeroesUnexposed: true,
  hostRule: 'error',
};

/** Every design that was merged or proposed, by name. */
export const DESIGNS = {
  emulated: {
    ...EMULATED,
    name: 'emulated',
    title: 'counters are task-pinned events of host perf; every access exits (Linux until 6.x)',
  },
  mediated: {
    ...MEDIATED,
    name: 'mediated',
    title: 'the PMU is handed over around the run loop; selectors trap (merged in Linux 7.0)',
  },
  'rfc-v1': {
    ...RFC_V1,
    name: 'rfc-v1',
    title:
      'every PMU register passes, switched at every VM entry and exit (RFC of January 2024, modified)',
  },
  'rfc-v1-filter': {
    ...RFC_V1,
    name: 'rfc-v1-filter',
    interception: { ...RFC_V1.interception, selectors: 'trap' },
    title: 'as rfc-v1, selectors and FIXED_CTR_CTRL trap for the event filter (RFC as posted)',
  },
  'emulated-priority': {
    ...EMULATED,
    name: 'emulated-priority',
    alwaysWins: true,
    title:
      'as emulated, KVM’s events come before CPU-pinned ones of the host (Mattson, October 2023)',
  },
  'emulated-identity': {
    ...EMULATED,
    name: 'emulated-identity',
    identity: true,
    title:
      'as emulated, guest counter i is host counter i, so GLOBAL_CTRL passes (Mattson, October 2023)',
  },
  'emulated-sides': {
    ...EMULATED,
    name: 'emulated-sides',
    sharesSides: true,
    title:
      'as emulated, host-only and guest-only events take turns on one counter at entry and exit',
  },
  'emulated-all-three': {
    ...EMULATED,
    name: 'emulated-all-three',
    alwaysWins: true,
    identity: true,
    sharesSides: true,
    title: 'emulated with the priority class, the identity map and shared sides together',
  },
  'mediated-extras': {
    ...MEDIATED,
    name: 'mediated-extras',
    interception: { ...MEDIATED.interception, extras: 'pass' },
    title:
      'as mediated, PERF_METRICS and LBRs handed over too where the VM asks (follow-up series)',
  },
  'guest-owned': {
    ...MEDIATED,
    name: 'guest-owned',
    hostRule: 'error-scoped',
    title:
      'a guest that asks at boot gets the PMU; host events that meet it go to ERROR (Zijlstra, October 2023)',
  },
  'opt-out': {
    ...MEDIATED,
    name: 'opt-out',
    switchPoint: 'sched',
    hostRule: 'none',
    title:
      'the host gives its PMU up at boot; guests own it always (Christopherson, September 2023)',
  },
  blend: {
    ...MEDIATED,
    name: 'blend',
    switchPoint: 'lazy',
    title:
      'as mediated, but taken back only if the host has events on the CPU (the blend of October 2023)',
  },
} as const satisfies Readonly<Record<string, VpmuDesign>>;

export type DesignName = keyof typeof DESIGNS;

/** What the host's perf has to be for a design. */
export const perfOptionsOf = ({ sharesSides, hostRule }: VpmuDesign): PerfOptions => ({
  sharesSides,
  hasHardware: hostRule !== 'none',
});
