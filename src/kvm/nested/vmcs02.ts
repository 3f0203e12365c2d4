import { ENTRY, PIN, PRIMARY, SECONDARY } from '../../msr/vmx.ts';
import { controlsOf } from '../../vmx/controls.ts';
import { FIELDS, type FieldName } from '../../vmx/fields.ts';
import { cr0Loaded, dr7Loaded, eferFor, pdptesAt, usesPdptes } from '../../vmx/guest-state.ts';
import { INTERRUPTION, typeOf } from '../../vmx/interruption.ts';
import { BLOCKING, CR0 } from '../control-registers.ts';
import { readControlRegister } from '../paging-mode.ts';
import type { Vcpu } from '../vcpu.ts';
import { writeControls } from '../vmcs.ts';
import { PDPTES, PLAIN_GUEST_FIELDS } from './guest-fields.ts';
import type { NestedVmx } from './nested-vmx.ts';

/** Bits of CR0 that KVM owns while L2 runs; the rest of what L1 does not own is L2's. */
const CACHING = CR0.CD | CR0.NW;

/** What a VM entry or VM exit leaves as it is where no control or field says otherwise. */
export interface InheritedState {
  readonly cr0: bigint;
  readonly efer: bigint;
  readonly pat: bigint;
  readonly debugctl: bigint;
  readonly dr7: bigint;
}

/** Of whoever runs by the current VMCS, L1 or L2. */
export const inheritedState = (vcpu: Vcpu): InheritedState => ({
  cr0: vcpu.nested?.guestMode ? cr0OfL2(vcpu, vcpu.nested) : readControlRegister(vcpu, 0),
  efer: vcpu.read('GUEST_IA32_EFER'),
  pat: vcpu.read('GUEST_IA32_PAT'),
  debugctl: vcpu.read('GUEST_IA32_DEBUGCTL'),
  dr7: vcpu.read('GUEST_DR7'),
});

/** CR0 as L2 has it, which may be another than it reads. */
export const cr0OfL2 = (vcpu: Vcpu, { state }: NestedVmx): bigint =>
  (vcpu.read('GUEST_CR0') & ~CACHING) | state.caching;

/** Fills vmcs02, which is current, from vmcs12 and what KVM itself wants (prepare_vmcs02). */
export function prepareVmcs02(vcpu: Vcpu, nested: NestedVmx, inherited: InheritedState): void {
  const { vmcs02, vmcs12 } = nested;
  writeMergedControls(vcpu, nested);
  vmcs02.forget();
  for (const name of PLAIN_GUEST_FIELDS) vcpu.write(name, vmcs12.read(FIELDS[name]));
  vcpu.write('VMCS_LINK_POINTER', 0xffff_ffff_ffff_ffffn);
  vcpu.write('GUEST_ACTIVITY_STATE', 0n);
  vcpu.write('GUEST_INTERRUPTIBILITY_STATE', BigInt(interruptibility(nested)));
  writeControlRegisters(vcpu, nested, inherited);
  const loads = (control: number) => nested.entry(control);
  const choose = (control: number, name: FieldName, other: bigint) =>
    vcpu.write(name, loads(control) ? vmcs12.read(FIELDS[name]) : other);
  choose(ENTRY.LOAD_IA32_PAT, 'GUEST_IA32_PAT', inherited.pat);
  choose(ENTRY.LOAD_DEBUG_CONTROLS, 'GUEST_IA32_DEBUGCTL', inherited.debugctl);
  const debug = loads(ENTRY.LOAD_DEBUG_CONTROLS);
  vcpu.write('GUEST_DR7', debug ? dr7Loaded(vmcs12.read(FIELDS.GUEST_DR7)) : inherited.dr7);
  writeInjection(vcpu, nested);
}

/** The control words: what KVM needs, and what L1 asks for. */
function writeMergedControls(vcpu: Vcpu, nested: NestedVmx): void {
  const { vm, host, vpmu } = vcpu;
  const { vmcs12 } = nested;
  const { config } = vm;
  const l1 = controlsOf(vmcs12);
  const usesBitmap = (l1.primary & PRIMARY.USE_MSR_BITMAPS) !== 0;
  if (usesBitmap) {
    const bitmap = Number(vmcs12.read(FIELDS.MSR_BITMAP_ADDRESS));
    nested.msrBitmap.merge(host, vm.bitmapFor(vcpu).address, nested.memory, bitmap);
  }
  // Optional instructions, and modes without paging, are there as far as L1 wants them to be.
  const absent = SECONDARY.UNRESTRICTED_GUEST | SECONDARY.ENABLE_RDTSCP | SECONDARY.ENABLE_INVPCID;
  const merged = {
    ...config,
    pin: (config.pin | l1.pin) & ~PIN.ACTIVATE_PREEMPTION_TIMER,
    primary:
      (config.primary | (l1.primary & ~PRIMARY.USE_IO_BITMAPS)) &
      ~(usesBitmap ? 0 : PRIMARY.USE_MSR_BITMAPS) &
      ~(vpmu.rdpmcExits || (l1.primary & PRIMARY.RDPMC_EXITING) !== 0 ? 0 : PRIMARY.RDPMC_EXITING),
    secondary: (config.secondary & ~absent) | l1.secondary,
    entry: config.entry | (l1.entry & ENTRY.IA_32E_MODE_GUEST),
  };
  writeControls(
    host,
    { ...merged, primary: merged.primary >>> 0, secondary: merged.secondary >>> 0 },
    {
      msrBitmap: nested.msrBitmap.address,
      eptp: nested.usesEpt ? nested.ept02.eptp : vm.eptp,
      vpid: nested.vpid02,
    },
  );
  const exceptions = vcpu.read('EXCEPTION_BITMAP') | vmcs12.read(FIELDS.EXCEPTION_BITMAP);
  vcpu.write('EXCEPTION_BITMAP', exceptions);
  for (const name of LIKE_L1) vcpu.write(name, vmcs12.read(FIELDS[name]));
  vcpu.write('TSC_OFFSET', BigInt.asUintN(64, vcpu.activeTscOffset));
}

/** Control fields that KVM has no use for itself. */
const LIKE_L1 = [
  'PAGE_FAULT_ERROR_CODE_MASK',
  'PAGE_FAULT_ERROR_CODE_MATCH',
  'CR3_TARGET_COUNT',
  'CR3_TARGET_VALUE_0',
  'CR3_TARGET_VALUE_1',
  'CR3_TARGET_VALUE_2',
  'CR3_TARGET_VALUE_3',
  'CR4_GUEST_HOST_MASK',
  'CR4_READ_SHADOW',
] as const satisfies readonly FieldName[];

/** CR0, EFER and PDPTEs, and who owns the bits of CR0. */
function writeControlRegisters(vcpu: Vcpu, nested: NestedVmx, inherited: InheritedState): void {
  const { vmcs12, state } = nested;
  const field = vmcs12.read32(FIELDS.GUEST_CR0);
  const cr0 = cr0Loaded(Number(inherited.cr0), field);
  state.caching = BigInt(cr0) & CACHING;
  const mask = vmcs12.read(FIELDS.CR0_GUEST_HOST_MASK);
  const shadow = vmcs12.read(FIELDS.CR0_READ_SHADOW);
  vcpu.write('GUEST_CR0', BigInt(cr0) & ~CACHING);
  vcpu.write('CR0_GUEST_HOST_MASK', mask | CACHING);
  vcpu.write('CR0_READ_SHADOW', (shadow & mask) | (BigInt(cr0) & ~mask));

  const longMode = nested.entry(ENTRY.IA_32E_MODE_GUEST);
  const efer = nested.entry(ENTRY.LOAD_IA32_EFER)
    ? vmcs12.read(FIELDS.GUEST_IA32_EFER)
    : BigInt(eferFor(Number(inherited.efer), cr0, longMode) >>> 0);
  vcpu.write('GUEST_IA32_EFER', efer);
  if (!usesPdptes(cr0, vmcs12.read32(FIELDS.GUEST_CR4), longMode)) return;
  const pdptes = nested.usesEpt
    ? PDPTES.map((name) => vmcs12.read(FIELDS[name]))
    : pdptesAt(nested.memory, vmcs12.read(FIELDS.GUEST_CR3));
  for (const [i, name] of PDPTES.entries()) vcpu.write(name, pdptes[i]!);
}

/** MOV to CR0 by L2 that L1 does not want to see: it changes how L2 caches. */
export function writeCr0OfL2(vcpu: Vcpu, nested: NestedVmx, value: bigint): boolean {
  if ((value & CR0.NW) !== 0n && (value & CR0.CD) === 0n) return false;
  const mask = nested.vmcs12.read(FIELDS.CR0_GUEST_HOST_MASK);
  const shadow = nested.vmcs12.read(FIELDS.CR0_READ_SHADOW);
  const cr0 = (value & ~mask) | (cr0OfL2(vcpu, nested) & mask);
  nested.state.caching = cr0 & CACHING;
  vcpu.write('GUEST_CR0', cr0 & ~CACHING);
  vcpu.write('CR0_READ_SHADOW', (shadow & mask) | (cr0 & ~mask));
  return true;
}

/** KVM uses virtual NMIs, which excludes an injection behind blocking; L1, which does not, may ask for it. */
function interruptibility({ vmcs12 }: NestedVmx): number {
  const blocking = vmcs12.read32(FIELDS.GUEST_INTERRUPTIBILITY_STATE);
  const injection = vmcs12.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
  const injectsNmi = injection >= INTERRUPTION.VALID && typeOf(injection) === INJECTED_NMI;
  return injectsNmi ? blocking & ~BLOCKING.NMI : blocking;
}
const INJECTED_NMI = 2;

/** The event that L1 injects. */
function writeInjection(vcpu: Vcpu, { vmcs12 }: NestedVmx): void {
  for (const name of INJECTION) vcpu.write(name, vmcs12.read(FIELDS[name]));
}
const INJECTION = [
  'VM_ENTRY_INTERRUPTION_INFORMATION',
  'VM_ENTRY_EXCEPTION_ERROR_CODE',
  'VM_ENTRY_INSTRUCTION_LENGTH',
] as const satisfies readonly FieldName[];
