import { bit, bits, isSet, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';
import { bankSize, type PmuShape } from './pmu-shape.ts';

/** IA32_PMC_GPn_CFG_C and _FXm_CFG_C: what the counter is reloaded with, and what architectural PEBS records for it. */
// biome-ignore format: a table
export const CFG_C = {
  RELOAD: bits(31, 0),  LBR: bits(41, 40),  XMM: bit(49),  GPR: bit(61),  AUX: bit(62),  EN: bit(63),
} as const;

/** The groups of an architectural PEBS record that can be asked for, as bits of CFG_C. */
export const sampledGroups = ({ architecturalPebs, lbr }: PmuShape): bigint =>
  architecturalPebs
    ? CFG_C.AUX | CFG_C.GPR | CFG_C.XMM | (lbr?.kind === 'architectural' ? CFG_C.LBR : 0n)
    : 0n;

/** Bits of CFG_C that the counter with this bit of the global registers has. */
export function cfgCMask(shape: PmuShape, counter: bigint): bigint {
  const samples = isSet(shape.architecturalPebs?.counters ?? 0n, counter);
  return CFG_C.RELOAD | (samples ? CFG_C.EN | sampledGroups(shape) : 0n);
}

const SDM = 'Auto Counter Reload';
const PEBS = 'Architectural Processor Event Based Sampling';
const GP = ones(32);

/** The registers that version 6 adds to counters. A bank lists the counters that have the register. */
export function counterExtensionMsrs(shape: PmuShape) {
  const { autoReload, architecturalPebs } = shape;
  const reloaded = autoReload?.reloaded ?? 0n;
  const configured = reloaded | (architecturalPebs?.counters ?? 0n);
  const gp = (counters: bigint) => ({ count: bankSize(counters & GP), present: counters & GP });
  const fixed = (counters: bigint) => gp(counters >> 32n);
  const causes = { writable: autoReload?.causes ?? 0n, sdm: SDM };
  const config = { writable: CFG_C.RELOAD | CFG_C.EN | sampledGroups(shape), sdm: PEBS };

  // biome-ignore format: a table
  return defineMsrs({
    IA32_PMC_GP_CFG_B:      { address: 0x1902, stride: 4, ...gp(reloaded),      ...causes },
    IA32_PMC_GP_CFG_C:      { address: 0x1903, stride: 4, ...gp(configured),    ...config },
    IA32_PMC_FX_CFG_B:      { address: 0x1982, stride: 4, ...fixed(reloaded),   ...causes },
    IA32_PMC_FX_CFG_C:      { address: 0x1983, stride: 4, ...fixed(configured), ...config },
    // CFG_C.RELOAD by another name.
    IA32_PMC_RELOAD:        { address: 0x14c1, ...gp(configured),    writable: CFG_C.RELOAD, sdm: SDM },
    IA32_FIXED_CTR_RELOAD:  { address: 0x1309, ...fixed(configured), writable: CFG_C.RELOAD, sdm: SDM },
  });
}
