import { ones } from '../../bits/bitfield.ts';
import { contiguous, type PmuShape } from '../../msr/pmu-shape.ts';
import { canVirtualise } from '../../perf/guest-msrs.ts';
import type { HostPmu } from '../../perf/host-pmu.ts';
import type { VpmuDesign } from './designs.ts';

/** Upper limits of what KVM shows a guest, whatever the host has. */
const MAXIMUM = { version: 2, gp: 8, fixed: 3 } as const;

/** What a VM's user space asks its PMU to be; nothing told is the most KVM supports. */
export interface PmuExposure {
  /** false: the guest has no PMU (KVM_CAP_PMU_CAPABILITY with DISABLE). */
  readonly enabled?: boolean;
  readonly gp?: number;
  /** May exceed KVM's own limit of 3 up to what the host has, as the follow-up series do. */
  readonly fixed?: number;
  /** MSR_PERF_METRICS and fixed counter 3, where the design passes them and the host has them. */
  readonly metrics?: boolean;
  /** Last branch records: architectural ones likewise; a legacy stack where the design is emulated. */
  readonly lbr?: boolean;
  /** Processor event-based sampling into the guest's memory, where the design is emulated and the host's is adaptive. */
  readonly pebs?: boolean;
}

/**
 * The PMU that a guest sees: version min(host, 2), at most 8 and 3 counters, no AnyThread. It is told a
 * number of counters, so those behind a gap of the host's are not its own.
 */
export function guestPmuShape(
  host: HostPmu,
  exposure: PmuExposure,
  { kind, interception }: VpmuDesign,
): PmuShape {
  const passes = interception.extras === 'pass';
  const lbr = kind === 'emulated' ? legacyLbr(host) : passes ? architecturalLbr(host) : undefined;
  const version = exposure.enabled === false ? 0 : Math.min(host.version, MAXIMUM.version);
  const gp = Math.min(exposure.gp ?? MAXIMUM.gp, contiguous(host.gp));
  const metrics = version >= 2 && passes && exposure.metrics === true && host.perfMetrics;
  const most = contiguous(host.fixed);
  const fixed = Math.min(exposure.fixed ?? (metrics ? most : MAXIMUM.fixed), most);
  return {
    version: version as 0 | 1 | 2,
    gp: version >= 1 ? ones(gp) : 0n,
    gpWidth: host.width,
    fixed: version >= 2 ? ones(fixed) : 0n,
    fixedWidth: host.width,
    anyThread: false,
    pdcm: version >= 1,
    fullWidthWrites: version >= 1 && host.fullWidthWrites,
    eventsMissing: 0n,
    eventVectorLength: 7,
    perfMetrics: metrics,
    ...(version >= 2 && exposure.lbr && lbr && { lbr }),
    ...(version >= 2 && kind === 'emulated' && exposure.pebs && guestPebs(host, gp)),
  };
}

/** The host's record format without PEBS_BASELINE, which KVM shows nobody: further groups would hold the host's branches. */
const guestPebs = ({ pebs }: HostPmu, gp: number): Pick<PmuShape, 'pebs'> =>
  canVirtualise(pebs) ? { pebs: { format: 4, baseline: false, gp: ones(gp), precise: 0n } } : {};

/** Whether a guest has everything that RDPMC reads on its host, and that GLOBAL_CTRL opens. */
export const isWhole = ({ version, gp, fixed, perfMetrics }: PmuShape, host: HostPmu): boolean =>
  version >= 2 && gp === host.gp && fixed === host.fixed && perfMetrics === host.perfMetrics;

/** Emulated, a guest claims a stack of host perf's. */
const legacyLbr = ({ lbrStack }: HostPmu): PmuShape['lbr'] =>
  lbrStack === 32 ? { kind: 'legacy', format: 5, depth: 32 } : undefined;

/** Mediated, what can be saved and loaded is handed over. */
const architecturalLbr = ({ lbrDepth }: HostPmu): PmuShape['lbr'] =>
  lbrDepth > 0 ? { kind: 'architectural', depths: 1 << (lbrDepth / 8 - 1) } : undefined;
