import { bit, extract, isSet, ones } from '../bits/bitfield.ts';
import type { HostCpu } from '../host/cpu.ts';
import { MISC_ENABLE, PERF_CAPABILITIES } from '../msr/pmu.ts';

/** What CPUID and IA32_PERF_CAPABILITIES say about the physical PMU. */
export interface HostPmu {
  readonly version: number;
  readonly gp: bigint;
  readonly fixed: bigint;
  readonly width: number;
  readonly fullWidthWrites: boolean;
  /** MSR_PERF_METRICS exists. */
  readonly perfMetrics: boolean;
  /** Entries of the legacy LBR stack, with its TOS and INFO registers and call-stack mode; 0 without one. */
  readonly lbrStack: number;
  /** Depth of the architectural LBR stack, 0 without one. */
  readonly lbrDepth: number;
  readonly pebs: HostPebs | undefined;
}

/** Processor event-based sampling of the physical PMU. */
export interface HostPebs {
  readonly format: number;
  /** Records of several groups, also for fixed counters. */
  readonly baseline: boolean;
  /** Counters whose records name the overflowing instruction itself (PDIST, PDIR), as GLOBAL_CTRL names them. */
  readonly precise: bigint;
}

const CAPABILITIES = 0x345;
const PDCM = 1 << 15;
/** Format 5: records with INFO registers. Those who have it have 32. */
const LBR_FORMAT_INFO = 5n;
const SKYLAKE_LBRS = 32;
const ARCH_LBR = 1 << 19;
const DS = 1 << 21;
const MISC_ENABLE_ADDRESS = 0x1a0;
const SAPPHIRE_RAPIDS_MODEL = 0x8f;
/** CPUID.07H.1:EAX. */
const PERFMON_EXTENDED = 1 << 8;

/** Reads what the physical PMU has. */
export function hostPmuOf(host: HostCpu): HostPmu {
  const { eax, ecx, edx } = host.cpuid(0x0a);
  const version = eax & 0xff;
  const contiguous = ones(edx & 0x1f);
  const capabilities = (host.cpuid(1).ecx & PDCM) !== 0 ? host.rdmsr(CAPABILITIES) : 0n;
  const fixed = version >= 2 ? contiguous | (version >= 5 ? BigInt(ecx >>> 0) : 0n) : 0n;
  return {
    version,
    ...(extendedCounters(host) ?? { gp: ones((eax >>> 8) & 0xff), fixed }),
    width: (eax >>> 16) & 0xff,
    fullWidthWrites: isSet(capabilities, PERF_CAPABILITIES.FW_WRITES),
    perfMetrics: isSet(capabilities, PERF_CAPABILITIES.PERF_METRICS),
    lbrStack:
      extract(capabilities, PERF_CAPABILITIES.LBR_FORMAT) === LBR_FORMAT_INFO ? SKYLAKE_LBRS : 0,
    lbrDepth: lbrDepthOf(host),
    pebs: pebsOf(host, capabilities),
  };
}

/** intel_ds_init. Which counters are precise goes by the model, as in Linux: of those known here Sapphire Rapids has counter 0. */
function pebsOf(host: HostCpu, capabilities: bigint): HostPebs | undefined {
  const { eax, edx } = host.cpuid(1);
  if ((edx & DS) === 0 || isSet(host.rdmsr(MISC_ENABLE_ADDRESS), MISC_ENABLE.PEBS_UNAVAILABLE)) {
    return undefined;
  }
  const baseline = isSet(capabilities, PERF_CAPABILITIES.PEBS_BASELINE);
  const model = ((eax >>> 12) & 0xf0) | ((eax >>> 4) & 0xf);
  const precise = (baseline ? bit(32) : 0n) | (model === SAPPHIRE_RAPIDS_MODEL ? bit(0) : 0n);
  return {
    format: Number(extract(capabilities, PERF_CAPABILITIES.PEBS_FORMAT)),
    baseline,
    precise,
  };
}

/** update_pmu_cap: counters with gaps between them, where CPUID.23H tells of them. */
function extendedCounters(host: HostCpu): Pick<HostPmu, 'gp' | 'fixed'> | undefined {
  if ((host.cpuid(7, 1).eax & PERFMON_EXTENDED) === 0) return undefined;
  const { eax, ebx } = host.cpuid(0x23, 1);
  return { gp: BigInt(eax >>> 0), fixed: BigInt(ebx >>> 0) };
}

/** Deepest stack that CPUID.1CH:EAX[7:0] announces: bit n is 8·(n + 1) entries. */
function lbrDepthOf(host: HostCpu): number {
  if ((host.cpuid(7).edx & ARCH_LBR) === 0) return 0;
  const depths = host.cpuid(0x1c).eax & 0xff;
  return depths === 0 ? 0 : 8 * (32 - Math.clz32(depths));
}
