import { bit, isSet } from '../../bits/bitfield.ts';
import { deepest, type PmuShape } from '../../msr/pmu-shape.ts';
import type { RegisterKind } from './designs.ts';

/** Addresses of the PMU registers that KVM itself reads and writes. */
// biome-ignore format: a table
export const MSR = {
  PMC0: 0x0c1, PERFEVTSEL0: 0x186, FIXED_CTR0: 0x309, FIXED_CTR_CTRL: 0x38d, GLOBAL_STATUS: 0x38e, GLOBAL_CTRL: 0x38f,
  GLOBAL_STATUS_RESET: 0x390, GLOBAL_STATUS_SET: 0x391, A_PMC0: 0x4c1, PERF_METRICS: 0x329, LBR_CTL: 0x14ce, LBR_DEPTH: 0x14cf,
  LBR_INFO0: 0x1200, LBR_FROM0: 0x1500, LBR_TO0: 0x1600, DEBUGCTL: 0x1d9,
} as const;

const BANK = 32;

const within = (address: number, base: number): number | undefined =>
  address >= base && address < base + BANK ? address - base : undefined;

/** The kind a policy knows a PMU register by. Addresses beyond what the guest was given are 'counters-beyond' or 'others'. */
export function registerKind(address: number, shape: PmuShape): RegisterKind {
  const has = (mask: bigint, index: number) => isSet(mask, bit(index));
  const legacy = within(address, MSR.PMC0);
  if (legacy !== undefined) return has(shape.gp, legacy) ? 'counters' : 'counters-beyond';
  const full = within(address, MSR.A_PMC0);
  if (full !== undefined) {
    return has(shape.gp, full) && shape.fullWidthWrites ? 'counters' : 'counters-beyond';
  }
  const fixed = within(address, MSR.FIXED_CTR0);
  if (fixed !== undefined && fixed < 16) {
    return has(shape.fixed, fixed) ? 'counters' : 'counters-beyond';
  }
  if (extraRegisters(shape).includes(address)) return 'extras';
  const selector = within(address, MSR.PERFEVTSEL0);
  if (selector !== undefined) return has(shape.gp, selector) ? 'selectors' : 'others';
  if (shape.version < 2) return 'others';
  if (address === MSR.FIXED_CTR_CTRL) return 'selectors';
  const global =
    address === MSR.GLOBAL_STATUS ||
    address === MSR.GLOBAL_CTRL ||
    address === MSR.GLOBAL_STATUS_RESET;
  return global ? 'global' : 'others';
}

/**
 * PERF_METRICS and the last branch records of a guest that was given them, in the order they are to be written:
 * writing LBR_DEPTH clears the stack, and LBR_CTL starts it again.
 */
export function extraRegisters({ perfMetrics, lbr }: PmuShape): readonly number[] {
  const registers: number[] = perfMetrics ? [MSR.PERF_METRICS] : [];
  if (lbr?.kind !== 'architectural') return registers;
  registers.push(MSR.LBR_DEPTH);
  for (const bank of [MSR.LBR_FROM0, MSR.LBR_TO0, MSR.LBR_INFO0]) {
    for (let entry = 0; entry < deepest(lbr.depths); entry++) registers.push(bank + entry);
  }
  return [...registers, MSR.LBR_CTL];
}
