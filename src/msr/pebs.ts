import { bit, bits, maskOf, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';
import { fixedCounters, type PmuShape } from './pmu-shape.ts';

/** MSR_PEBS_DATA_CFG: the groups of an adaptive record, and how many LBR entries less one. */
// biome-ignore format: a table
export const PEBS_DATA_CFG = {
  MEMORY: bit(0),  GPRS: bit(1),  XMMS: bit(2),  LBRS: bit(3),  LBR_ENTRIES: bits(31, 24),
} as const;

const PEBS = 'Processor Event Based Sampling (PEBS)';

/** The registers of processor event-based sampling. */
export function pebsMsrs(shape: PmuShape) {
  const { pebs } = shape;
  const adaptive = (pebs?.format ?? 0) >= 4;
  const enable = (pebs?.gp ?? 0n) | (adaptive ? fixedCounters(shape) << 32n : 0n);
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
