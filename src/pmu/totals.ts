/**
 * The event totals a PMU may read, and the most each can grow in one tick (one retired instruction, or one further
 * iteration of a REP). Their meaning is in docs/counting.md; the core keeps them.
 */
// biome-ignore format: a table
export const MOST_PER_TICK = {
  instructions: 1,       branches: 1,             conditionalBranches: 1,   conditionalTaken: 1,    nearCalls: 1,
  nearIndirectCalls: 1,  nearReturns: 1,          nearTaken: 1,             indirectBranches: 1,    farBranches: 1,
  repIterations: 1,      hardwareInterrupts: 1,   pageFaults: 1,            interruptReturns: 1,    halts: 1,
  ticks: 1,              unhaltedTicks: 1,
  loads: 1,              stores: 1,               lockedLoads: 1,           splitLoads: 1,          splitStores: 1,
  nops: 1,               pauses: 1,               lfences: 1,               prefetchNta: 1,         prefetchT0: 1,
  prefetchT1T2: 1,       prefetchW: 1,            x87: 1,                   scalarDouble: 1,        scalarSingle: 1,
  packedDouble128: 2,    packedSingle128: 2,      loadWalks: 64,            storeWalks: 64,         codeWalks: 4,
  lbrInserts: 2,         modeChanges: 2,          mispredictedBranches: 1,  mispredictedConditional: 1,
  cycles: 64,            l1dMisses: 64,           l2Misses: 64,             llcReferences: 64,      llcMisses: 64,
  slots: 64,             slotsRetiring: 1,        slotsBadSpeculation: 64,  slotsFrontEnd: 64,      slotsBackEnd: 64,
  slotsMemoryBound: 64,
} as const;

export type Total = keyof typeof MOST_PER_TICK;
