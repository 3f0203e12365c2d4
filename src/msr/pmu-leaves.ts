import { ones } from '../bits/bitfield.ts';
import { sampledGroups } from './counter-extensions.ts';
import { contiguous, fixedCounters, type PmuShape } from './pmu-shape.ts';

/** The four registers of a CPUID leaf. */
export interface CpuidLeaf {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

const NO_LEAF: CpuidLeaf = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/** CPUID leaf 0AH. Vol. 2, "CPUID—CPU Identification", architectural performance monitoring leaf. */
export function perfmonLeaf(shape: PmuShape): CpuidLeaf {
  if (shape.version === 0) return NO_LEAF;
  const { version, gp, gpWidth, fixedWidth, eventVectorLength } = shape;
  const fixed = fixedCounters(shape);
  const anyThreadDeprecated = version >= 5 && !shape.anyThread ? 1 << 15 : 0;
  return {
    eax: (version | (contiguous(gp) << 8) | (gpWidth << 16) | (eventVectorLength << 24)) >>> 0,
    ebx: Number(shape.eventsMissing & ones(eventVectorLength)),
    ecx: version >= 5 ? Number(fixed) : 0,
    edx: version >= 2 ? contiguous(fixed) | (fixedWidth << 5) | anyThreadDeprecated : 0,
  };
}

/** CPUID leaf 23H, announced by CPUID.7.1:EAX[8]; all zero before version 6. Vol. 2, architectural performance monitoring extended leaf. */
export function perfmonExtendedLeaf(shape: PmuShape, subleaf: number): CpuidLeaf {
  if (shape.version < 6) return NO_LEAF;
  const flag = (has: boolean | undefined, position: number) => (has ? 1 << position : 0);
  const { umask2, equal, userDisable, architecturalPebs: pebs, autoReload } = shape;
  const features = flag(umask2, 0) | flag(equal, 1) | flag(userDisable, 2);
  const gp = (counters: bigint) => Number(counters & ones(32));
  const fixed = (counters: bigint) => Number(counters >> 32n);
  if (subleaf === 0) {
    const subleaves = 0b1011 | flag(autoReload !== undefined, 2) | (pebs ? 0b11_0000 : 0);
    return { ...NO_LEAF, eax: subleaves, ebx: features, ecx: 1 };
  }
  if (subleaf === 1) return { ...NO_LEAF, eax: Number(shape.gp), ebx: Number(shape.fixed) };
  if (subleaf === 2 && autoReload) {
    const { reloaded, causes } = autoReload;
    return { eax: gp(reloaded), ebx: fixed(reloaded), ecx: gp(causes), edx: fixed(causes) };
  }
  if (subleaf === 4 && pebs) return { ...NO_LEAF, ebx: Number(sampledGroups(shape) >> 32n) };
  if (subleaf === 5 && pebs) {
    const { counters, precise } = pebs;
    return { eax: gp(counters), ebx: gp(precise), ecx: fixed(counters), edx: fixed(precise) };
  }
  const present = ones(shape.eventVectorLength) & ~shape.eventsMissing;
  return subleaf === 3 ? { ...NO_LEAF, eax: Number(present) } : NO_LEAF;
}

/** CPUID leaf 1CH: CPL, branch-type and call-stack filters; mispredict bit and branch types. */
export function lbrLeaf({ lbr }: PmuShape): CpuidLeaf {
  if (lbr?.kind !== 'architectural') return NO_LEAF;
  return { eax: (lbr.depths | (1 << 31)) >>> 0, ebx: 0b111, ecx: 0b101, edx: 0 };
}
