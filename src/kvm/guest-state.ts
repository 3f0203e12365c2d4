import type { HostCpu } from '../host/cpu.ts';
import { FIELDS } from '../vmx/fields.ts';
import { EFER, RFLAGS } from './control-registers.ts';

export interface GuestSegment {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  /** Access rights in the VMCS format; bit 16 is unusable. */
  readonly rights: number;
}

const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDTR', 'TR'] as const;
export type GuestSegmentName = (typeof SEGMENTS)[number];

/** Registers that user space gives a vCPU before it runs: KVM_SET_REGS and KVM_SET_SREGS. */
export interface GuestState {
  /** RAX … R15 by number. */
  readonly gpr: readonly bigint[];
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly segments: Readonly<Record<GuestSegmentName, GuestSegment>>;
  readonly gdtr: { readonly base: bigint; readonly limit: number };
  readonly idtr: { readonly base: bigint; readonly limit: number };
}

const data: GuestSegment = { selector: 0, base: 0n, limit: 0xffff, rights: 0x93 };

/** A CPU after RESET. Vol. 3, "Processor State After Reset". */
export const RESET_STATE: GuestState = {
  gpr: Array<bigint>(16).fill(0n),
  rip: 0xfff0n,
  rflags: RFLAGS.FIXED,
  cr0: 0x6000_0010n,
  cr3: 0n,
  cr4: 0n,
  efer: 0n,
  segments: {
    ES: data,
    CS: { selector: 0xf000, base: 0xffff_0000n, limit: 0xffff, rights: 0x9b },
    SS: data,
    DS: data,
    FS: data,
    GS: data,
    LDTR: { ...data, rights: 0x82 },
    TR: { ...data, rights: 0x8b },
  },
  gdtr: { base: 0n, limit: 0xffff },
  idtr: { base: 0n, limit: 0xffff },
};

/** Writes segments, tables, RIP, RSP and RFLAGS to the current VMCS, as RESET and INIT do; control registers are `setControlRegisters`'. */
export function writeGuestState(host: HostCpu, state: GuestState): void {
  for (const name of SEGMENTS) {
    const { selector, base, limit, rights } = state.segments[name];
    host.vmwrite(FIELDS[`GUEST_${name}_SELECTOR`].encoding, BigInt(selector));
    host.vmwrite(FIELDS[`GUEST_${name}_BASE`].encoding, base);
    host.vmwrite(FIELDS[`GUEST_${name}_LIMIT`].encoding, BigInt(limit));
    host.vmwrite(FIELDS[`GUEST_${name}_ACCESS_RIGHTS`].encoding, BigInt(rights));
  }
  // biome-ignore format: a table
  const rows: readonly (readonly [keyof typeof FIELDS, bigint])[] = [
    ['GUEST_GDTR_BASE', state.gdtr.base], ['GUEST_GDTR_LIMIT', BigInt(state.gdtr.limit)],
    ['GUEST_IDTR_BASE', state.idtr.base], ['GUEST_IDTR_LIMIT', BigInt(state.idtr.limit)],
    ['GUEST_RIP', state.rip],             ['GUEST_RSP', state.gpr[4] ?? 0n],
    ['GUEST_RFLAGS', state.rflags],       ['GUEST_DR7', 0x400n],
    ['GUEST_INTERRUPTIBILITY_STATE', 0n], ['GUEST_ACTIVITY_STATE', 0n],
    ['GUEST_PENDING_DEBUG_EXCEPTIONS', 0n],
  ];
  for (const [name, value] of rows) host.vmwrite(FIELDS[name].encoding, value);
}

/** Writes the MSRs that are VMCS fields, as RESET leaves them; INIT does not touch them. */
export function resetGuestMsrs(host: HostCpu): void {
  // biome-ignore format: a table
  const rows: readonly (readonly [keyof typeof FIELDS, bigint])[] = [
    ['GUEST_IA32_DEBUGCTL', 0n],          ['GUEST_IA32_PAT', 0x0007_0406_0007_0406n],
    ['GUEST_IA32_SYSENTER_CS', 0n],       ['GUEST_IA32_SYSENTER_ESP', 0n],
    ['GUEST_IA32_SYSENTER_EIP', 0n],      ['VMCS_LINK_POINTER', 0xffff_ffff_ffff_ffffn],
  ];
  for (const [name, value] of rows) host.vmwrite(FIELDS[name].encoding, value);
}

/** Whether EFER has long mode active. */
export const isLongMode = (efer: bigint): boolean => (efer & EFER.LMA) !== 0n;
