import { bit, isSet, ones } from '../bits/bitfield.ts';

/** What a performance-monitoring unit has, as CPUID announces it. Sizes the MSR rows, the device and the CPUID leaves. */
export interface PmuShape {
  /** Version of architectural performance monitoring; 0 is a CPU without a PMU. */
  readonly version: 0 | 1 | 2 | 3 | 4 | 5 | 6;
  /** General-purpose counters that exist, as a bitmap, and their width in bits. */
  readonly gp: bigint;
  readonly gpWidth: number;
  /** Fixed-function counters that exist, as a bitmap, and their width in bits. */
  readonly fixed: bigint;
  readonly fixedWidth: number;
  /** The AnyThread bits exist: version 3 and later, until CPUID.0AH:EDX[15] deprecates them. */
  readonly anyThread: boolean;
  /** IA32_PERF_CAPABILITIES exists (CPUID.01H:ECX[15]). */
  readonly pdcm: boolean;
  /** IA32_PERF_CAPABILITIES.FW_WRITES: the full-width aliases from 4C1H on exist. */
  readonly fullWidthWrites: boolean;
  /** Bits of CPUID.0AH:EBX: architectural events that are *not* available, and how many bits the vector has. */
  readonly eventsMissing: bigint;
  readonly eventVectorLength: number;
}

/** How many registers a bank needs so that every counter of the bitmap is in it. */
export function bankSize(counters: bigint): number {
  let size = 0;
  for (let rest = counters; rest > 0n; rest >>= 1n) size += 1;
  return size;
}

/** How many counters of the bitmap exist without a gap from counter 0 up. */
export function contiguous(counters: bigint): number {
  let count = 0;
  while (isSet(counters, bit(count))) count += 1;
  return count;
}

/** The indices of the counters in a bitmap, ascending. */
export const indices = (counters: bigint): number[] =>
  Array.from({ length: bankSize(counters) }, (_, index) => index).filter((index) =>
    isSet(counters, bit(index)),
  );

/** The four registers of a CPUID leaf. */
export interface CpuidLeaf {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** CPUID leaf 0AH. Vol. 2, "CPUID—CPU Identification", architectural performance monitoring leaf. */
export function perfmonLeaf(shape: PmuShape): CpuidLeaf {
  if (shape.version === 0) return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  const { version, gp, gpWidth, fixed, fixedWidth, eventVectorLength } = shape;
  const hasFixed = version >= 2;
  return {
    eax: version | (contiguous(gp) << 8) | (gpWidth << 16) | (eventVectorLength << 24),
    ebx: Number(shape.eventsMissing & ones(eventVectorLength)),
    ecx: version >= 5 ? Number(fixed) : 0,
    edx: hasFixed
      ? contiguous(fixed) | (fixedWidth << 5) | (version >= 5 && !shape.anyThread ? 1 << 15 : 0)
      : 0,
  };
}
