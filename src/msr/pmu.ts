import { bit, bits, insert, maskOf, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';
import { bankSize, fixedCounters, indices, type PmuShape } from './pmu-shape.ts';

/** IA32_PERFEVTSELx. */
// biome-ignore format: a table
export const PERFEVTSEL = {
  EVENT: bits(7, 0),  UMASK: bits(15, 8),   USR: bit(16),     OS:  bit(17),   EDGE: bit(18),  PC: bit(19),
  INT:   bit(20),     ANY_THREAD: bit(21),  EN:  bit(22),     INV: bit(23),   CMASK: bits(31, 24),
  IN_TX: bit(32),     IN_TXCP: bit(33),     ADAPTIVE: bit(34),
  EQ:    bit(36),     USER_DISABLE: bit(37),                  UMASK2: bits(47, 40),
} as const;

/** One nibble of IA32_FIXED_CTR_CTRL, and what lies 32 above it; counter i's is shifted left by 4·i. */
// biome-ignore format: a table
export const FIXED_CTR = {
  OS: bit(0),  USR: bit(1),  ANY_THREAD: bit(2),  PMI: bit(3),  ADAPTIVE: bit(32),  USER_DISABLE: bit(33),
} as const;

/** Bits of the IA32_PERF_GLOBAL_* registers beside one bit per GP counter from 0 and per fixed counter from 32. */
// biome-ignore format: a table
export const PERF_GLOBAL = {
  FIXED_0: bit(32),   PERF_METRICS: bit(48),  ARCH_PEBS: bit(54),
  LBR_FRZ: bit(58),   CTR_FRZ: bit(59),  ASCI: bit(60),  UNCORE: bit(61),  OVF_BUFFER: bit(62),  COND_CHGD: bit(63),
} as const;

/** IA32_PERF_GLOBAL_INUSE: some counter asks for a PMI. */
export const INUSE_PMI = bit(63);

/** IA32_PERF_CAPABILITIES. */
// biome-ignore format: a table
export const PERF_CAPABILITIES = {
  LBR_FORMAT: bits(5, 0),     PEBS_TRAP: bit(6),   PEBS_ARCH_REGISTERS: bit(7),  PEBS_FORMAT: bits(11, 8),
  FREEZE_WHILE_SMM: bit(12),  FW_WRITES: bit(13),  PEBS_BASELINE: bit(14),       PERF_METRICS: bit(15),
} as const;

/** IA32_PERF_CAPABILITIES.LBR_FORMAT of architectural LBRs. */
export const LBR_FORMAT_ARCHITECTURAL = 0x3fn;

/** IA32_DEBUGCTL. */
// biome-ignore format: a table
export const DEBUGCTL = {
  LBR: bit(0),  BTF: bit(1),  TR: bit(6),  BTS: bit(7),  BTINT: bit(8),  BTS_OFF_OS: bit(9),  BTS_OFF_USR: bit(10),
  FREEZE_LBRS_ON_PMI: bit(11),  FREEZE_PERFMON_ON_PMI: bit(12),  FREEZE_WHILE_SMM: bit(14),
} as const;

/** IA32_MISC_ENABLE: the bits that matter here. */
// biome-ignore format: a table
export const MISC_ENABLE = {
  FAST_STRINGS: bit(0),  PERFMON_AVAILABLE: bit(7),  BTS_UNAVAILABLE: bit(11),  PEBS_UNAVAILABLE: bit(12),  MONITOR_FSM: bit(18),
} as const;

/** MSR_PERF_METRICS: eight fractions of 255, bit 0 up. */
// biome-ignore format: a table
export const PERF_METRICS = {
  RETIRING: bits(7, 0),           BAD_SPECULATION: bits(15, 8),      FRONT_END_BOUND: bits(23, 16),  BACK_END_BOUND: bits(31, 24),
  HEAVY_OPERATIONS: bits(39, 32), BRANCH_MISPREDICTS: bits(47, 40),  FETCH_LATENCY: bits(55, 48),    MEMORY_BOUND: bits(63, 56),
} as const;

const onlyIf = (exists: boolean) => (exists ? {} : { count: 0 });

/** What IA32_PERF_CAPABILITIES reads as. */
export function perfCapabilities({ fullWidthWrites, perfMetrics, lbr, pebs }: PmuShape): bigint {
  const { LBR_FORMAT, PEBS_FORMAT, PEBS_TRAP, PEBS_ARCH_REGISTERS, PEBS_BASELINE } =
    PERF_CAPABILITIES;
  let value = fullWidthWrites ? PERF_CAPABILITIES.FW_WRITES : 0n;
  if (perfMetrics) value |= PERF_CAPABILITIES.PERF_METRICS;
  if (lbr) {
    const format = lbr.kind === 'legacy' ? BigInt(lbr.format) : LBR_FORMAT_ARCHITECTURAL;
    value = insert(value, LBR_FORMAT, format);
  }
  if (pebs) {
    value = insert(value, PEBS_FORMAT, BigInt(pebs.format)) | PEBS_TRAP | PEBS_ARCH_REGISTERS;
    if (pebs.baseline) value |= PEBS_BASELINE;
  }
  return value;
}

/** Bits that IA32_PERFEVTSELx of this shape has. Counter 2 alone has IN_TXCP. */
export function selectMask(shape: PmuShape, index: number): bigint {
  const { EVENT, UMASK, USR, OS, EDGE, INT, EN, INV, CMASK, ...optional } = PERFEVTSEL;
  return maskOf(
    ...[EVENT, UMASK, USR, OS, EDGE, INT, EN, INV, CMASK],
    shape.anyThread ? optional.ANY_THREAD : 0n,
    shape.transactions ? optional.IN_TX : 0n,
    shape.transactions && index === 2 ? optional.IN_TXCP : 0n,
    shape.pebs?.baseline ? optional.ADAPTIVE : 0n,
    shape.equal ? optional.EQ : 0n,
    shape.userDisable ? optional.USER_DISABLE : 0n,
    shape.umask2 ? optional.UMASK2 : 0n,
  );
}

const fixedControlMask = (shape: PmuShape): bigint => {
  const { OS, USR, ANY_THREAD, PMI, ADAPTIVE, USER_DISABLE } = FIXED_CTR;
  const nibble = maskOf(
    ...[OS, USR, PMI],
    shape.anyThread ? ANY_THREAD : 0n,
    shape.pebs?.baseline ? ADAPTIVE : 0n,
    shape.userDisable ? USER_DISABLE : 0n,
  );
  return maskOf(...indices(fixedCounters(shape)).map((i) => nibble << BigInt(4 * i)));
};

const V1 = 'Architectural Performance Monitoring Version 1';
const V2 = 'Architectural Performance Monitoring Version 2';
const V4 = 'Architectural Performance Monitoring Version 4';
const V6 = 'Architectural Performance Monitoring Version 6';
const FULL_WIDTH = 'Full-Width Writes to Performance Counter Registers';
const METRICS = 'Performance Metrics';
const OFFCORE = 'Off-core Response Performance Monitoring';
const PEBS_LOAD = 'Load Latency Performance Monitoring Facility';
const MODEL_SPECIFIC = 'Vol. 4, "Architectural MSRs"';

/** The registers of a performance-monitoring unit, as CPUID sizes it. Vol. 3, "Architectural Performance Monitoring". */
export function pmuMsrs(shape: PmuShape) {
  const {
    version,
    gpWidth,
    fixedWidth,
    fullWidthWrites,
    perfMetrics = false,
    lbr,
    pebs,
    selectors,
  } = shape;
  const gp = version >= 1 ? shape.gp : 0n;
  const fixed = fixedCounters(shape);
  const gpBank = { count: bankSize(gp), present: gp };
  const fixedBank = { count: bankSize(fixed), present: fixed };
  const select = maskOf(...indices(gp).map((i) => selectMask(shape, i)));
  const counters = gp | (fixed << 32n) | (perfMetrics ? PERF_GLOBAL.PERF_METRICS : 0n);
  const { ARCH_PEBS, LBR_FRZ, CTR_FRZ, ASCI, UNCORE, OVF_BUFFER, COND_CHGD } = PERF_GLOBAL;
  const threshold = shape.architecturalPebs ? ARCH_PEBS : 0n;
  const overflow = counters | threshold | (version >= 3 ? UNCORE : 0n) | OVF_BUFFER;
  const status = overflow | LBR_FRZ | CTR_FRZ | ASCI;
  const { LBR, BTF, FREEZE_LBRS_ON_PMI, FREEZE_PERFMON_ON_PMI } = DEBUGCTL;
  const freeze = version >= 2 ? FREEZE_LBRS_ON_PMI | FREEZE_PERFMON_ON_PMI : 0n;
  const { FAST_STRINGS, ...constants } = MISC_ENABLE;
  const { PERFMON_AVAILABLE, BTS_UNAVAILABLE, PEBS_UNAVAILABLE, MONITOR_FSM } = constants;

  // biome-ignore format: a table
  return defineMsrs({
    IA32_PMC:                      { address: 0x0c1,  ...gpBank,                    writable: ones(64),             sdm: V1 },
    // No event that the model knows asks them: what is written is kept.
    MSR_OFFCORE_RSP:               { address: 0x1a6, count: selectors ? 2 : 0,      writable: selectors?.offcore ?? 0n,  sdm: OFFCORE },
    MSR_PEBS_LD_LAT:               { address: 0x3f6, ...onlyIf(selectors !== undefined), writable: ones(16),             sdm: PEBS_LOAD },
    MSR_PEBS_FRONTEND:             { address: 0x3f7, ...onlyIf(selectors !== undefined), writable: selectors?.frontEnd ?? 0n, sdm: MODEL_SPECIFIC },
    IA32_PERFEVTSEL:               { address: 0x186,  ...gpBank,                    writable: select, ignored: PERFEVTSEL.PC, sdm: V1 },
    IA32_MISC_ENABLE:              { address: 0x1a0,  writable: FAST_STRINGS, ignored: maskOf(...Object.values(constants)),
                                     reset: FAST_STRINGS | MONITOR_FSM | (version >= 1 ? PERFMON_AVAILABLE : 0n) | BTS_UNAVAILABLE | (pebs ? 0n : PEBS_UNAVAILABLE), sdm: MODEL_SPECIFIC },
    // Bit 0 has no meaning beside architectural LBRs: it may be written and reads 0.
    IA32_DEBUGCTL:                 { address: 0x1d9,  writable: BTF | freeze | (lbr?.kind === 'legacy' ? LBR : 0n), ignored: lbr?.kind === 'architectural' ? LBR : 0n, sdm: 'IA32_DEBUGCTL MSR' },
    IA32_FIXED_CTR:                { address: 0x309,  ...fixedBank,                 writable: ones(fixedWidth),     sdm: V2 },
    MSR_PERF_METRICS:              { address: 0x329,  ...onlyIf(perfMetrics),       writable: ones(64),             sdm: METRICS },
    IA32_PERF_CAPABILITIES:        { address: 0x345,  ...onlyIf(shape.pdcm),        writable: 'none', reset: perfCapabilities(shape), sdm: FULL_WIDTH },
    IA32_FIXED_CTR_CTRL:           { address: 0x38d,  ...onlyIf(version >= 2),      writable: fixedControlMask(shape), sdm: V2 },
    IA32_PERF_GLOBAL_STATUS:       { address: 0x38e,  ...onlyIf(version >= 2),      writable: 'none',               sdm: V2 },
    IA32_PERF_GLOBAL_CTRL:         { address: 0x38f,  ...onlyIf(version >= 2),      writable: counters, reset: gp,  sdm: V2 },
    IA32_PERF_GLOBAL_OVF_CTRL:     { address: 0x390,  ...onlyIf(version === 2 || version === 3), writable: overflow | COND_CHGD, sdm: V2 },
    IA32_PERF_GLOBAL_STATUS_RESET: { address: 0x390,  ...onlyIf(version >= 4),      writable: status | COND_CHGD,   sdm: V4 },
    IA32_PERF_GLOBAL_STATUS_SET:   { address: 0x391,  ...onlyIf(version >= 4),      writable: status,               sdm: V4 },
    IA32_PERF_GLOBAL_INUSE:        { address: 0x392,  ...onlyIf(version >= 4),      writable: 'none',               sdm: V4 },
    IA32_A_PMC:                    { address: 0x4c1,  ...gpBank, ...onlyIf(fullWidthWrites), writable: ones(gpWidth), sdm: FULL_WIDTH },
    IA32_PMC_GP_CTR:               { address: 0x1900, stride: 4, ...gpBank,    ...onlyIf(version >= 6), writable: ones(gpWidth), sdm: V6 },
    IA32_PMC_GP_CFG_A:             { address: 0x1901, stride: 4, ...gpBank,    ...onlyIf(version >= 6), writable: select, ignored: PERFEVTSEL.PC, sdm: V6 },
    IA32_PMC_FX_CTR:               { address: 0x1980, stride: 4, ...fixedBank, ...onlyIf(version >= 6), writable: ones(fixedWidth), sdm: V6 },
  });
}
