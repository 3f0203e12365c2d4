import { TICKS_PER_CRYSTAL_CYCLE } from '../msr/pmu-shape.ts';
import { NOTHING, of, type Source, without } from './source.ts';

/** Whether an event counts what the manual says, or what a documented model makes of it. */
export type Exactness = 'exact' | 'model';

/**
 * How an event spreads over modelled cycles, for CMASK, INV, EQ and EDGE: in each of `cycles` it happens `width`
 * times, in all others not at all; `rises` counts how often a cycle with it follows one without.
 */
export interface Spread {
  readonly width: number;
  readonly cycles: Source;
  readonly rises: Source;
}

/** An event that a counter can select. Names and encodings are Intel's. */
export interface EventRow {
  readonly name: string;
  readonly event: number;
  readonly umask: number;
  readonly source: Source;
  readonly exactness: Exactness;
  /** One pulse per occurrence unless told; `'unmodelled'` when nothing is known of single cycles. */
  readonly spread?: Spread | 'unmodelled';
  /** The event exists at this privilege level only, whatever USR and OS ask for. */
  readonly level?: 'os' | 'usr';
  /** CMASK, INV and EDGE that are part of the event's definition, as bits of IA32_PERFEVTSELx. */
  readonly select?: bigint;
}

const CYCLES = of('cycles');
const TAKEN = of('conditionalTaken');
const CONDITIONAL = of('conditionalBranches');

/** True in every unhalted cycle: it rises when the CPU wakes. */
const LEVEL: Spread = { width: 1, cycles: CYCLES, rises: of('halts') };
/** True at one privilege level: it rises with each change to it, which is all that a counter of that level sees. */
const LEVEL_ENTERED: Spread = { width: 1, cycles: CYCLES, rises: of('modeChanges') };

/** The first seven architectural events, bits 6:0 of CPUID.0AH:EBX, less the reference clock, which differs. */
// biome-ignore format: a table
const EVERYWHERE: readonly EventRow[] = [
  { name: 'CPU_CLK_UNHALTED.THREAD_P',         event: 0x3c, umask: 0x00, exactness: 'model', source: CYCLES, spread: LEVEL },
  { name: 'INST_RETIRED.ANY_P',                event: 0xc0, umask: 0x00, exactness: 'exact', source: of('instructions') },
  { name: 'LONGEST_LAT_CACHE.REFERENCE',       event: 0x2e, umask: 0x4f, exactness: 'model', source: of('llcReferences') },
  { name: 'LONGEST_LAT_CACHE.MISS',            event: 0x2e, umask: 0x41, exactness: 'model', source: of('llcMisses') },
  { name: 'BR_INST_RETIRED.ALL_BRANCHES',      event: 0xc4, umask: 0x00, exactness: 'exact', source: of('branches') },
  { name: 'BR_MISP_RETIRED.ALL_BRANCHES',      event: 0xc5, umask: 0x00, exactness: 'model', source: of('mispredictedBranches') },
];

/** Encodings that the processors modelled here share. */
// biome-ignore format: a table
const SHARED: readonly EventRow[] = [
  { name: 'INST_RETIRED.NOP',                  event: 0xc0, umask: 0x02, exactness: 'exact', source: of('nops') },
  { name: 'INST_RETIRED.TOTAL_CYCLES',         event: 0xc0, umask: 0x00, exactness: 'model', source: of('instructions'), select: 0x0a80_0000n },
  { name: 'CPU_CLK_UNHALTED.ONE_THREAD_ACTIVE', event: 0x3c, umask: 0x02, exactness: 'model', source: { ...of('unhaltedTicks'), per: TICKS_PER_CRYSTAL_CYCLE } },
  { name: 'BR_INST_RETIRED.NEAR_CALL',         event: 0xc4, umask: 0x02, exactness: 'exact', source: of('nearCalls') },
  { name: 'BR_INST_RETIRED.NEAR_RETURN',       event: 0xc4, umask: 0x08, exactness: 'exact', source: of('nearReturns') },
  { name: 'BR_INST_RETIRED.NEAR_TAKEN',        event: 0xc4, umask: 0x20, exactness: 'exact', source: of('nearTaken') },
  { name: 'BR_INST_RETIRED.FAR_BRANCH',        event: 0xc4, umask: 0x40, exactness: 'exact', source: of('farBranches') },
  { name: 'MEM_INST_RETIRED.LOCK_LOADS',       event: 0xd0, umask: 0x21, exactness: 'exact', source: of('lockedLoads') },
  { name: 'MEM_INST_RETIRED.SPLIT_LOADS',      event: 0xd0, umask: 0x41, exactness: 'exact', source: of('splitLoads') },
  { name: 'MEM_INST_RETIRED.SPLIT_STORES',     event: 0xd0, umask: 0x42, exactness: 'exact', source: of('splitStores') },
  { name: 'MEM_INST_RETIRED.ALL_LOADS',        event: 0xd0, umask: 0x81, exactness: 'exact', source: of('loads') },
  { name: 'MEM_INST_RETIRED.ALL_STORES',       event: 0xd0, umask: 0x82, exactness: 'exact', source: of('stores') },
  { name: 'MEM_INST_RETIRED.ANY',              event: 0xd0, umask: 0x83, exactness: 'exact', source: of('loads', 'stores') },
  { name: 'FP_ARITH_INST_RETIRED.SCALAR_DOUBLE',      event: 0xc7, umask: 0x01, exactness: 'exact', source: of('scalarDouble') },
  { name: 'FP_ARITH_INST_RETIRED.SCALAR_SINGLE',      event: 0xc7, umask: 0x02, exactness: 'exact', source: of('scalarSingle') },
  { name: 'FP_ARITH_INST_RETIRED.SCALAR',             event: 0xc7, umask: 0x03, exactness: 'exact', source: of('scalarDouble', 'scalarSingle') },
  { name: 'FP_ARITH_INST_RETIRED.128B_PACKED_DOUBLE', event: 0xc7, umask: 0x04, exactness: 'exact', source: of('packedDouble128') },
  { name: 'FP_ARITH_INST_RETIRED.128B_PACKED_SINGLE', event: 0xc7, umask: 0x08, exactness: 'exact', source: of('packedSingle128') },
  // The modelled CPU has no AVX: its 256- and 512-bit instructions retire exactly never.
  { name: 'FP_ARITH_INST_RETIRED.256B_PACKED_DOUBLE', event: 0xc7, umask: 0x10, exactness: 'exact', source: NOTHING },
  { name: 'FP_ARITH_INST_RETIRED.4_FLOPS',            event: 0xc7, umask: 0x18, exactness: 'exact', source: of('packedSingle128') },
  { name: 'FP_ARITH_INST_RETIRED.256B_PACKED_SINGLE', event: 0xc7, umask: 0x20, exactness: 'exact', source: NOTHING },
  { name: 'FP_ARITH_INST_RETIRED.512B_PACKED_DOUBLE', event: 0xc7, umask: 0x40, exactness: 'exact', source: NOTHING },
  { name: 'FP_ARITH_INST_RETIRED.8_FLOPS',            event: 0xc7, umask: 0x60, exactness: 'exact', source: NOTHING },
  { name: 'FP_ARITH_INST_RETIRED.512B_PACKED_SINGLE', event: 0xc7, umask: 0x80, exactness: 'exact', source: NOTHING },
  { name: 'FP_ARITH_INST_RETIRED.VECTOR',             event: 0xc7, umask: 0xfc, exactness: 'exact', source: of('packedDouble128', 'packedSingle128') },
  { name: 'UOPS_EXECUTED.X87',                 event: 0xb1, umask: 0x10, exactness: 'model', source: of('x87') },
  { name: 'L1D.REPLACEMENT',                   event: 0x51, umask: 0x01, exactness: 'model', source: of('l1dMisses') },
  { name: 'HW_INTERRUPTS.RECEIVED',            event: 0xcb, umask: 0x01, exactness: 'exact', source: of('hardwareInterrupts') },
  // Broadwell's, which later lists leave out: time and transitions by privilege level.
  { name: 'CPL_CYCLES.RING0',                  event: 0x5c, umask: 0x01, exactness: 'model', source: CYCLES, level: 'os', spread: LEVEL_ENTERED },
  { name: 'CPL_CYCLES.RING0_TRANS',            event: 0x5c, umask: 0x01, exactness: 'model', source: CYCLES, level: 'os', select: 0x0104_0000n },
  { name: 'CPL_CYCLES.RING123',                event: 0x5c, umask: 0x02, exactness: 'model', source: CYCLES, level: 'usr', spread: LEVEL_ENTERED },
];

/** Skylake server's events. */
// biome-ignore format: a table
export const SKYLAKE_EVENTS: readonly EventRow[] = [
  ...EVERYWHERE,
  { name: 'CPU_CLK_UNHALTED.REF_XCLK',           event: 0x3c, umask: 0x01, exactness: 'model', source: { ...of('unhaltedTicks'), per: TICKS_PER_CRYSTAL_CYCLE } },
  ...SHARED,
  { name: 'BR_INST_RETIRED.CONDITIONAL',         event: 0xc4, umask: 0x01, exactness: 'exact', source: CONDITIONAL },
  { name: 'BR_INST_RETIRED.NOT_TAKEN',           event: 0xc4, umask: 0x10, exactness: 'exact', source: without(CONDITIONAL, TAKEN) },
  { name: 'BR_MISP_RETIRED.CONDITIONAL',         event: 0xc5, umask: 0x01, exactness: 'model', source: of('mispredictedConditional') },
  { name: 'DTLB_LOAD_MISSES.WALK_COMPLETED',     event: 0x08, umask: 0x0e, exactness: 'model', source: of('loadWalks') },
  { name: 'DTLB_STORE_MISSES.WALK_COMPLETED',    event: 0x49, umask: 0x0e, exactness: 'model', source: of('storeWalks') },
  { name: 'ITLB_MISSES.WALK_COMPLETED',          event: 0x85, umask: 0x0e, exactness: 'model', source: of('codeWalks') },
  { name: 'L2_RQSTS.MISS',                       event: 0x24, umask: 0x3f, exactness: 'model', source: of('l2Misses') },
  { name: 'L2_RQSTS.REFERENCES',                 event: 0x24, umask: 0xff, exactness: 'model', source: of('l1dMisses') },
  { name: 'L2_LINES_IN.ALL',                     event: 0xf1, umask: 0x1f, exactness: 'model', source: of('l2Misses') },
  { name: 'UOPS_RETIRED.RETIRE_SLOTS',           event: 0xc2, umask: 0x02, exactness: 'model', source: of('slotsRetiring') },
  { name: 'ROB_MISC_EVENTS.LBR_INSERTS',         event: 0xcc, umask: 0x20, exactness: 'exact', source: of('lbrInserts') },
  { name: 'ROB_MISC_EVENTS.PAUSE_INST',          event: 0xcc, umask: 0x40, exactness: 'exact', source: of('pauses') },
  { name: 'SW_PREFETCH_ACCESS.NTA',              event: 0x32, umask: 0x01, exactness: 'exact', source: of('prefetchNta') },
  { name: 'SW_PREFETCH_ACCESS.T0',               event: 0x32, umask: 0x02, exactness: 'exact', source: of('prefetchT0') },
  { name: 'SW_PREFETCH_ACCESS.T1_T2',            event: 0x32, umask: 0x04, exactness: 'exact', source: of('prefetchT1T2') },
  { name: 'SW_PREFETCH_ACCESS.PREFETCHW',        event: 0x32, umask: 0x08, exactness: 'exact', source: of('prefetchW') },
];

/** Sapphire Rapids' events. */
// biome-ignore format: a table
export const SAPPHIRE_RAPIDS_EVENTS: readonly EventRow[] = [
  ...EVERYWHERE,
  { name: 'CPU_CLK_UNHALTED.REF_TSC_P',          event: 0x3c, umask: 0x01, exactness: 'model', source: of('unhaltedTicks'), spread: LEVEL },
  { name: 'TOPDOWN.SLOTS_P',                     event: 0xa4, umask: 0x01, exactness: 'model', source: of('slots'), spread: LEVEL },
  { name: 'TOPDOWN.BACKEND_BOUND_SLOTS',         event: 0xa4, umask: 0x02, exactness: 'model', source: of('slotsBackEnd'), spread: 'unmodelled' },
  { name: 'TOPDOWN.BAD_SPEC_SLOTS',              event: 0xa4, umask: 0x04, exactness: 'model', source: of('slotsBadSpeculation'), spread: 'unmodelled' },
  { name: 'TOPDOWN.BR_MISPREDICT_SLOTS',         event: 0xa4, umask: 0x08, exactness: 'model', source: of('slotsBadSpeculation'), spread: 'unmodelled' },
  { name: 'TOPDOWN.MEMORY_BOUND_SLOTS',          event: 0xa4, umask: 0x10, exactness: 'model', source: of('slotsMemoryBound'), spread: 'unmodelled' },
  { name: 'IDQ_BUBBLES.CORE',                    event: 0x9c, umask: 0x01, exactness: 'model', source: of('slotsFrontEnd'), spread: 'unmodelled' },
  { name: 'UOPS_RETIRED.SLOTS',                  event: 0xc2, umask: 0x02, exactness: 'model', source: of('slotsRetiring') },
  ...SHARED,
  { name: 'INST_RETIRED.REP_ITERATION',          event: 0xc0, umask: 0x08, exactness: 'exact', source: of('repIterations') },
  { name: 'BR_INST_RETIRED.COND_TAKEN',          event: 0xc4, umask: 0x01, exactness: 'exact', source: TAKEN },
  { name: 'BR_INST_RETIRED.COND_NTAKEN',         event: 0xc4, umask: 0x10, exactness: 'exact', source: without(CONDITIONAL, TAKEN) },
  { name: 'BR_INST_RETIRED.COND',                event: 0xc4, umask: 0x11, exactness: 'exact', source: CONDITIONAL },
  { name: 'BR_INST_RETIRED.INDIRECT',            event: 0xc4, umask: 0x80, exactness: 'exact', source: of('indirectBranches') },
  { name: 'BR_MISP_RETIRED.COND',                event: 0xc5, umask: 0x11, exactness: 'model', source: of('mispredictedConditional') },
  { name: 'DTLB_LOAD_MISSES.WALK_COMPLETED',     event: 0x12, umask: 0x0e, exactness: 'model', source: of('loadWalks') },
  { name: 'DTLB_STORE_MISSES.WALK_COMPLETED',    event: 0x13, umask: 0x0e, exactness: 'model', source: of('storeWalks') },
  { name: 'ITLB_MISSES.WALK_COMPLETED',          event: 0x11, umask: 0x0e, exactness: 'model', source: of('codeWalks') },
  { name: 'L2_RQSTS.MISS',                       event: 0x24, umask: 0x3f, exactness: 'model', source: of('l2Misses') },
  { name: 'L2_RQSTS.REFERENCES',                 event: 0x24, umask: 0xff, exactness: 'model', source: of('l1dMisses') },
  { name: 'L2_LINES_IN.ALL',                     event: 0x25, umask: 0x1f, exactness: 'model', source: of('l2Misses') },
  { name: 'LBR_INSERTS.ANY',                     event: 0xe4, umask: 0x01, exactness: 'exact', source: of('lbrInserts') },
  { name: 'MISC_RETIRED.LBR_INSERTS',            event: 0xcc, umask: 0x20, exactness: 'exact', source: of('lbrInserts') },
  { name: 'MISC2_RETIRED.LFENCE',                event: 0xe0, umask: 0x20, exactness: 'exact', source: of('lfences') },
  { name: 'CPU_CLK_UNHALTED.PAUSE',              event: 0xec, umask: 0x40, exactness: 'model', source: of('pauses') },
  { name: 'CPU_CLK_UNHALTED.PAUSE_INST',         event: 0xec, umask: 0x40, exactness: 'exact', source: of('pauses'), select: 0x0104_0000n },
  { name: 'SW_PREFETCH_ACCESS.NTA',              event: 0x40, umask: 0x01, exactness: 'exact', source: of('prefetchNta') },
  { name: 'SW_PREFETCH_ACCESS.T0',               event: 0x40, umask: 0x02, exactness: 'exact', source: of('prefetchT0') },
  { name: 'SW_PREFETCH_ACCESS.T1_T2',            event: 0x40, umask: 0x04, exactness: 'exact', source: of('prefetchT1T2') },
  { name: 'SW_PREFETCH_ACCESS.PREFETCHW',        event: 0x40, umask: 0x08, exactness: 'exact', source: of('prefetchW') },
  { name: 'SW_PREFETCH_ACCESS.ANY',              event: 0x40, umask: 0x0f, exactness: 'exact', source: of('prefetchNta', 'prefetchT0', 'prefetchT1T2', 'prefetchW') },
];

/** The architectural events in the order of CPUID.0AH:EBX, for a PMU of no particular processor. Vol. 3, "Pre-defined Architectural Performance Events". */
// biome-ignore format: a table
export const ARCHITECTURAL_EVENTS: readonly EventRow[] = [
  { name: 'UnHalted Core Cycles',              event: 0x3c, umask: 0x00, exactness: 'model', source: CYCLES, spread: LEVEL },
  { name: 'Instructions Retired',              event: 0xc0, umask: 0x00, exactness: 'exact', source: of('instructions') },
  { name: 'UnHalted Reference Cycles',         event: 0x3c, umask: 0x01, exactness: 'model', source: { ...of('unhaltedTicks'), per: TICKS_PER_CRYSTAL_CYCLE } },
  { name: 'LLC Reference',                     event: 0x2e, umask: 0x4f, exactness: 'model', source: of('llcReferences') },
  { name: 'LLC Misses',                        event: 0x2e, umask: 0x41, exactness: 'model', source: of('llcMisses') },
  { name: 'Branch Instruction Retired',        event: 0xc4, umask: 0x00, exactness: 'exact', source: of('branches') },
  { name: 'Branch Misses Retired',             event: 0xc5, umask: 0x00, exactness: 'model', source: of('mispredictedBranches') },
  { name: 'Topdown Slots',                     event: 0xa4, umask: 0x01, exactness: 'model', source: of('slots'), spread: LEVEL },
  { name: 'Topdown Backend Bound',             event: 0xa4, umask: 0x02, exactness: 'model', source: of('slotsBackEnd'), spread: 'unmodelled' },
  { name: 'Topdown Bad Speculation',           event: 0x73, umask: 0x00, exactness: 'model', source: of('slotsBadSpeculation'), spread: 'unmodelled' },
  { name: 'Topdown Frontend Bound',            event: 0x9c, umask: 0x01, exactness: 'model', source: of('slotsFrontEnd'), spread: 'unmodelled' },
  { name: 'Topdown Retiring',                  event: 0xc2, umask: 0x02, exactness: 'model', source: of('slotsRetiring') },
  { name: 'LBR Inserts',                       event: 0xe4, umask: 0x01, exactness: 'exact', source: of('lbrInserts') },
];

/** What the fixed-function counters count, by index. Vol. 3, "Association of Fixed-Function Performance Counters with Architectural Performance Events". */
// biome-ignore format: a table
export const FIXED_EVENTS: readonly EventRow[] = [
  { name: 'INST_RETIRED.ANY',                  event: 0x00, umask: 0x01, exactness: 'exact', source: of('instructions') },
  { name: 'CPU_CLK_UNHALTED.THREAD',           event: 0x00, umask: 0x02, exactness: 'model', source: CYCLES },
  { name: 'CPU_CLK_UNHALTED.REF_TSC',          event: 0x00, umask: 0x03, exactness: 'model', source: of('unhaltedTicks') },
  { name: 'TOPDOWN.SLOTS',                     event: 0x00, umask: 0x04, exactness: 'model', source: of('slots') },
  { name: 'TOPDOWN_BAD_SPECULATION.ALL',       event: 0x00, umask: 0x05, exactness: 'model', source: of('slotsBadSpeculation') },
  { name: 'TOPDOWN_FE_BOUND.ALL',              event: 0x00, umask: 0x06, exactness: 'model', source: of('slotsFrontEnd') },
  { name: 'TOPDOWN_RETIRING.ALL',              event: 0x00, umask: 0x07, exactness: 'model', source: of('slotsRetiring') },
];
