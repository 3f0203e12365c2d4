import { isSet } from '../bits/bitfield.ts';
import { CR0_FIXED, ENTRY } from '../msr/vmx.ts';
import { CR0, CR4, EFER } from './control-registers.ts';
import { setControl } from './global-ctrl.ts';
import { writeCr0OfL2 } from './nested/vmcs02.ts';
import type { Vcpu } from './vcpu.ts';

/** Bits of CR0 and CR4 that belong to KVM: the guest reads the shadow, writes that differ from it exit. */
const CR0_MASK = CR0.NE | CR0.NW | CR0.CD;
const CR4_MASK = CR4.VMXE;
/** Those of CR0 that a guest in VMX operation may not clear, beside NE. */
const CR0_FIXED_IN_VMX = CR0.PE | CR0.PG;

export interface ControlRegisterValues {
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
}

/** Sets the guest's control registers and EFER, and the entry control that has to agree with them. */
export function setControlRegisters(
  vcpu: Vcpu,
  { cr0, cr3, cr4, efer }: ControlRegisterValues,
): void {
  vcpu.write('CR0_GUEST_HOST_MASK', CR0_MASK);
  vcpu.write('CR4_GUEST_HOST_MASK', CR4_MASK);
  vcpu.write('GUEST_CR3', cr3);
  writeCr4(vcpu, cr4);
  vcpu.write('GUEST_IA32_EFER', efer);
  writeCr0(vcpu, cr0);
}

/** The guest's view of a control register: its own bits, and the shadow's where KVM owns them. */
export function readControlRegister(vcpu: Vcpu, register: 0 | 4): bigint {
  const constant = register === 0 ? CR0_MASK : CR4_MASK;
  const mask = vcpu.nested ? vcpu.read(`CR${register}_GUEST_HOST_MASK`) : constant;
  return (
    (vcpu.read(`CR${register}_READ_SHADOW`) & mask) | (vcpu.read(`GUEST_CR${register}`) & ~mask)
  );
}

/** The guest has entered or left VMX operation, in which CR0 has more bits that KVM must watch. */
export function ownControlRegisters(vcpu: Vcpu): void {
  const cr0 = readControlRegister(vcpu, 0);
  const inVmx = vcpu.nested?.operation.isOn === true;
  vcpu.write('CR0_READ_SHADOW', cr0);
  vcpu.write('CR0_GUEST_HOST_MASK', inVmx ? CR0_MASK | CR0_FIXED_IN_VMX : CR0_MASK);
}

/** MOV to CR0; false for a combination that is #GP. Long mode becomes active with paging. */
export function writeCr0(vcpu: Vcpu, value: bigint): boolean {
  const paging = isSet(value, CR0.PG);
  const { nested } = vcpu;
  if (nested?.guestMode) return writeCr0OfL2(vcpu, nested, value);
  if (nested?.operation.isOn && (value & CR0_FIXED.one) !== CR0_FIXED.one) return false;
  if (value >> 32n !== 0n) return false;
  if (paging && !isSet(value, CR0.PE)) return false;
  if (isSet(value, CR0.NW) && !isSet(value, CR0.CD)) return false;
  const efer = vcpu.read('GUEST_IA32_EFER');
  const cr4 = vcpu.read('GUEST_CR4');
  const activates = paging && isSet(efer, EFER.LME);
  if (activates && !isSet(cr4, CR4.PAE)) return false;
  setLongMode(vcpu, activates);
  vcpu.write('CR0_READ_SHADOW', value);
  vcpu.write('GUEST_CR0', (value & ~(CR0.NW | CR0.CD)) | CR0.NE);
  return true;
}

/** MOV to CR4; false for a value that is #GP. */
export function writeCr4(vcpu: Vcpu, value: bigint): boolean {
  if (!mayHoldCr4(vcpu, value)) return false;
  if (isSet(vcpu.read('GUEST_IA32_EFER'), EFER.LMA) && !isSet(value, CR4.PAE)) return false;
  vcpu.write('CR4_READ_SHADOW', value);
  vcpu.write('GUEST_CR4', value | CR4.VMXE);
  return true;
}

/** VMXE is for guests that may be hypervisors, and stays set while they are; only then does its change come here. */
function mayHoldCr4({ nested }: Vcpu, value: bigint): boolean {
  if (!nested) return !isSet(value, CR4.VMXE);
  if ((value & ~nested.cr4) !== 0n) return false;
  return !nested.operation.isOn || isSet(value, CR4.VMXE);
}

/** WRMSR to IA32_EFER; false for what is #GP. LMA is the CPU's to set. */
export function writeEfer(vcpu: Vcpu, value: bigint): boolean {
  if ((value & ~(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE)) !== 0n) return false;
  const old = vcpu.read('GUEST_IA32_EFER');
  const paging = isSet(vcpu.read('GUEST_CR0'), CR0.PG);
  if (paging && isSet(old ^ value, EFER.LME)) return false;
  vcpu.write('GUEST_IA32_EFER', (value & ~EFER.LMA) | (old & EFER.LMA));
  return true;
}

function setLongMode(vcpu: Vcpu, active: boolean): void {
  const efer = vcpu.read('GUEST_IA32_EFER');
  vcpu.write('GUEST_IA32_EFER', active ? efer | EFER.LMA : efer & ~EFER.LMA);
  setControl(vcpu.host, 'VM_ENTRY_CONTROLS', ENTRY.IA_32E_MODE_GUEST, active);
}
