import { maskOf } from '../bits/bitfield.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import { CR4, XCR0 } from './control-registers.ts';
import { type Feature, supervisorStates } from './cpuid.ts';
import type { Features } from './system/core.ts';

/** A cache as CPUID leaf 4 describes it; lines are 64 bytes. */
export interface CacheRow {
  /** 1 data, 2 instructions, 3 both. */
  readonly type: 1 | 2 | 3;
  readonly level: 1 | 2 | 3;
  readonly ways: number;
  readonly sets: number;
  readonly sharedByAll?: boolean;
}

/** A processor to be: what CPUID says of it, apart from its PMU. */
export interface CpuProfile {
  readonly name: string;
  readonly brand: string;
  /** CPUID.1:EAX. */
  readonly signature: number;
  readonly features: readonly Feature[];
  readonly physicalWidth: number;
  readonly tscHz: number;
  readonly xcr0: bigint;
  readonly caches: readonly CacheRow[];
}

// biome-ignore format: a table
const COMMON: readonly Feature[] = [
  'FPU', 'DE', 'PSE', 'TSC', 'MSR', 'PAE', 'MCE', 'CX8', 'SEP', 'MTRR', 'PGE', 'MCA', 'CMOV', 'PAT', 'PSE36', 'CLFLUSH', 'MMX', 'FXSR',
  'SSE', 'SSE2', 'SSE3', 'SSSE3', 'SSE4.1', 'SSE4.2', 'PCLMULQDQ', 'AES', 'MONITOR', 'VMX', 'CX16', 'PCID', 'X2APIC', 'MOVBE', 'POPCNT',
  'TSC_DEADLINE', 'XSAVE', 'XSAVEOPT', 'XSAVEC', 'XGETBV1', 'XSAVES', 'RDRAND', 'FSGSBASE', 'TSC_ADJUST', 'BMI1', 'BMI2', 'SMEP', 'ERMS',
  'INVPCID', 'RDSEED', 'ADX', 'SMAP', 'CLFLUSHOPT', 'CLWB', 'ARAT', 'LAHF', 'LZCNT', 'PREFETCHW', 'SYSCALL', 'NX', 'PDPE1GB', 'RDTSCP',
  'LM', 'INVARIANT_TSC', 'PKU', 'IBRS_IBPB',
];

/** Golden Cove in a server. */
export const SAPPHIRE_RAPIDS: CpuProfile = {
  name: 'sapphire-rapids',
  brand: 'counterpoint Sapphire Rapids @ 3.00GHz',
  signature: 0x000806f8,
  features: [...COMMON, 'SHA', 'UMIP', 'LA57', 'RDPID', 'FSRM', 'SERIALIZE', 'WBNOINVD'],
  physicalWidth: 46,
  tscHz: 3_000_000_000,
  xcr0: XCR0.X87 | XCR0.SSE | XCR0.PKRU,
  caches: [
    { type: 1, level: 1, ways: 12, sets: 64 },
    { type: 2, level: 1, ways: 8, sets: 64 },
    { type: 3, level: 2, ways: 16, sets: 2048 },
    { type: 3, level: 3, ways: 15, sets: 32768, sharedByAll: true },
  ],
};

/** Skylake in a server. */
export const SKYLAKE_SERVER: CpuProfile = {
  name: 'skylake-server',
  brand: 'counterpoint Skylake Server @ 3.00GHz',
  signature: 0x00050654,
  features: COMMON,
  physicalWidth: 46,
  tscHz: 3_000_000_000,
  xcr0: XCR0.X87 | XCR0.SSE | XCR0.PKRU,
  caches: [
    { type: 1, level: 1, ways: 8, sets: 64 },
    { type: 2, level: 1, ways: 8, sets: 64 },
    { type: 3, level: 2, ways: 16, sets: 1024 },
    { type: 3, level: 3, ways: 11, sets: 32768, sharedByAll: true },
  ],
};

/** CR4 bits that come with a feature; the others are there on every profile. */
// biome-ignore format: a table
const CR4_FEATURES: readonly (readonly [Feature, bigint])[] = [
  ['UMIP', CR4.UMIP], ['LA57', CR4.LA57], ['VMX', CR4.VMXE], ['FSGSBASE', CR4.FSGSBASE], ['PCID', CR4.PCIDE],
  ['XSAVE', CR4.OSXSAVE], ['SMEP', CR4.SMEP], ['SMAP', CR4.SMAP], ['PKU', CR4.PKE],
];
const CR4_ALWAYS = maskOf(
  CR4.TSD,
  CR4.DE,
  CR4.PSE,
  CR4.PAE,
  CR4.MCE,
  CR4.PGE,
  CR4.PCE,
  CR4.OSFXSR,
  CR4.OSXMMEXCPT,
);

/** What the core needs to know of a profile. */
export const coreFeatures = (
  { features, physicalWidth, xcr0 }: CpuProfile,
  pmu: Pick<PmuShape, 'lbr'> = {},
): Features => ({
  physicalWidth,
  cr4: CR4_FEATURES.reduce(
    (allowed, [feature, bits]) => (features.includes(feature) ? allowed | bits : allowed),
    CR4_ALWAYS,
  ),
  xcr0,
  xss: features.includes('XSAVES') ? supervisorStates(pmu) : 0n,
  speculationControl: features.includes('IBRS_IBPB'),
});
