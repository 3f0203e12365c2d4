import { bit, ones } from '../bits/bitfield.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import {
  ARCHITECTURAL_EVENTS,
  type EventRow,
  SAPPHIRE_RAPIDS_EVENTS,
  SKYLAKE_EVENTS,
} from './events.ts';

/** A PMU as some processor has it: its shape and the events it knows. */
export interface PmuProfile {
  readonly name: string;
  readonly shape: PmuShape;
  readonly events: readonly EventRow[];
}

/** Version 5, eight and four counters of 48 bits; LBRs, PEBS and metrics hidden. */
export const SAPPHIRE_RAPIDS: PmuProfile = {
  name: 'sapphire-rapids',
  shape: {
    version: 5,
    gp: ones(8),
    gpWidth: 48,
    fixed: ones(4),
    fixedWidth: 48,
    anyThread: false,
    pdcm: true,
    fullWidthWrites: true,
    eventsMissing: 0n,
    eventVectorLength: 8,
  },
  events: SAPPHIRE_RAPIDS_EVENTS,
};

/** Sapphire Rapids with all it has: architectural LBRs, adaptive PEBS, PERF_METRICS. */
export const SAPPHIRE_RAPIDS_WHOLE: PmuProfile = {
  ...SAPPHIRE_RAPIDS,
  name: 'sapphire-rapids-whole',
  shape: {
    ...SAPPHIRE_RAPIDS.shape,
    perfMetrics: true,
    lbr: { kind: 'architectural', depths: 0b1111 },
    pebs: { format: 4, baseline: true, gp: ones(8), precise: bit(0) | bit(32) },
    selectors: { offcore: ones(38), frontEnd: 0x7f_ff1fn },
  },
};

/** Version 4, three fixed counters of 48 bits; eight general-purpose ones, as a thread has them without SMT. */
export const SKYLAKE_SERVER: PmuProfile = {
  name: 'skylake-server',
  shape: {
    version: 4,
    gp: ones(8),
    gpWidth: 48,
    fixed: ones(3),
    fixedWidth: 48,
    anyThread: true,
    pdcm: true,
    fullWidthWrites: true,
    eventsMissing: 0n,
    eventVectorLength: 7,
  },
  events: SKYLAKE_EVENTS,
};

/** Skylake server with all it has: a stack of 32 LBRs with INFO, PEBS records of 200 bytes on the first four counters. */
export const SKYLAKE_SERVER_WHOLE: PmuProfile = {
  ...SKYLAKE_SERVER,
  name: 'skylake-server-whole',
  shape: {
    ...SKYLAKE_SERVER.shape,
    lbr: { kind: 'legacy', format: 5, depth: 32 },
    pebs: { format: 3, baseline: false, gp: ones(4), precise: 0n },
    selectors: { offcore: 0x3f_ffff_8fffn, frontEnd: 0x7f_ff17n },
  },
};

/** Version 5 as Ice Lake has it: adaptive PEBS, PERF_METRICS, a stack of 32 LBRs with INFO. */
export const ICE_LAKE_SERVER: PmuProfile = {
  ...SAPPHIRE_RAPIDS,
  name: 'ice-lake-server',
  shape: {
    ...SAPPHIRE_RAPIDS.shape,
    perfMetrics: true,
    lbr: { kind: 'legacy', format: 5, depth: 32 },
    pebs: { format: 4, baseline: true, gp: ones(8), precise: bit(32) },
    selectors: { offcore: 0x3f_ffff_bfffn, frontEnd: 0x7f_ff17n },
  },
};

const architectural = (version: 1 | 2 | 3 | 4 | 5 | 6, rest: Partial<PmuShape>): PmuProfile => ({
  name: `architectural-v${version}`,
  shape: {
    version,
    gp: ones(4),
    gpWidth: 48,
    fixed: version >= 2 ? ones(3) : 0n,
    fixedWidth: 48,
    anyThread: version === 3 || version === 4,
    pdcm: version >= 2,
    fullWidthWrites: version >= 3,
    eventsMissing: 0n,
    eventVectorLength: version >= 5 ? 8 : 7,
    ...rest,
  },
  events: ARCHITECTURAL_EVENTS,
});

/** One PMU of no particular processor for each version of architectural performance monitoring. */
export const ARCHITECTURAL_PROFILES: readonly PmuProfile[] = [
  architectural(1, { gp: ones(2), gpWidth: 40 }),
  architectural(2, { gp: ones(2), gpWidth: 40, fixedWidth: 40 }),
  architectural(3, {}),
  architectural(4, {}),
  architectural(5, { gp: ones(8), fixed: ones(4) }),
  // Counters with gaps, which only this version can announce.
  architectural(6, {
    gp: 0b1011_0111n,
    fixed: 0b0111_0111n,
    eventVectorLength: 13,
    umask2: true,
    equal: true,
    userDisable: true,
    architecturalPebs: {
      counters: (0b0111_0111n << 32n) | 0b1011_0111n,
      precise: (1n << 32n) | 1n,
    },
    autoReload: {
      reloaded: (0b0000_0111n << 32n) | 0b0011_0111n,
      causes: (0b0000_0111n << 32n) | 0b1011_0111n,
    },
  }),
];

/** A CPU without a PMU. */
export const NO_PMU: PmuProfile = {
  name: 'none',
  shape: {
    version: 0,
    gp: 0n,
    gpWidth: 0,
    fixed: 0n,
    fixedWidth: 0,
    anyThread: false,
    pdcm: false,
    fullWidthWrites: false,
    eventsMissing: 0n,
    eventVectorLength: 0,
  },
  events: [],
};

/** The profiles by name. */
export const PMU_PROFILES: ReadonlyMap<string, PmuProfile> = new Map(
  [
    SAPPHIRE_RAPIDS,
    SAPPHIRE_RAPIDS_WHOLE,
    SKYLAKE_SERVER,
    SKYLAKE_SERVER_WHOLE,
    ICE_LAKE_SERVER,
    ...ARCHITECTURAL_PROFILES,
    NO_PMU,
  ].map((profile) => [profile.name, profile]),
);
