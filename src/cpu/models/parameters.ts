import type { HierarchyShape } from './hierarchy.ts';
import type { PredictorShape } from './predictor.ts';
import type { TlbShape } from './tlb.ts';

/** Everything the micro-architecture model can be told. Penalties are exposed cycles: what overlap leaves over. */
export interface MicroArchitectureParameters {
  readonly caches: HierarchyShape;
  readonly tlbs: TlbShape;
  readonly predictor: PredictorShape;
  readonly penalties: {
    readonly mispredict: number;
    readonly l2: number;
    readonly llc: number;
    readonly memory: number;
    /** A second-level TLB hit, and a page walk. */
    readonly stlb: number;
    readonly walk: number;
    /** Delivery of an interrupt or exception. */
    readonly delivery: number;
  };
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** After Golden Cove; the last level stands for one core's reach into the shared one. */
export const GOLDEN_COVE: MicroArchitectureParameters = {
  caches: {
    l1d: { bytes: 48 * KIB, ways: 12 },
    l1i: { bytes: 32 * KIB, ways: 8 },
    l2: { bytes: 2 * MIB, ways: 16 },
    llc: { bytes: 16 * MIB, ways: 16 },
  },
  tlbs: {
    dtlb: { entries: 96, ways: 6 },
    itlb: { entries: 256, ways: 8 },
    stlb: { entries: 2048, ways: 16 },
  },
  predictor: { directionBits: 14, historyBits: 12, targetBits: 12, returnStack: 24 },
  penalties: { mispredict: 17, l2: 5, llc: 20, memory: 50, stlb: 3, walk: 12, delivery: 60 },
};

/** After Skylake server. */
export const SKYLAKE: MicroArchitectureParameters = {
  caches: {
    l1d: { bytes: 32 * KIB, ways: 8 },
    l1i: { bytes: 32 * KIB, ways: 8 },
    l2: { bytes: 1 * MIB, ways: 16 },
    llc: { bytes: 16 * MIB, ways: 16 },
  },
  tlbs: {
    dtlb: { entries: 64, ways: 4 },
    itlb: { entries: 128, ways: 8 },
    stlb: { entries: 1536, ways: 12 },
  },
  predictor: { directionBits: 13, historyBits: 10, targetBits: 11, returnStack: 16 },
  penalties: { mispredict: 16, l2: 4, llc: 22, memory: 55, stlb: 4, walk: 14, delivery: 60 },
};
