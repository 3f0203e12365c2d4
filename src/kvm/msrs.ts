import { maskOf } from '../bits/bitfield.ts';
import { isCanonical } from '../bits/u64.ts';
import type { HostCpu } from '../host/cpu.ts';
import type { ReadOutcome, WriteOutcome } from '../msr/bus.ts';
import { DEBUGCTL } from '../msr/pmu.ts';
import { FIELDS, type FieldName } from '../vmx/fields.ts';

/** Where a guest's value of an MSR is kept while the guest runs, and so who answers for it. */
export type MsrHome =
  /** A field of the VMCS. */
  | { readonly kind: 'vmcs'; readonly field: FieldName }
  /** The CPU's own register: the host does not use it. Moved when another vCPU takes the CPU. */
  | { readonly kind: 'cpu' }
  /** KVM keeps it and it has no effect; `writable` bits beyond which a write is #GP. */
  | { readonly kind: 'kept'; readonly reset: bigint; readonly writable: bigint }
  /** Reads as a constant, writes are #GP. */
  | { readonly kind: 'constant'; readonly value: bigint }
  /** Writes are dropped, reads give 0. */
  | { readonly kind: 'ignored' };

export interface GuestMsrRow {
  readonly name: string;
  readonly address: number;
  readonly count?: number;
  readonly home: MsrHome;
  /** Guest accesses do not exit. */
  readonly passes?: boolean;
}

const field = (name: FieldName): MsrHome => ({ kind: 'vmcs', field: name });
const CPU: MsrHome = { kind: 'cpu' };
const kept = (writable: bigint, reset = 0n): MsrHome => ({ kind: 'kept', reset, writable });
const ALL = 0xffff_ffff_ffff_ffffn;

/** Fast strings on, BTS and PEBS not available. PERFMON (bit 7) is added with a PMU. */
export const MISC_ENABLE = { address: 0x1a0, reset: 0x1801n, PERFMON: 0x80n } as const;

/** The guest's MSRs beside those of its PMU and its APIC. What is in no table is #GP. */
// biome-ignore format: a table
export const GUEST_MSRS: readonly GuestMsrRow[] = [
  { name: 'IA32_SYSENTER_CS',     address: 0x174,       home: field('GUEST_IA32_SYSENTER_CS'),  passes: true },
  { name: 'IA32_SYSENTER_ESP',    address: 0x175,       home: field('GUEST_IA32_SYSENTER_ESP'), passes: true },
  { name: 'IA32_SYSENTER_EIP',    address: 0x176,       home: field('GUEST_IA32_SYSENTER_EIP'), passes: true },
  { name: 'IA32_FS_BASE',         address: 0xc000_0100, home: field('GUEST_FS_BASE'),           passes: true },
  { name: 'IA32_GS_BASE',         address: 0xc000_0101, home: field('GUEST_GS_BASE'),           passes: true },
  { name: 'IA32_PAT',             address: 0x277,       home: field('GUEST_IA32_PAT') },
  { name: 'IA32_DEBUGCTL',        address: 0x1d9,       home: field('GUEST_IA32_DEBUGCTL') },
  { name: 'IA32_STAR',            address: 0xc000_0081, home: CPU, passes: true },
  { name: 'IA32_LSTAR',           address: 0xc000_0082, home: CPU, passes: true },
  { name: 'IA32_CSTAR',           address: 0xc000_0083, home: CPU, passes: true },
  { name: 'IA32_FMASK',           address: 0xc000_0084, home: CPU, passes: true },
  { name: 'IA32_KERNEL_GS_BASE',  address: 0xc000_0102, home: CPU, passes: true },
  { name: 'IA32_TSC_AUX',         address: 0xc000_0103, home: CPU, passes: true },
  { name: 'IA32_TSC_ADJUST',      address: 0x03b, home: kept(ALL) },
  { name: 'IA32_BIOS_SIGN_ID',    address: 0x08b, home: kept(ALL, 0x1_0000_0000n) },
  { name: 'IA32_MISC_ENABLE',     address: MISC_ENABLE.address, home: kept(ALL, MISC_ENABLE.reset) },
  { name: 'IA32_MTRRCAP',         address: 0x0fe, home: { kind: 'constant', value: 0x508n } },
  { name: 'IA32_MTRR_PHYS',       address: 0x200, count: 16, home: kept(ALL) },
  { name: 'IA32_MTRR_FIX64K',     address: 0x250, home: kept(ALL) },
  { name: 'IA32_MTRR_FIX16K',     address: 0x258, count: 2, home: kept(ALL) },
  { name: 'IA32_MTRR_FIX4K',      address: 0x268, count: 8, home: kept(ALL) },
  { name: 'IA32_MTRR_DEF_TYPE',   address: 0x2ff, home: kept(0xcffn) },
  { name: 'IA32_MCG_CAP',         address: 0x179, home: { kind: 'constant', value: 0n } },
  { name: 'IA32_MCG_STATUS',      address: 0x17a, home: kept(7n) },
  { name: 'IA32_PLATFORM_ID',     address: 0x017, home: { kind: 'constant', value: 0n } },
  { name: 'IA32_PLATFORM_INFO',   address: 0x0ce, home: { kind: 'constant', value: 0n } },
  { name: 'IA32_SPEC_CTRL',       address: 0x048, home: { kind: 'ignored' } },
  // PERFCTR0 and PERFCTR1 never fault, even without a PMU; with one they are its registers.
  { name: 'MSR_P6_PERFCTR',       address: 0x0c1, count: 2, home: { kind: 'ignored' } },
];

/** The values of one vCPU's MSRs that no other part of it keeps. */
export class GuestMsrs {
  readonly #kept = new Map<number, bigint>();

  /** Bits of IA32_DEBUGCTL that the guest may set. */
  readonly #debugctl: bigint;

  constructor({ hasPmu, hasLbrStack }: { hasPmu: boolean; hasLbrStack: boolean }) {
    this.#debugctl = DEBUGCTL_WRITABLE | (hasLbrStack ? DEBUGCTL.LBR : 0n);
    for (const { address, count = 1, home } of GUEST_MSRS) {
      if (home.kind !== 'kept') continue;
      for (let index = 0; index < count; index++) this.#kept.set(address + index, home.reset);
    }
    if (hasPmu) {
      this.#kept.set(MISC_ENABLE.address, MISC_ENABLE.reset | MISC_ENABLE.PERFMON);
    }
  }

  rdmsr(host: HostCpu, address: number): ReadOutcome {
    const home = homeOf(address);
    switch (home?.kind) {
      case undefined:
        return 'unclaimed';
      case 'vmcs':
        return host.vmread(FIELDS[home.field].encoding);
      case 'cpu':
        return host.rdmsrSafe(address);
      case 'kept':
        return this.#kept.get(address) ?? 0n;
      case 'constant':
        return home.value;
      case 'ignored':
        return 0n;
    }
  }

  wrmsr(host: HostCpu, address: number, value: bigint): WriteOutcome {
    const home = homeOf(address);
    switch (home?.kind) {
      case undefined:
        return 'unclaimed';
      case 'vmcs':
        return this.#writeField(host, home.field, value);
      case 'cpu':
        return host.wrmsrSafe(address, value);
      case 'kept':
        if ((value & ~home.writable) !== 0n) return '#GP';
        this.#kept.set(address, value);
        return 'done';
      case 'constant':
        return '#GP';
      case 'ignored':
        return 'done';
    }
  }

  /** Whether IA32_DEBUGCTL could hold a value. */
  acceptsDebugctl(value: bigint): boolean {
    return (value & ~this.#debugctl) === 0n;
  }

  #writeField(host: HostCpu, name: FieldName, value: bigint): WriteOutcome {
    if (name === 'GUEST_IA32_DEBUGCTL' && !this.acceptsDebugctl(value)) return '#GP';
    if (name === 'GUEST_IA32_PAT' && !isPat(value)) return '#GP';
    if (ADDRESSES.has(name) && !isCanonical(value)) return '#GP';
    host.vmwrite(FIELDS[name].encoding, value);
    return 'done';
  }

  save(): readonly (readonly [number, bigint])[] {
    return [...this.#kept];
  }

  restore(saved: readonly (readonly [number, bigint])[]): void {
    for (const [address, value] of saved) this.#kept.set(address, value);
  }
}

/** MSRs of the CPU itself that belong to the vCPU while it is there. */
export const CPU_MSRS: readonly number[] = GUEST_MSRS.filter(({ home }) => home === CPU).map(
  ({ address }) => address,
);

const homeOf = (address: number): MsrHome | undefined =>
  GUEST_MSRS.find((row) => address >= row.address && address < row.address + (row.count ?? 1))
    ?.home;

/** Freeze bits and single-stepping on branches; LBR only with an LBR stack, BTS is not virtualised. */
const DEBUGCTL_WRITABLE = maskOf(
  DEBUGCTL.BTF,
  DEBUGCTL.FREEZE_LBRS_ON_PMI,
  DEBUGCTL.FREEZE_PERFMON_ON_PMI,
);

/** Fields that hold a linear address. */
const ADDRESSES: ReadonlySet<FieldName> = new Set([
  'GUEST_IA32_SYSENTER_ESP',
  'GUEST_IA32_SYSENTER_EIP',
  'GUEST_FS_BASE',
  'GUEST_GS_BASE',
]);

/** Every byte of a PAT is one of the types 0, 1, 4, 5, 6, 7. */
const isPat = (value: bigint): boolean => {
  for (let at = 0n; at < 64n; at += 8n) {
    const type = (value >> at) & 0xffn;
    if (type > 7n || type === 2n || type === 3n) return false;
  }
  return true;
};
