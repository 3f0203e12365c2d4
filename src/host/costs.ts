/** Where a cost comes from: published, computed from published figures, supposed, or chosen to match a result. */
export type Provenance = 'cited' | 'derived' | 'assumed' | 'fitted';

/** What one operation of root-mode software costs on the modelled CPU, and within what bounds one may doubt it. */
export interface CostRow {
  /** Host cycles at 3.0 GHz, that is ticks. */
  readonly cycles: number;
  /** Instructions retired in that time, at CPL 0 in root operation. */
  readonly instructions: number;
  readonly low: number;
  readonly high: number;
  readonly provenance: Provenance;
  readonly source: string;
}

/**
 * Costs of root-mode work. A row marked *envelope* is the price of the whole operation, register accesses
 * within it included. Instruction counts suppose one instruction per two cycles and are assumed throughout.
 */
// biome-ignore format: a table
export const COSTS = {
  'vm-transition':      { cycles: 900,    instructions: 0,      low: 700,    high: 1600,      provenance: 'derived', source: 'hardware exit and entry; between published round trips of 761 (Westmere) and about 1300' },
  'exit-handling':      { cycles: 400,    instructions: 200,    low: 300,    high: 1200,      provenance: 'derived', source: 'CPUID exit of about 1300 cycles less the hardware part (commit b7ffc44d5b2e)' },
  'fastpath-handling':  { cycles: 200,    instructions: 100,    low: 150,    high: 600,       provenance: 'derived', source: 'a fastpath exit takes about half of a simple one (Christopherson, LKML 3 Oct 2023)' },
  'vpmu-register':      { cycles: 500,    instructions: 250,    low: 200,    high: 1500,      provenance: 'assumed', source: 'handler of one emulated RDMSR, WRMSR or RDPMC of a PMU register' },
  'lvtpc-write':        { cycles: 200,    instructions: 100,    low: 100,    high: 500,       provenance: 'assumed', source: 'emulating a guest write to LVTPC, beyond the exit: 1500 in all' },
  'perf-event-pause':   { cycles: 22_000, instructions: 11_000, low: 2_500,  high: 30_000,    provenance: 'fitted',  source: 'envelope; one parameter that matches both emulated cells of Table A; no independent measurement' },
  'perf-event-resume':  { cycles: 22_000, instructions: 11_000, low: 2_500,  high: 30_000,    provenance: 'fitted',  source: 'envelope; as perf-event-pause' },
  'perf-event-period':  { cycles: 22_000, instructions: 11_000, low: 2_500,  high: 30_000,    provenance: 'fitted',  source: 'envelope; a period update counts as one event operation in the fit' },
  'perf-event-release': { cycles: 20_000, instructions: 10_000, low: 10_000, high: 330_000,   provenance: 'assumed', source: 'envelope; a third of release and create, 60,000 together' },
  'perf-event-create':  { cycles: 40_000, instructions: 20_000, low: 20_000, high: 670_000,   provenance: 'assumed', source: 'envelope; two thirds of release and create (ratios of commit a6da0d77e98e)' },
  'perf-event-sched':   { cycles: 400,    instructions: 200,    low: 200,    high: 1_000,     provenance: 'assumed', source: 'scheduling one host event in or out, beyond its register accesses' },
  'host-pmi':           { cycles: 2_000,  instructions: 1_000,  low: 1_000,  high: 5_000,     provenance: 'assumed', source: 'envelope; the NMI handler of the host PMU' },
  'perf-load-guest':    { cycles: 300,    instructions: 150,    low: 100,    high: 2_000,     provenance: 'assumed', source: 'perf_load_guest_context without host events' },
  'perf-put-guest':     { cycles: 300,    instructions: 150,    low: 100,    high: 2_000,     provenance: 'assumed', source: 'perf_put_guest_context without host events' },
  'rdpmc':              { cycles: 30,     instructions: 1,      low: 20,     high: 40,        provenance: 'assumed', source: 'bare instruction, 20 to 40 cycles, weak' },
  'rdmsr':              { cycles: 60,     instructions: 1,      low: 30,     high: 100,       provenance: 'assumed', source: 'bare instruction, 30 to 100 cycles, weak' },
  'wrmsr':              { cycles: 120,    instructions: 1,      low: 80,     high: 300,       provenance: 'derived', source: 'eliding 11 counter writes saves about 1000 cycles (commit b0b6a8d3be16): 91 above RDPMC' },
  'vmread':             { cycles: 20,     instructions: 1,      low: 15,     high: 50,        provenance: 'cited',   source: 'VMREAD of GLOBAL_CTRL after an exit, 15 to 20 cycles (mediated series)' },
  'host-interrupt':     { cycles: 800,    instructions: 400,    low: 400,    high: 3_000,     provenance: 'assumed', source: 'entry, handler and EOI of one host interrupt' },
  'context-switch':     { cycles: 3_000,  instructions: 1_500,  low: 1_500,  high: 6_000,     provenance: 'assumed', source: 'one switch between tasks, beyond its perf work' },
  'emulate-instruction':{ cycles: 1_000,  instructions: 500,    low: 500,    high: 3_000,     provenance: 'assumed', source: 'decoding and emulating one guest instruction' },
  'user-space-exit':    { cycles: 4_000,  instructions: 2_000,  low: 3_000,  high: 8_000,     provenance: 'derived', source: 'port read in user space 6209 to 6856 cycles (commit b7ffc44d5b2e), less a kernel one' },
} as const satisfies Readonly<Record<string, CostRow>>;

export type CostName = keyof typeof COSTS;
export type CostTable = Readonly<Record<CostName, CostRow>>;
