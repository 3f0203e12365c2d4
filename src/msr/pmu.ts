import { bit, bits, maskOf, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';
import { bankSize, indices, type PmuShape } from './pmu-shape.ts';

/** IA32_PERFEVTSELx. */
// biome-ignore format: a table
export const PERFEVTSEL = {
  EVENT: bits(7, 0),  UMASK: bits(15, 8),    USR: bit(16),  OS:  bit(17),  EDGE: bit(18),  PC: bit(19),
  INT:   bit(20),     ANY_THREAD: bit(21),   EN:  bit(22),  INV: bit(23),  CMASK: bits(31, 24),
} as const;

/** One nibble of IA32_FIXED_CTR_CTRL; counter i's is shifted left by 4·i. */
export const FIXED_CTR = { OS: bit(0), USR: bit(1), ANY_THREAD: bit(2), PMI: bit(3) } as const;

/** Bits of the IA32_PERF_GLOBAL_* registers beside one bit per GP counter from 0 and per fixed counter from 32. */
// biome-ignore format: a table
export const PERF_GLOBAL = {
  FIXED_0: bit(32),   PERF_METRICS: bit(48),
  LBR_FRZ: bit(58),   CTR_FRZ: bit(59),  ASCI: bit(60),  UNCORE: bit(61),  OVF_BUFFER: bit(62),  COND_CHGD: bit(63),
} as const;

/** IA32_PERF_GLOBAL_INUSE: bit 63, some counter asks for a PMI. */
export const INUSE_PMI = bit(63);

/** IA32_PERF_CAPABILITIES. */
// biome-ignore format: a table
export const PERF_CAPABILITIES = {
  LBR_FORMAT: bits(5, 0),  PEBS_TRAP: bit(6),  PEBS_ARCH_REGISTERS: bit(7),  PEBS_FORMAT: bits(11, 8),
  FREEZE_WHILE_SMM: bit(12),  FW_WRITES: bit(13),  PEBS_BASELINE: bit(14),  PERF_METRICS: bit(15),
} as const;

/** IA32_DEBUGCTL. */
// biome-ignore format: a table
export const DEBUGCTL = {
  LBR: bit(0),  BTF: bit(1),  TR: bit(6),  BTS: bit(7),  BTINT: bit(8),  BTS_OFF_OS: bit(9),  BTS_OFF_USR: bit(10),
  FREEZE_LBRS_ON_PMI: bit(11),  FREEZE_PERFMON_ON_PMI: bit(12),  FREEZE_WHILE_SMM: bit(14),
} as const;

const NONE = { count: 0 } as const;
const onlyIf = (exists: boolean) => (exists ? {} : NONE);

/** The registers of a performance-monitoring unit, as CPUID sizes it. Vol. 3, "Architectural Performance Monitoring". */
export function pmuMsrs(shape: PmuShape) {
  const { version, gp, gpWidth, fixed, fixedWidth, anyThread } = shape;
  const gpCounters = version >= 1 ? bankSize(gp) : 0;
  const fixedCounters = version >= 2 ? bankSize(fixed) : 0;
  const counters = gp | (fixed << 32n);
  const { ANY_THREAD, PC, ...everywhere } = PERFEVTSEL;
  const select = maskOf(...Object.values(everywhere), anyThread ? ANY_THREAD : 0n);
  const nibble = anyThread ? 0xfn : 0xbn;
  const fixedControl = maskOf(...indices(fixed).map((i) => nibble << BigInt(4 * i)));
  const { LBR_FRZ, CTR_FRZ, ASCI, UNCORE, OVF_BUFFER, COND_CHGD } = PERF_GLOBAL;
  const overflow = counters | (version >= 3 ? UNCORE : 0n) | OVF_BUFFER;
  const freeze = LBR_FRZ | CTR_FRZ | ASCI;
  const { FREEZE_LBRS_ON_PMI, FREEZE_PERFMON_ON_PMI } = DEBUGCTL;
  const debugctl = DEBUGCTL.BTF | (version >= 2 ? FREEZE_LBRS_ON_PMI | FREEZE_PERFMON_ON_PMI : 0n);

  // biome-ignore format: a table
  return defineMsrs({
    IA32_PMC:                      { address: 0x0c1, count: gpCounters,    writable: ones(64),         sdm: 'Architectural Performance Monitoring Version 1' },
    IA32_PERFEVTSEL:               { address: 0x186, count: gpCounters,    writable: select, ignored: PC, sdm: 'Architectural Performance Monitoring Version 1' },
    IA32_FIXED_CTR:                { address: 0x309, count: fixedCounters, writable: ones(fixedWidth), sdm: 'Architectural Performance Monitoring Version 2' },
    IA32_PERF_CAPABILITIES:        { address: 0x345, ...onlyIf(shape.pdcm),    writable: 'none', reset: shape.fullWidthWrites ? PERF_CAPABILITIES.FW_WRITES : 0n, sdm: 'Full-Width Writes to Performance Counter Registers' },
    IA32_FIXED_CTR_CTRL:           { address: 0x38d, ...onlyIf(version >= 2),  writable: fixedControl,     sdm: 'Architectural Performance Monitoring Version 2' },
    IA32_PERF_GLOBAL_STATUS:       { address: 0x38e, ...onlyIf(version >= 2),  writable: 'none',           sdm: 'Architectural Performance Monitoring Version 2' },
    IA32_PERF_GLOBAL_CTRL:         { address: 0x38f, ...onlyIf(version >= 2),  writable: counters, reset: gp, sdm: 'Architectural Performance Monitoring Version 2' },
    IA32_PERF_GLOBAL_OVF_CTRL:     { address: 0x390, ...onlyIf(version === 2 || version === 3), writable: overflow | COND_CHGD, sdm: 'Architectural Performance Monitoring Version 2' },
    IA32_PERF_GLOBAL_STATUS_RESET: { address: 0x390, ...onlyIf(version >= 4),  writable: overflow | freeze | COND_CHGD, sdm: 'Architectural Performance Monitoring Version 4' },
    IA32_PERF_GLOBAL_STATUS_SET:   { address: 0x391, ...onlyIf(version >= 4),  writable: overflow | freeze, sdm: 'Architectural Performance Monitoring Version 4' },
    IA32_PERF_GLOBAL_INUSE:        { address: 0x392, ...onlyIf(version >= 4),  writable: 'none',           sdm: 'Architectural Performance Monitoring Version 4' },
    IA32_A_PMC:                    { address: 0x4c1, count: shape.fullWidthWrites ? gpCounters : 0, writable: ones(gpWidth), sdm: 'Full-Width Writes to Performance Counter Registers' },
    IA32_DEBUGCTL:                 { address: 0x1d9, writable: debugctl,       sdm: 'IA32_DEBUGCTL MSR' },
  });
}
