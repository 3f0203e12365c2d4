import { bit, isSet } from '../bits/bitfield.ts';

/** What a performance-monitoring unit has, as CPUID announces it. Sizes the MSR rows, the device and the CPUID leaves. */
export interface PmuShape {
  /** Version of architectural performance monitoring; 0 is a CPU without a PMU. */
  readonly version: 0 | 1 | 2 | 3 | 4 | 5 | 6;
  /** General-purpose counters that exist, as a bitmap, and their width in bits. Without gaps before version 6. */
  readonly gp: bigint;
  readonly gpWidth: number;
  /** Fixed-function counters that exist, as a bitmap, and their width in bits. None in version 1. */
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
  /** The IN_TX and IN_TXCP bits of IA32_PERFEVTSELx exist (CPUID.07H:EBX[11], RTM). */
  readonly transactions?: boolean;
  /** MSR_PERF_METRICS exists beside fixed counter 3. */
  readonly perfMetrics?: boolean;
  /** What CPUID.23H.0:EBX announces in version 6. */
  readonly umask2?: boolean;
  readonly equal?: boolean;
  readonly userDisable?: boolean;
  /** Bits of the auxiliary selectors of events (offcore responses, front-end latencies), where the CPU has them. */
  readonly selectors?: { readonly offcore: bigint; readonly frontEnd: bigint };
  /** Last branch records, where the CPU has them. */
  readonly lbr?: LegacyLbrShape | ArchitecturalLbrShape;
  /** Processor event-based sampling through the DS area, where the CPU has it. */
  readonly pebs?: PebsShape;
  /** What version 6 may have of each counter, as bits of the global registers. */
  readonly architecturalPebs?: ArchitecturalPebsShape;
  readonly autoReload?: AutoReloadShape;
}

/** A ring of `depth` records with TOS; `format` is IA32_PERF_CAPABILITIES[5:0]: 5 has INFO registers. */
export interface LegacyLbrShape {
  readonly kind: 'legacy';
  readonly format: 5;
  readonly depth: 16 | 32;
}

/** Entry 0 is the newest. `depths` is CPUID.1CH:EAX[7:0]: bit n supports a depth of 8·(n + 1). */
export interface ArchitecturalLbrShape {
  readonly kind: 'architectural';
  readonly depths: number;
}

/** PEBS through the DS area. Format 3 has records of 200 bytes, format 4 such as begin with the basic group. */
export interface PebsShape {
  readonly format: 3 | 4;
  /** PEBS_BASELINE: records have further groups where a counter asks for them, and every fixed counter may sample. */
  readonly baseline: boolean;
  /** General-purpose counters that may sample, as a bitmap. */
  readonly gp: bigint;
  /** Counters with precise distribution, by their bits of the global registers: the overflowing event is recorded, not the next. */
  readonly precise: bigint;
}

/** PEBS into a buffer in physical memory: counters that may sample, and those of them with precise distribution. */
export interface ArchitecturalPebsShape {
  readonly counters: bigint;
  readonly precise: bigint;
}

/** Auto counter reload: counters that can be reloaded, and those whose overflow can be the cause. */
export interface AutoReloadShape {
  readonly reloaded: bigint;
  readonly causes: bigint;
}

/** Whether general-purpose counter `index` of this shape exists. */
export const hasGp = (shape: PmuShape, index: number): boolean =>
  shape.version >= 1 && isSet(shape.gp, bit(index));

/** The fixed-function counters of this shape, as a bitmap. */
export const fixedCounters = (shape: PmuShape): bigint => (shape.version >= 2 ? shape.fixed : 0n);

/** Ticks per cycle of the crystal clock: CPUID.15H:EBX / EAX, and what CPU_CLK_UNHALTED.REF_XCLK divides by. */
export const TICKS_PER_CRYSTAL_CYCLE = 120;

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

/** Greatest depth that CPUID.1CH:EAX[7:0] announces. */
export const deepest = (depths: number): number => 8 * (32 - Math.clz32(depths));
