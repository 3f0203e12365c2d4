/**
 * Where one CPU's architectural state lies in the linear memory that the engines and RAM share.
 * Offsets are bytes from the base of the CPU's state block; nobody else writes an offset down.
 */
export const REGISTER_COUNT = 16;

/** Segment registers in the order of their numbers in ModR/M, then the two system ones. */
export const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDTR', 'TR'] as const;
export type SegmentName = (typeof SEGMENTS)[number];

/** One segment's slot: base u64, limit u32 (in bytes, scaled), access rights u32 (VMCS format), selector u32. */
export const SEGMENT = { BASE: 0, LIMIT: 8, RIGHTS: 12, SELECTOR: 16, SIZE: 32 } as const;

/**
 * Monotone event totals that the core keeps, all exact, all u64. What each counts: docs/counting.md.
 * The first group is always kept; an engine may keep a `dynamic` one only while it is armed.
 */
// biome-ignore format: a table
export const TOTALS = [
  'instructions', 'branches', 'conditionalBranches', 'conditionalTaken', 'nearCalls', 'nearIndirectCalls',
  'nearReturns', 'nearTaken', 'indirectBranches', 'farBranches', 'repIterations', 'hardwareInterrupts',
  'exceptions', 'halts', 'ticks', 'unhaltedTicks',
  // dynamic, kept while armed
  'loads', 'stores', 'lockedLoads', 'splitLoads', 'splitStores', 'nops', 'x87', 'scalarDouble', 'scalarSingle',
  'packedDouble128', 'packedSingle128', 'loadWalks', 'storeWalks', 'codeWalks', 'lbrInserts',
  'cycles', 'mispredictedBranches', 'mispredictedConditional', 'l1dMisses', 'l2Misses', 'llcReferences', 'llcMisses', 'slots',
  'slotsRetiring', 'slotsBadSpeculation', 'slotsFrontEnd', 'slotsBackEnd', 'modeChanges',
  'pauses', 'lfences', 'prefetchNta', 'prefetchT0', 'prefetchT1T2', 'prefetchW', 'pageFaults', 'interruptReturns',
  'slotsMemoryBound',
] as const;
export type Total = (typeof TOTALS)[number];

/** The totals that every engine keeps, whether anything reads them or not. */
// biome-ignore format: a table
export const ALWAYS_KEPT: ReadonlySet<Total> = new Set([
  'instructions', 'branches', 'conditionalBranches', 'conditionalTaken', 'nearCalls', 'nearIndirectCalls',
  'nearReturns', 'nearTaken', 'indirectBranches', 'farBranches', 'repIterations', 'hardwareInterrupts',
  'exceptions', 'pageFaults', 'interruptReturns', 'halts', 'modeChanges', 'ticks', 'unhaltedTicks',
]);

/** Offsets in the state block. */
// biome-ignore format: a table
export const STATE = {
  GPR:            0x000, // 16 × u64
  RIP:            0x080, // u64
  RFLAGS_SYSTEM:  0x088, // u64: RFLAGS without the six status flags
  FLAG_X:         0x090, // u64, FLAG_Y u64, FLAG_KIND u32: the status flags, lazily (cpu/flags.ts)
  FLAG_Y:         0x098,
  FLAG_KIND:      0x0a0,
  MODE_KEY:       0x0a4, // u32: what code is specialised on (cpu/state/mode-key.ts)
  FUEL:           0x0a8, // i64: ticks that may still pass in this slice
  FUEL_START:     0x0b0, // i64: FUEL at the start of the slice
  TLB_BASE:       0x0b8, // u32
  EXIT_CODE:      0x0bc, // u32, EXIT_INFO u64: why an engine came back
  EXIT_INFO:      0x0c0,
  CR0: 0x0c8, CR2: 0x0d0, CR3: 0x0d8, CR4: 0x0e0, CR8: 0x0e8, EFER: 0x0f0, XCR0: 0x0f8,
  DR:             0x100, // 8 × u64
  GDTR_BASE: 0x140, GDTR_LIMIT: 0x148, IDTR_BASE: 0x150, IDTR_LIMIT: 0x158,
  CPL:            0x15c, // u32
  ACTIVITY:       0x160, // u32: VMCS activity state
  INTERRUPTIBILITY: 0x164, // u32: VMCS interruptibility state (STI 1, MOV SS 2, SMI 4, NMI 8)
  PENDING_DEBUG:  0x168, // u64: VMCS pending debug exceptions
  STAR: 0x170, LSTAR: 0x178, CSTAR: 0x180, FMASK: 0x188, KERNEL_GS_BASE: 0x190, TSC_AUX: 0x198,
  SYSENTER_CS: 0x1a0, SYSENTER_ESP: 0x1a8, SYSENTER_EIP: 0x1b0, PAT: 0x1b8, PKRU: 0x1c0, XSS: 0x1c8,
  TSC_OFFSET:     0x1d0, // i64: what WRMSR to IA32_TIME_STAMP_COUNTER moved it by
  PDPTE:          0x1d8, // 4 × u64: what MOV CR3 loaded for PAE paging
  SEGMENT:        0x200, // 8 × SEGMENT.SIZE
  TOTALS:         0x300, // 64 × u64
  MXCSR:          0x500, // u32
  // FTW as FXSAVE has it: bit n says that physical register n is not empty
  FCW: 0x504, FSW: 0x506, FTW: 0x508, FOP: 0x50a, FIP: 0x510, FDP: 0x518, FCS: 0x520, FDS: 0x522,
  ST:             0x540, // 8 × 16 bytes, physical register order
  XMM:            0x600, // 16 × 32 bytes: room for YMM
  SCRATCH:        0x800, // 256 bytes for operands of assists
  SIZE:           0x1000,
} as const;

/**
 * What the generated interpreter keeps behind the state block: offsets in bytes from the block's base.
 * Blocks of several CPUs lie as far apart as they are long.
 */
// biome-ignore format: a table
export const INTERPRETER = {
  RECORD:         0x1000, // u32: record of the instruction that asked TypeScript for something
  CONTEXT:        0x1004, // u32: number of the context that code is looked up in
  CODE_SET:       0x1008, // u32: which of the code TLBs it is looked up in, as an offset
  OBSERVED:       0x100c, // u32: 1 while what retires takes cycles of the micro-architecture model
  ITERATIONS:     0x1038, // u64: REP iterations that are not yet in the totals
  BRANCHES:       0x1040, // 16 × u64: the same of retired branches by class (engines/wasm/branch-class.ts)
  SEGMENTS:       0x1100, // 8 × 32 bytes: what segments that are not flat allow (engines/wasm/segment-limits.ts)
  OPERAND:        0x1200, // 16 bytes: operand of a slow load or store
  CODE_TLB:       0x2000, // 4 sets × 512 × 16 bytes: page of code → its slots (engines/wasm/code-map.ts)
  DATA_TLB:       0xa000, // 4 sets × 3 banks × 2048 × 32 bytes (engines/wasm/data-tlb.ts)
  MODEL:          0xd0000, // 2 MiB: tables of the micro-architecture model (cpu/models/area.ts)
  ARENA:          0x2d0000, // decoded records and slots, up to the end of what the CPU has
  SIZE:           0x2000000, // of all of it, unless somebody makes do with less
} as const;
