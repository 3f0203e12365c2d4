/** A cache's geometry: bytes and ways. The number of sets must be a power of two. */
export interface CacheShape {
  readonly bytes: number;
  readonly ways: number;
}

/** Two first-level caches, a second level and the last level behind them. */
export interface HierarchyShape {
  readonly l1d: CacheShape;
  readonly l1i: CacheShape;
  readonly l2: CacheShape;
  readonly llc: CacheShape;
}

/** Entries and ways of the first-level and the shared second-level TLB. */
export interface TlbShape {
  readonly dtlb: { readonly entries: number; readonly ways: number };
  readonly itlb: { readonly entries: number; readonly ways: number };
  readonly stlb: { readonly entries: number; readonly ways: number };
}

/** Sizes of the predictor's tables, as powers of two, and of its return stack. */
export interface PredictorShape {
  readonly directionBits: number;
  readonly historyBits: number;
  readonly targetBits: number;
  readonly returnStack: number;
}

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
