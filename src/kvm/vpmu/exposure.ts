import { ones } from '../../bits/bitfield.ts';
import type { PmuShape } from '../../msr/pmu-shape.ts';
import type { HostPmu } from '../../perf/host-pmu.ts';

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
}

const count = (mask: bigint): number => mask.toString(2).replaceAll('0', '').length;

/** How many counters of each kind the host has. */
export const hostCounters = ({ gp, fixed }: HostPmu): { gp: number; fixed: number } => ({
  gp: count(gp),
  fixed: count(fixed),
});

/** The PMU that a guest sees: version min(host, 2), at most 8 and 3 counters, no PEBS, no AnyThread. */
export function guestPmuShape(host: HostPmu, exposure: PmuExposure = {}): PmuShape {
  const have = hostCounters(host);
  const lbr = lbrShape(host);
  const version = exposure.enabled === false ? 0 : Math.min(host.version, MAXIMUM.version);
  const gp = Math.min(exposure.gp ?? MAXIMUM.gp, have.gp);
  const metrics = version >= 2 && exposure.metrics === true && host.perfMetrics;
  const wanted = exposure.fixed ?? (metrics ? have.fixed : MAXIMUM.fixed);
  const fixed = Math.min(wanted, have.fixed);
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
  };
}

/** The last branch records that a guest of this host can have. */
function lbrShape({ lbrDepth, lbrStack }: HostPmu): PmuShape['lbr'] {
  if (lbrDepth > 0) return { kind: 'architectural', depths: 1 << (lbrDepth / 8 - 1) };
  return lbrStack === 32 ? { kind: 'legacy', format: 5, depth: 32 } : undefined;
}
