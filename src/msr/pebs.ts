import { bit, bits, maskOf, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';
import { fixedCounters, type PmuShape } from './pmu-shape.ts';

/** MSR_PEBS_DATA_CFG: the groups of an adaptive record, and how many LBR entries less one. */
// biome-ignore format: a table
export const PEBS_DATA_CFG = {
  MEMORY: bit(0),  GPRS: bit(1),  XMMS: bit(2),  LBRS: bit(3),  LBR_ENTRIES: bits(31, 24),
} as const;

/** IA32_PEBS_BASE: a physical address, and the size of the buffer there, 4 KiB shifted left by SIZE. */
export const PEBS_BASE = { SIZE: bits(3, 0), ADDRESS: bits(51, 12) } as const;

/** IA32_PEBS_INDEX: WR and THRESH count 16 bytes. */
// biome-ignore format: a table
export const PEBS_INDEX = {
  WR: bits(26, 4),  FULL: bit(31),  EN: bit(32),  THRESH: bits(58, 36),
} as const;

const PEBS = 'Processor Event Based Sampling (PEBS)';
const ARCHITECTURAL = 'Architectural Processor Event Based Sampling';

/** The registers of architectural PEBS beside those of the counters. */
export function architecturalPebsMsrs({ architecturalPebs }: PmuShape) {
  const exists = architecturalPebs ? {} : { count: 0 };
  const writable = (fields: Readonly<Record<string, bigint>>) => maskOf(...Object.values(fields));
  // biome-ignore format: a table
  return defineMsrs({
    IA32_PEBS_BASE:  { address: 0x3f4, ...exists, writable: writable(PEBS_BASE),  sdm: ARCHITECTURAL },
    IA32_PEBS_INDEX: { address: 0x3f5, ...exists, writable: writable(PEBS_INDEX), sdm: ARCHITECTURAL },
  });
}

/** The counters whose bits of IA32_PEBS_ENABLE have them sample, by their bits of the global registers. */
export const sampledCounters = (shape: PmuShape): bigint =>
  (shape.pebs?.gp ?? 0n) | (shape.pebs?.baseline ? fixedCounters(shape) << 32n : 0n);

/**
 * The registers of processor event-based sampling. With records of 200 bytes bits 35:32 of IA32_PEBS_ENABLE have
 * general counters note the latency of loads, which no event of the model does: what is written is kept.
 */
export function pebsMsrs(shape: PmuShape) {
  const { pebs } = shape;
  const adaptive = pebs?.baseline ?? false;
  const loadLatency = pebs?.format === 3 ? pebs.gp << 32n : 0n;
  const enable = sampledCounters(shape) | loadLatency;
  const { LBRS, LBR_ENTRIES, ...groups } = PEBS_DATA_CFG;
  const config = maskOf(...Object.values(groups), shape.lbr ? LBRS | LBR_ENTRIES : 0n);
  const onlyIf = (exists: boolean) => (exists ? {} : { count: 0 });

  // biome-ignore format: a table
  return defineMsrs({
    IA32_PEBS_ENABLE:  { address: 0x3f1, ...onlyIf(pebs !== undefined), writable: enable,   sdm: PEBS },
    MSR_PEBS_DATA_CFG: { address: 0x3f2, ...onlyIf(adaptive),           writable: config,   sdm: 'Adaptive PEBS' },
    IA32_DS_AREA:      { address: 0x600, ...onlyIf(pebs !== undefined), writable: ones(64), sdm: 'Debug Store (DS) Mechanism' },
  });
}
