import { hex } from '../bits/hex.ts';

/** Registers that a guest's performance monitoring consists of, or that tell about somebody else's. */
export type RegisterClass =
  | 'PMC'
  | 'A_PMC'
  | 'FIXED_CTR'
  | 'PERFEVTSEL'
  | 'FIXED_CTR_CTRL'
  | 'GLOBAL_STATUS'
  | 'GLOBAL_CTRL'
  | 'OVF_CTRL'
  | 'STATUS_SET'
  | 'INUSE'
  | 'PERF_CAPABILITIES'
  | 'PERF_METRICS'
  | 'OFFCORE_RSP'
  | 'LD_LAT'
  | 'FRONTEND'
  /** Auto counter reload: by which overflows, and to what value. */
  | 'RELOAD_CAUSES'
  | 'RELOAD'
  | 'PEBS'
  | 'LBR'
  | 'LVTPC'
  | 'CLOCK'
  | 'OTHER';

interface Bank {
  readonly name: string;
  readonly address: number;
  readonly count: number;
  readonly class: RegisterClass;
  readonly stride?: number;
  /** From the address blocks that architectural performance monitoring version 6 adds. */
  readonly version6?: true;
}

/**
 * By address, as the SDM numbers them, whether or not some processor has them. Banks are as long as the architecture
 * leaves room for: what lies behind the last register that exists is where an interception is off by one.
 */
// biome-ignore format: a table
export const BANKS: readonly Bank[] = [
  { name: 'IA32_TIME_STAMP_COUNTER',      address: 0x010,  count: 1,  class: 'CLOCK' },
  { name: 'MSR_SMI_COUNT',                address: 0x034,  count: 1,  class: 'CLOCK' },
  { name: 'IA32_TSC_ADJUST',              address: 0x03b,  count: 1,  class: 'CLOCK' },
  { name: 'IA32_PMC',                     address: 0x0c1,  count: 32, class: 'PMC' },
  // In the middle of where counters would go on.
  { name: 'MSR_PLATFORM_INFO',            address: 0x0ce,  count: 1,  class: 'OTHER' },
  { name: 'IA32_MPERF',                   address: 0x0e7,  count: 1,  class: 'CLOCK' },
  { name: 'IA32_APERF',                   address: 0x0e8,  count: 1,  class: 'CLOCK' },
  { name: 'IA32_PERFEVTSEL',              address: 0x186,  count: 26, class: 'PERFEVTSEL' },
  { name: 'IA32_MISC_ENABLE',             address: 0x1a0,  count: 1,  class: 'OTHER' },
  { name: 'MSR_OFFCORE_RSP',              address: 0x1a6,  count: 2,  class: 'OFFCORE_RSP' },
  { name: 'MSR_LBR_SELECT',               address: 0x1c8,  count: 1,  class: 'LBR' },
  { name: 'MSR_LASTBRANCH_TOS',           address: 0x1c9,  count: 1,  class: 'LBR' },
  { name: 'IA32_DEBUGCTL',                address: 0x1d9,  count: 1,  class: 'LBR' },
  { name: 'MSR_LER_IP',                   address: 0x1dd,  count: 2,  class: 'LBR' },
  { name: 'IA32_FIXED_CTR',               address: 0x309,  count: 16, class: 'FIXED_CTR' },
  { name: 'MSR_PERF_METRICS',             address: 0x329,  count: 1,  class: 'PERF_METRICS' },
  { name: 'IA32_PERF_CAPABILITIES',       address: 0x345,  count: 1,  class: 'PERF_CAPABILITIES' },
  { name: 'IA32_FIXED_CTR_CTRL',          address: 0x38d,  count: 1,  class: 'FIXED_CTR_CTRL' },
  { name: 'IA32_PERF_GLOBAL_STATUS',      address: 0x38e,  count: 1,  class: 'GLOBAL_STATUS' },
  { name: 'IA32_PERF_GLOBAL_CTRL',        address: 0x38f,  count: 1,  class: 'GLOBAL_CTRL' },
  { name: 'IA32_PERF_GLOBAL_OVF_CTRL',    address: 0x390,  count: 1,  class: 'OVF_CTRL' },
  { name: 'IA32_PERF_GLOBAL_STATUS_SET',  address: 0x391,  count: 1,  class: 'STATUS_SET' },
  { name: 'IA32_PERF_GLOBAL_INUSE',       address: 0x392,  count: 1,  class: 'INUSE' },
  { name: 'IA32_PEBS_ENABLE',             address: 0x3f1,  count: 1,  class: 'PEBS' },
  { name: 'MSR_PEBS_DATA_CFG',            address: 0x3f2,  count: 1,  class: 'PEBS' },
  { name: 'IA32_PEBS_BASE',               address: 0x3f4,  count: 1,  class: 'PEBS' },
  { name: 'IA32_PEBS_INDEX',              address: 0x3f5,  count: 1,  class: 'PEBS' },
  { name: 'MSR_PEBS_LD_LAT',              address: 0x3f6,  count: 1,  class: 'LD_LAT' },
  { name: 'MSR_PEBS_FRONTEND',            address: 0x3f7,  count: 1,  class: 'FRONTEND' },
  { name: 'IA32_A_PMC',                   address: 0x4c1,  count: 32, class: 'A_PMC' },
  { name: 'IA32_DS_AREA',                 address: 0x600,  count: 1,  class: 'PEBS' },
  { name: 'MSR_PKG_ENERGY_STATUS',        address: 0x611,  count: 1,  class: 'CLOCK' },
  { name: 'MSR_PP0_ENERGY_STATUS',        address: 0x639,  count: 1,  class: 'CLOCK' },
  { name: 'MSR_PPERF',                    address: 0x64e,  count: 1,  class: 'CLOCK' },
  { name: 'MSR_LASTBRANCH_FROM_IP',       address: 0x680,  count: 32, class: 'LBR' },
  { name: 'MSR_LASTBRANCH_TO_IP',         address: 0x6c0,  count: 32, class: 'LBR' },
  { name: 'IA32_X2APIC_LVT_PMI',          address: 0x834,  count: 1,  class: 'LVTPC' },
  { name: 'MSR_LBR_INFO',                 address: 0xdc0,  count: 32, class: 'LBR' },
  { name: 'IA32_LBR_INFO',                address: 0x1200, count: 32, class: 'LBR' },
  { name: 'IA32_FIXED_CTR_RELOAD',        address: 0x1309, count: 8,  class: 'RELOAD', version6: true },
  { name: 'IA32_PMC_RELOAD',              address: 0x14c1, count: 8,  class: 'RELOAD', version6: true },
  { name: 'IA32_LBR_CTL',                 address: 0x14ce, count: 1,  class: 'LBR' },
  { name: 'IA32_LBR_DEPTH',               address: 0x14cf, count: 1,  class: 'LBR' },
  { name: 'IA32_LBR_FROM_IP',             address: 0x1500, count: 32, class: 'LBR' },
  { name: 'IA32_LBR_TO_IP',               address: 0x1600, count: 32, class: 'LBR' },
  { name: 'IA32_PMC_GP_CTR',              address: 0x1900, count: 8,  class: 'PMC', stride: 4, version6: true },
  { name: 'IA32_PMC_GP_CFG_A',            address: 0x1901, count: 8,  class: 'PERFEVTSEL', stride: 4, version6: true },
  { name: 'IA32_PMC_GP_CFG_B',            address: 0x1902, count: 8,  class: 'RELOAD_CAUSES', stride: 4, version6: true },
  { name: 'IA32_PMC_GP_CFG_C',            address: 0x1903, count: 8,  class: 'PEBS', stride: 4, version6: true },
  { name: 'IA32_PMC_FX_CTR',              address: 0x1980, count: 8,  class: 'FIXED_CTR', stride: 4, version6: true },
  { name: 'IA32_PMC_FX_CFG_B',            address: 0x1982, count: 8,  class: 'RELOAD_CAUSES', stride: 4, version6: true },
  { name: 'IA32_PMC_FX_CFG_C',            address: 0x1983, count: 8,  class: 'PEBS', stride: 4, version6: true },
];

/** A register by its place in a bank. */
export interface RegisterPlace {
  readonly name: string;
  readonly class: RegisterClass;
  readonly index: number;
  readonly version6: boolean;
}

const PLACES: ReadonlyMap<number, RegisterPlace> = new Map(
  BANKS.flatMap(({ name, address, count, class: kind, stride = 1, version6 = false }) =>
    Array.from({ length: count }, (_, index) => [
      address + index * stride,
      { name: count === 1 ? name : `${name}${index}`, class: kind, index, version6 },
    ]),
  ),
);

/** Every address of a bank, ascending. */
export const ADDRESSES: readonly number[] = [...PLACES.keys()].sort((a, b) => a - b);

const NOWHERE: RegisterPlace = { name: '', class: 'OTHER', index: 0, version6: false };

export const placeOf = (address: number): RegisterPlace => PLACES.get(address) ?? NOWHERE;

/** `IA32_PMC4 (0xc5)`; the bare number of what is in no bank. */
export function registerName(address: number): string {
  const { name } = placeOf(address);
  return name === '' ? hex(address) : `${name} (${hex(address)})`;
}

/** `fixed 3 (0x40000003)`. */
export function rdpmcName(ecx: number): string {
  const type = ecx >>> 16;
  const index = ecx & 0xffff;
  const number = hex(ecx >>> 0);
  if (type === 0) return `counter ${index} (${number})`;
  if (type === 0x4000) return `fixed ${index} (${number})`;
  return type === 0x2000 && index === 0 ? `metrics (${number})` : number;
}
