import type { Source } from './source.ts';
import type { Total } from './totals.ts';

/** Whether an event counts what the manual says, or what a documented model makes of it. */
export type Exactness = 'exact' | 'model';

/** An event that a counter can select. Names and encodings are Intel's. */
export interface EventRow {
  readonly name: string;
  readonly event: number;
  readonly umask: number;
  readonly source: Source;
  readonly exactness: Exactness;
  /** Most occurrences in one modelled cycle, 1 unless told: what CMASK is compared with. */
  readonly perCycle?: number;
}

const of = (...plus: Total[]): Source => ({ plus });
const without = (plus: Total, minus: Total): Source => ({ plus: [plus], minus: [minus] });

/** Ticks per cycle of the crystal clock that CPU_CLK_UNHALTED.REF_XCLK counts: CPUID.15H's ratio. */
export const TICKS_PER_CRYSTAL_CYCLE = 120;

/** Slots in which the modelled core can issue, per cycle. */
export const SLOTS_PER_CYCLE = 6;

/** The architectural events; the order is that of the bits of CPUID.0AH:EBX. Vol. 3, "Pre-defined Architectural Performance Events". */
// biome-ignore format: a table
export const ARCHITECTURAL_EVENTS: readonly EventRow[] = [
  { name: 'CPU_CLK_UNHALTED.THREAD_P',     event: 0x3c, umask: 0x00, exactness: 'model', source: of('cycles') },
  { name: 'INST_RETIRED.ANY_P',            event: 0xc0, umask: 0x00, exactness: 'exact', source: of('instructions') },
  { name: 'CPU_CLK_UNHALTED.REF_XCLK',     event: 0x3c, umask: 0x01, exactness: 'model', source: { plus: ['unhaltedTicks'], per: TICKS_PER_CRYSTAL_CYCLE } },
  { name: 'LONGEST_LAT_CACHE.REFERENCE',   event: 0x2e, umask: 0x4f, exactness: 'model', source: of('llcReferences') },
  { name: 'LONGEST_LAT_CACHE.MISS',        event: 0x2e, umask: 0x41, exactness: 'model', source: of('llcMisses') },
  { name: 'BR_INST_RETIRED.ALL_BRANCHES',  event: 0xc4, umask: 0x00, exactness: 'exact', source: of('branches') },
  { name: 'BR_MISP_RETIRED.ALL_BRANCHES',  event: 0xc5, umask: 0x00, exactness: 'model', source: of('mispredictedBranches') },
  { name: 'TOPDOWN.SLOTS_P',               event: 0xa4, umask: 0x01, exactness: 'model', source: of('slots'), perCycle: SLOTS_PER_CYCLE },
  { name: 'TOPDOWN.BACKEND_BOUND_SLOTS',   event: 0xa4, umask: 0x02, exactness: 'model', source: of('slotsBackEnd'), perCycle: SLOTS_PER_CYCLE },
  { name: 'TOPDOWN.BAD_SPEC_SLOTS',        event: 0x73, umask: 0x00, exactness: 'model', source: of('slotsBadSpeculation'), perCycle: SLOTS_PER_CYCLE },
  { name: 'IDQ_BUBBLES.CORE',              event: 0x9c, umask: 0x01, exactness: 'model', source: of('slotsFrontEnd'), perCycle: SLOTS_PER_CYCLE },
  { name: 'UOPS_RETIRED.SLOTS',            event: 0xc2, umask: 0x02, exactness: 'model', source: of('slotsRetiring'), perCycle: SLOTS_PER_CYCLE },
  { name: 'LBR_INSERTS.ANY',               event: 0xe4, umask: 0x01, exactness: 'exact', source: of('lbrInserts') },
];

/** What the fixed-function counters count, by index. Vol. 3, "Association of Fixed-Function Performance Counters with Architectural Performance Events". */
// biome-ignore format: a table
export const FIXED_EVENTS: readonly EventRow[] = [
  { name: 'INST_RETIRED.ANY',          event: 0x00, umask: 0x01, exactness: 'exact', source: of('instructions') },
  { name: 'CPU_CLK_UNHALTED.THREAD',   event: 0x00, umask: 0x02, exactness: 'model', source: of('cycles') },
  { name: 'CPU_CLK_UNHALTED.REF_TSC',  event: 0x00, umask: 0x03, exactness: 'model', source: of('unhaltedTicks') },
  { name: 'TOPDOWN.SLOTS',             event: 0x00, umask: 0x04, exactness: 'model', source: of('slots'), perCycle: SLOTS_PER_CYCLE },
];

/** Events of Skylake server beyond the architectural ones. */
// biome-ignore format: a table
export const SKYLAKE_EVENTS: readonly EventRow[] = [
  { name: 'BR_INST_RETIRED.CONDITIONAL',  event: 0xc4, umask: 0x01, exactness: 'exact', source: of('conditionalBranches') },
  { name: 'BR_INST_RETIRED.NEAR_CALL',    event: 0xc4, umask: 0x02, exactness: 'exact', source: of('nearCalls') },
  { name: 'BR_INST_RETIRED.NEAR_RETURN',  event: 0xc4, umask: 0x08, exactness: 'exact', source: of('nearReturns') },
  { name: 'BR_INST_RETIRED.NOT_TAKEN',    event: 0xc4, umask: 0x10, exactness: 'exact', source: without('conditionalBranches', 'conditionalTaken') },
  { name: 'BR_INST_RETIRED.NEAR_TAKEN',   event: 0xc4, umask: 0x20, exactness: 'exact', source: of('nearTaken') },
  { name: 'BR_INST_RETIRED.FAR_BRANCH',   event: 0xc4, umask: 0x40, exactness: 'exact', source: of('farBranches') },
  { name: 'BR_MISP_RETIRED.CONDITIONAL',  event: 0xc5, umask: 0x01, exactness: 'model', source: of('mispredictedConditional') },
  { name: 'HW_INTERRUPTS.RECEIVED',       event: 0xcb, umask: 0x01, exactness: 'exact', source: of('hardwareInterrupts') },
  { name: 'MEM_INST_RETIRED.LOCK_LOADS',  event: 0xd0, umask: 0x21, exactness: 'exact', source: of('lockedLoads') },
  { name: 'MEM_INST_RETIRED.SPLIT_LOADS', event: 0xd0, umask: 0x41, exactness: 'exact', source: of('splitLoads') },
  { name: 'MEM_INST_RETIRED.SPLIT_STORES', event: 0xd0, umask: 0x42, exactness: 'exact', source: of('splitStores') },
  { name: 'MEM_INST_RETIRED.ALL_LOADS',   event: 0xd0, umask: 0x81, exactness: 'exact', source: of('loads') },
  { name: 'MEM_INST_RETIRED.ALL_STORES',  event: 0xd0, umask: 0x82, exactness: 'exact', source: of('stores') },
];

/** Events of Sapphire Rapids (Golden Cove) beyond the architectural ones. */
// biome-ignore format: a table
export const SAPPHIRE_RAPIDS_EVENTS: readonly EventRow[] = [
  { name: 'INST_RETIRED.NOP',             event: 0xc0, umask: 0x02, exactness: 'exact', source: of('nops') },
  { name: 'INST_RETIRED.REP_ITERATION',   event: 0xc0, umask: 0x08, exactness: 'exact', source: of('repIterations') },
  { name: 'BR_INST_RETIRED.COND_TAKEN',   event: 0xc4, umask: 0x01, exactness: 'exact', source: of('conditionalTaken') },
  { name: 'BR_INST_RETIRED.NEAR_CALL',    event: 0xc4, umask: 0x02, exactness: 'exact', source: of('nearCalls') },
  { name: 'BR_INST_RETIRED.NEAR_RETURN',  event: 0xc4, umask: 0x08, exactness: 'exact', source: of('nearReturns') },
  { name: 'BR_INST_RETIRED.COND_NTAKEN',  event: 0xc4, umask: 0x10, exactness: 'exact', source: without('conditionalBranches', 'conditionalTaken') },
  { name: 'BR_INST_RETIRED.COND',         event: 0xc4, umask: 0x11, exactness: 'exact', source: of('conditionalBranches') },
  { name: 'BR_INST_RETIRED.NEAR_TAKEN',   event: 0xc4, umask: 0x20, exactness: 'exact', source: of('nearTaken') },
  { name: 'BR_INST_RETIRED.FAR_BRANCH',   event: 0xc4, umask: 0x40, exactness: 'exact', source: of('farBranches') },
  { name: 'BR_INST_RETIRED.INDIRECT',     event: 0xc4, umask: 0x80, exactness: 'exact', source: of('indirectBranches') },
  { name: 'BR_MISP_RETIRED.COND',         event: 0xc5, umask: 0x11, exactness: 'model', source: of('mispredictedConditional') },
  { name: 'MEM_INST_RETIRED.LOCK_LOADS',  event: 0xd0, umask: 0x21, exactness: 'exact', source: of('lockedLoads') },
  { name: 'MEM_INST_RETIRED.SPLIT_LOADS', event: 0xd0, umask: 0x41, exactness: 'exact', source: of('splitLoads') },
  { name: 'MEM_INST_RETIRED.SPLIT_STORES', event: 0xd0, umask: 0x42, exactness: 'exact', source: of('splitStores') },
  { name: 'MEM_INST_RETIRED.ALL_LOADS',   event: 0xd0, umask: 0x81, exactness: 'exact', source: of('loads') },
  { name: 'MEM_INST_RETIRED.ALL_STORES',  event: 0xd0, umask: 0x82, exactness: 'exact', source: of('stores') },
];
