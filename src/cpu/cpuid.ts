import { lbrLeaf, perfmonExtendedLeaf, perfmonLeaf } from '../msr/pmu-leaves.ts';
import { type PmuShape, TICKS_PER_CRYSTAL_CYCLE } from '../msr/pmu-shape.ts';
import { CR4, XSS } from './control-registers.ts';
import type { CpuidContext, CpuidRegisters } from './ports.ts';
import type { CpuProfile } from './profiles.ts';

type Register = 'eax' | 'ebx' | 'ecx' | 'edx';

/** Where CPUID announces a feature. */
interface FeatureRow {
  readonly leaf: number;
  readonly subleaf?: number;
  readonly register: Register;
  readonly bit: number;
}

const row = (leaf: number, register: Register, bit: number, subleaf = 0): FeatureRow => ({
  leaf,
  subleaf,
  register,
  bit,
});

const LEAF_1C = (bit: number) => row(1, 'ecx', bit);
const LEAF_1D = (bit: number) => row(1, 'edx', bit);
const LEAF_7B = (bit: number) => row(7, 'ebx', bit);
const LEAF_7C = (bit: number) => row(7, 'ecx', bit);
const LEAF_7D = (bit: number) => row(7, 'edx', bit);
const EXTENDED_C = (bit: number) => row(0x8000_0001, 'ecx', bit);
const EXTENDED_D = (bit: number) => row(0x8000_0001, 'edx', bit);

/** Features that a profile may list, under the names the decoder uses. Vol. 2, "CPUID—CPU Identification". */
// biome-ignore format: a table
export const FEATURES = {
  SSE3: LEAF_1C(0),     PCLMULQDQ: LEAF_1C(1), MONITOR: LEAF_1C(3),  VMX: LEAF_1C(5),      SSSE3: LEAF_1C(9),    CX16: LEAF_1C(13),
  PCID: LEAF_1C(17),    'SSE4.1': LEAF_1C(19), 'SSE4.2': LEAF_1C(20), X2APIC: LEAF_1C(21), MOVBE: LEAF_1C(22),   POPCNT: LEAF_1C(23),
  TSC_DEADLINE: LEAF_1C(24), AES: LEAF_1C(25), XSAVE: LEAF_1C(26),   RDRAND: LEAF_1C(30),
  FPU: LEAF_1D(0),      DE: LEAF_1D(2),        PSE: LEAF_1D(3),      TSC: LEAF_1D(4),      MSR: LEAF_1D(5),      PAE: LEAF_1D(6),
  MCE: LEAF_1D(7),      CX8: LEAF_1D(8),       SEP: LEAF_1D(11),     MTRR: LEAF_1D(12),    PGE: LEAF_1D(13),     MCA: LEAF_1D(14),
  CMOV: LEAF_1D(15),    PAT: LEAF_1D(16),      PSE36: LEAF_1D(17),   CLFLUSH: LEAF_1D(19), MMX: LEAF_1D(23),     FXSR: LEAF_1D(24),
  SSE: LEAF_1D(25),     SSE2: LEAF_1D(26),
  FSGSBASE: LEAF_7B(0), TSC_ADJUST: LEAF_7B(1), BMI1: LEAF_7B(3),    SMEP: LEAF_7B(7),     BMI2: LEAF_7B(8),     ERMS: LEAF_7B(9),
  INVPCID: LEAF_7B(10), RDSEED: LEAF_7B(18),   ADX: LEAF_7B(19),     SMAP: LEAF_7B(20),    CLFLUSHOPT: LEAF_7B(23), CLWB: LEAF_7B(24),
  SHA: LEAF_7B(29),     UMIP: LEAF_7C(2),      PKU: LEAF_7C(3),      LA57: LEAF_7C(16),    RDPID: LEAF_7C(22),
  FSRM: LEAF_7D(4),     SERIALIZE: LEAF_7D(14), IBRS_IBPB: LEAF_7D(26),
  XSAVEOPT: row(0xd, 'eax', 0, 1), XSAVEC: row(0xd, 'eax', 1, 1), XGETBV1: row(0xd, 'eax', 2, 1), XSAVES: row(0xd, 'eax', 3, 1),
  ARAT: row(6, 'eax', 2),
  LAHF: EXTENDED_C(0),  LZCNT: EXTENDED_C(5),  PREFETCHW: EXTENDED_C(8),
  SYSCALL: EXTENDED_D(11), NX: EXTENDED_D(20), PDPE1GB: EXTENDED_D(26), RDTSCP: EXTENDED_D(27), LM: EXTENDED_D(29),
  INVARIANT_TSC: row(0x8000_0007, 'edx', 8),
  WBNOINVD: row(0x8000_0008, 'ebx', 9),
} as const satisfies Readonly<Record<string, FeatureRow>>;
export type Feature = keyof typeof FEATURES;

/** What tells one processor of a machine from another. */
export interface ProcessorIdentity {
  readonly apicId: number;
  /** Logical processors in the package. */
  readonly processors: number;
}

/**
 * State components of XSAVE beyond the legacy area: size and offset in the standard format, which supervisor
 * components are not in. Architectural LBRs have room for the 32 entries that profiles have at most.
 */
// biome-ignore format: a table
export const XSAVE_COMPONENTS: Readonly<Record<number, { size: number; offset: number }>> = {
  2:  { size: 256, offset: 576 },
  9:  { size: 8,   offset: 2688 },
  15: { size: 808, offset: 0 },
};
const XSAVE_HEADER_END = 576;

/** State components that IA32_XSS may enable. */
export const supervisorStates = ({ lbr }: Pick<PmuShape, 'lbr'>): bigint =>
  lbr?.kind === 'architectural' ? XSS.ARCH_LBR : 0n;

const ZERO: CpuidRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
type Leaf = (subleaf: number, context: CpuidContext) => CpuidRegisters;

const text = (bytes: string, at: number): number =>
  [3, 2, 1, 0].reduce((word, i) => word * 256 + (bytes.charCodeAt(at + i) || 0), 0);

/** Bytes that XSAVE needs for the components of `mask`, standard or compacted. */
function xsaveSize(mask: bigint, compacted = false): number {
  let end = XSAVE_HEADER_END;
  for (const [index, { size, offset }] of Object.entries(XSAVE_COMPONENTS)) {
    if ((mask >> BigInt(index)) % 2n === 0n) continue;
    end = compacted ? end + size : Math.max(end, offset + size);
  }
  return end;
}

/**
 * CPUID of one processor: leaf and subleaf to registers. Beyond the last leaf it answers as the last basic one,
 * as Intel's processors do.
 */
export function cpuid(
  profile: CpuProfile,
  pmu: PmuShape,
  { apicId, processors }: ProcessorIdentity,
): (leaf: number, subleaf: number, context: CpuidContext) => CpuidRegisters {
  const has = (feature: Feature): boolean => profile.features.includes(feature);
  /** What the listed features put into a leaf. */
  const announced = (leaf: number, subleaf = 0): CpuidRegisters => {
    const registers = { ...ZERO };
    for (const feature of profile.features) {
      const at: FeatureRow = FEATURES[feature];
      if (at.leaf === leaf && (at.subleaf ?? 0) === subleaf) {
        registers[at.register] = (registers[at.register] | (1 << at.bit)) >>> 0;
      }
    }
    return registers;
  };
  const shift = Math.ceil(Math.log2(Math.max(1, processors)));
  const pages = profile.brand.padEnd(48, '\0');
  const brand = (part: number): CpuidRegisters => ({
    eax: text(pages, part * 16),
    ebx: text(pages, part * 16 + 4),
    ecx: text(pages, part * 16 + 8),
    edx: text(pages, part * 16 + 12),
  });
  const architecturalLbr = pmu.lbr?.kind === 'architectural' ? pmu.lbr : undefined;

  const leaves = new Map<number, Leaf>([
    [
      0x0,
      () => ({
        eax: lastBasic,
        ebx: text('GenuineIntel', 0),
        edx: text('GenuineIntel', 4),
        ecx: text('GenuineIntel', 8),
      }),
    ],
    [
      0x1,
      (_subleaf, { cr4, apicEnabled }) => {
        const { ecx, edx } = announced(1);
        const osxsave = has('XSAVE') && (cr4 & CR4.OSXSAVE) !== 0n ? 1 << 27 : 0;
        return {
          eax: profile.signature,
          // CLFLUSH of 64 bytes, processors in the package, initial APIC id
          ebx: ((apicId & 0xff) << 24) | (processors << 16) | (8 << 8),
          ecx: ecx | osxsave | (pmu.pdcm ? 1 << 15 : 0),
          edx:
            edx |
            (apicEnabled ? 1 << 9 : 0) |
            (processors > 1 ? 1 << 28 : 0) |
            (pmu.pebs ? 1 << 21 : 0),
        };
      },
    ],
    // One descriptor: leaf 4 describes the caches.
    [0x2, () => ({ eax: 0x00fe_ff01, ebx: 0, ecx: 0, edx: 0 })],
    [
      0x4,
      (subleaf) => {
        const cache = profile.caches[subleaf];
        if (!cache) return ZERO;
        const { type, level, ways, sets, sharedByAll = false } = cache;
        const sharing = sharedByAll ? processors - 1 : 0;
        return {
          eax: type | (level << 5) | (1 << 8) | (sharing << 14) | ((processors - 1) << 26),
          ebx: 63 | ((ways - 1) << 22),
          ecx: sets - 1,
          edx: 0,
        };
      },
    ],
    [0x5, () => ({ eax: 64, ebx: 64, ecx: 3, edx: 0 })],
    [0x6, () => announced(6)],
    [
      0x7,
      (subleaf, { cr4 }) => {
        if (subleaf === 1) return { ...ZERO, eax: pmu.version >= 6 ? 1 << 8 : 0 };
        if (subleaf !== 0) return ZERO;
        const { ebx, ecx, edx } = announced(7);
        const ospke = has('PKU') && (cr4 & CR4.PKE) !== 0n ? 1 << 4 : 0;
        return {
          eax: 1,
          ebx,
          ecx: ecx | ospke,
          edx: edx | (architecturalLbr ? 1 << 19 : 0),
        };
      },
    ],
    [0xa, () => perfmonLeaf(pmu)],
    [
      0xb,
      (subleaf) => {
        const level = [
          { shift: 0, count: 1, type: 1 },
          { shift, count: processors, type: 2 },
        ][subleaf] ?? { shift: 0, count: 0, type: 0 };
        return {
          eax: level.shift,
          ebx: level.count,
          ecx: (subleaf & 0xff) | (level.type << 8),
          edx: apicId,
        };
      },
    ],
    [
      0xd,
      (subleaf, { xcr0, xss }) => {
        const user = profile.xcr0;
        const supervisor = supervisorStates(pmu);
        if (subleaf === 0) {
          return {
            eax: Number(user & 0xffff_ffffn),
            ebx: xsaveSize(xcr0),
            ecx: xsaveSize(user),
            edx: Number(user >> 32n),
          };
        }
        if (subleaf === 1) {
          const compacted = has('XSAVEC') || has('XSAVES') ? xsaveSize(xcr0 | xss, true) : 0;
          return { ...announced(0xd, 1), ebx: compacted, ecx: Number(supervisor), edx: 0 };
        }
        const component = XSAVE_COMPONENTS[subleaf];
        const inXss = Number((supervisor >> BigInt(subleaf)) & 1n);
        if (!component || ((user | supervisor) >> BigInt(subleaf)) % 2n === 0n) return ZERO;
        return { eax: component.size, ebx: component.offset, ecx: inXss, edx: 0 };
      },
    ],
    // TSC = crystal · EBX / EAX
    [
      0x15,
      () => {
        const crystal = profile.tscHz / TICKS_PER_CRYSTAL_CYCLE;
        return { eax: 1, ebx: TICKS_PER_CRYSTAL_CYCLE, ecx: crystal, edx: 0 };
      },
    ],
    [
      0x16,
      () => ({
        eax: profile.tscHz / 1e6,
        ebx: profile.tscHz / 1e6,
        ecx: 100,
        edx: 0,
      }),
    ],
    [0x1c, () => lbrLeaf(pmu)],
    [0x23, (subleaf) => perfmonExtendedLeaf(pmu, subleaf)],
    [0x8000_0000, () => ({ eax: 0x8000_0008, ebx: 0, ecx: 0, edx: 0 })],
    [0x8000_0001, () => announced(0x8000_0001)],
    [0x8000_0002, () => brand(0)],
    [0x8000_0003, () => brand(1)],
    [0x8000_0004, () => brand(2)],
    [0x8000_0006, () => ({ eax: 0, ebx: 0, ecx: 0x0800_7040, edx: 0 })],
    [0x8000_0007, () => announced(0x8000_0007)],
    [
      0x8000_0008,
      () => ({
        ...announced(0x8000_0008),
        eax: profile.physicalWidth | ((has('LA57') ? 57 : 48) << 8),
      }),
    ],
  ]);
  const lastBasic = pmu.version >= 6 ? 0x23 : architecturalLbr ? 0x1c : 0x16;

  return (leaf, subleaf, context) => {
    const extended = leaf >= 0x8000_0000;
    const beyond = extended ? leaf > 0x8000_0008 : leaf > lastBasic;
    const answer = leaves.get(beyond ? lastBasic : leaf);
    const { eax, ebx, ecx, edx } = answer ? answer(subleaf, context) : ZERO;
    return { eax: eax >>> 0, ebx: ebx >>> 0, ecx: ecx >>> 0, edx: edx >>> 0 };
  };
}
