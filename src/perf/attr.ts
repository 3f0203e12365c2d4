import { bits, maskOf } from '../bits/bitfield.ts';
import { PERFEVTSEL } from '../msr/pmu.ts';

/** What a user of perf asks for: perf_event_attr, as far as it concerns a hardware counter. */
export interface PerfEventAttr {
  /** Event, umask, edge, inv and cmask as in IA32_PERFEVTSELx; 0300H is reference cycles, 0400H slots. */
  readonly config: bigint;
  /** Must be on hardware whenever its context is, or it goes to ERROR. */
  readonly pinned: boolean;
  /** Pinned, and before CPU-pinned events too: Mattson's proposal for KVM, not in Linux. */
  readonly priority: boolean;
  /** The one counter it may live on: an identity map from guest to host counters, not in Linux. -1 for any. */
  readonly counter: number;
  /** Only group on the PMU while it is on. */
  readonly exclusive: boolean;
  readonly excludeUser: boolean;
  readonly excludeKernel: boolean;
  readonly excludeHost: boolean;
  readonly excludeGuest: boolean;
  /** Accepted and without effect on x86, as in Linux: a halted CPU counts nothing but by its filters. */
  readonly excludeIdle: boolean;
  /** Events between overflows; 0 counts without sampling. */
  readonly samplePeriod: bigint;
  /** Samples per second that the period is adjusted to; 0 keeps the period. */
  readonly sampleFreq: number;
  /** LBR_SELECT of the branch stack a sample is to hold, `undefined` without one. */
  readonly branchSelect: bigint | undefined;
  /** 0 is no PEBS. */
  readonly preciseIp: 0 | 1 | 2 | 3;
  /** Created OFF. */
  readonly disabled: boolean;
}

const DEFAULTS: PerfEventAttr = {
  config: 0n,
  pinned: false,
  priority: false,
  counter: -1,
  exclusive: false,
  excludeUser: false,
  excludeKernel: false,
  excludeHost: false,
  excludeGuest: false,
  excludeIdle: false,
  samplePeriod: 0n,
  sampleFreq: 0,
  branchSelect: undefined,
  preciseIp: 0,
  disabled: false,
};

/** An attribute with everything not told at its default: flexible, counting, no filter. */
export const perfEventAttr = (told: Partial<PerfEventAttr>): PerfEventAttr => ({
  ...DEFAULTS,
  ...told,
});

const { EVENT, UMASK, EDGE, INV, CMASK } = PERFEVTSEL;

/** The bits of `config` that choose the event; X86_RAW_EVENT_MASK. */
export const RAW_EVENT_MASK = maskOf(EVENT, UMASK, EDGE, INV, CMASK);

/** Bits 15:0, where the fixed counters' events are told apart. */
export const EVENT_AND_UMASK = bits(15, 0);

/** INTEL_FIXED_VLBR_EVENT: no event but the claim of a guest on the LBR stack. */
export const VLBR_EVENT = 0x1b00n;

/** PERF_TYPE_HARDWARE, as Intel's driver maps it. */
export const HARDWARE_EVENTS = {
  'cpu-cycles': 0x003cn,
  instructions: 0x00c0n,
  'cache-references': 0x4f2en,
  'cache-misses': 0x412en,
  branches: 0x00c4n,
  'branch-misses': 0x00c5n,
  'ref-cycles': 0x0300n,
  slots: 0x0400n,
} as const;
