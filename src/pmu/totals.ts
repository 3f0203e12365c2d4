/**
 * The event totals a PMU may read, and the most each can grow in one tick (one retired instruction, or one further
 * iteration of a REP). Their meaning is in docs/counting.md; the core keeps them.
 */
// biome-ignore format: a table
export const MOST_PER_TICK = {
  instructions: 1,       branches: 1,            conditionalBranches: 1,  conditionalTaken: 1,  nearCalls: 1,
  nearIndirectCalls: 1,  nearReturns: 1,         nearTaken: 1,            indirectBranches: 1,  farBranches: 1,
  repIterations: 1,      hardwareInterrupts: 1,  exceptions: 1,           halts: 1,             unhaltedTicks: 1,
  loads: 1,              stores: 1,              lockedLoads: 1,          splitLoads: 1,        splitStores: 1,
  nops: 1,               x87: 1,                 scalarDouble: 1,         scalarSingle: 1,      packedDouble128: 1,
  packedSingle128: 1,    loadWalks: 64,          storeWalks: 64,          codeWalks: 4,         lbrInserts: 1,
  cycles: 64,            mispredictedBranches: 1, mispredictedConditional: 1, l1dMisses: 64,    l2Misses: 64,
  llcReferences: 64,     llcMisses: 64,          slots: 384,              slotsRetiring: 8,     slotsBadSpeculation: 384,
  slotsFrontEnd: 384,    slotsBackEnd: 384,      modeChanges: 2,
} as const;

export type Total = keyof typeof MOST_PER_TICK;
