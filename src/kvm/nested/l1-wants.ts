import { PRIMARY, SECONDARY } from '../../msr/vmx.ts';
import { EXIT_REASON } from '../../vmx/exit-reasons.ts';
import { FIELDS } from '../../vmx/fields.ts';
import { INTERRUPTION } from '../../vmx/interruption.ts';
import { ioExits } from '../../vmx/io-bitmap.ts';
import { msrExits } from '../../vmx/msr-bitmap.ts';
import { readGpr } from '../guest-registers.ts';
import type { Vcpu } from '../vcpu.ts';
import type { NestedVmx } from './nested-vmx.ts';

type Wants = (nested: NestedVmx, vcpu: Vcpu) => boolean;

const UNDEFINED_OPCODE = 6;
const RCX = 1;

const never: Wants = () => false;
const primary =
  (control: number): Wants =>
  (nested) =>
    nested.primary(control);
const secondary =
  (control: number): Wants =>
  (nested) =>
    nested.secondary(control);

/** KVM intercepts #UD for itself; every other exception exits because L1 has asked for it. */
const exception: Wants = ({ vmcs12 }, vcpu) => {
  const information = Number(vcpu.read('VM_EXIT_INTERRUPTION_INFORMATION'));
  if ((information & INTERRUPTION.VECTOR) !== UNDEFINED_OPCODE) return true;
  return ((vmcs12.read32(FIELDS.EXCEPTION_BITMAP) >>> UNDEFINED_OPCODE) & 1) === 1;
};

const msr =
  (access: 'read' | 'write'): Wants =>
  (nested, vcpu) => {
    if (!nested.primary(PRIMARY.USE_MSR_BITMAPS)) return true;
    const bitmaps = Number(nested.vmcs12.read(FIELDS.MSR_BITMAP_ADDRESS));
    const address = Number(vcpu.gpr[RCX]! & 0xffff_ffffn);
    return msrExits(nested.memory, bitmaps, address, access);
  };

const io: Wants = (nested, vcpu) => {
  if (!nested.primary(PRIMARY.USE_IO_BITMAPS)) {
    return nested.primary(PRIMARY.UNCONDITIONAL_IO_EXITING);
  }
  const qualification = Number(vcpu.read('EXIT_QUALIFICATION'));
  const a = Number(nested.vmcs12.read(FIELDS.IO_BITMAP_A_ADDRESS));
  const b = Number(nested.vmcs12.read(FIELDS.IO_BITMAP_B_ADDRESS));
  return ioExits(nested.memory, a, b, qualification >>> 16, (qualification & 7) + 1);
};

/** Of CR0 KVM owns two bits, of CR8 all; every other access exits because L1 has asked for it. */
const controlRegister: Wants = (nested, vcpu) => {
  const qualification = Number(vcpu.read('EXIT_QUALIFICATION'));
  const [number, access] = [qualification & 15, (qualification >> 4) & 3];
  if (number === 8) {
    return nested.primary(access === 0 ? PRIMARY.CR8_LOAD_EXITING : PRIMARY.CR8_STORE_EXITING);
  }
  if (number !== 0 || access !== 0) return true;
  const value = readGpr(vcpu, (qualification >> 8) & 15);
  const mask = nested.vmcs12.read(FIELDS.CR0_GUEST_HOST_MASK);
  return ((value ^ nested.vmcs12.read(FIELDS.CR0_READ_SHADOW)) & mask) !== 0n;
};

/** Exits that KVM takes for itself, or L1 only wants if it has said so; L1 gets all others (nested_vmx_l1_wants_exit). */
// biome-ignore format: a table
const CONDITIONAL: Readonly<Partial<Record<number, Wants>>> = {
  [EXIT_REASON.EXCEPTION_NMI]:       exception,
  [EXIT_REASON.EXTERNAL_INTERRUPT]:  never,
  [EXIT_REASON.INTERRUPT_WINDOW]:    primary(PRIMARY.INTERRUPT_WINDOW_EXITING),
  [EXIT_REASON.NMI_WINDOW]:          primary(PRIMARY.NMI_WINDOW_EXITING),
  [EXIT_REASON.HLT]:                 primary(PRIMARY.HLT_EXITING),
  [EXIT_REASON.INVLPG]:              primary(PRIMARY.INVLPG_EXITING),
  [EXIT_REASON.RDPMC]:               primary(PRIMARY.RDPMC_EXITING),
  [EXIT_REASON.CR_ACCESS]:           controlRegister,
  [EXIT_REASON.IO_INSTRUCTION]:      io,
  [EXIT_REASON.MSR_READ]:            msr('read'),
  [EXIT_REASON.MSR_WRITE]:           msr('write'),
  [EXIT_REASON.MWAIT_INSTRUCTION]:   primary(PRIMARY.MWAIT_EXITING),
  [EXIT_REASON.MONITOR_TRAP_FLAG]:   primary(PRIMARY.MONITOR_TRAP_FLAG),
  [EXIT_REASON.MONITOR_INSTRUCTION]: primary(PRIMARY.MONITOR_EXITING),
  [EXIT_REASON.PAUSE_INSTRUCTION]:   primary(PRIMARY.PAUSE_EXITING),
  [EXIT_REASON.EPT_VIOLATION]:       never,
  [EXIT_REASON.EPT_MISCONFIG]:       never,
  [EXIT_REASON.PREEMPTION_TIMER]:    ({ timerExpired }) => timerExpired,
  [EXIT_REASON.WBINVD]:              secondary(SECONDARY.WBINVD_EXITING),
  [EXIT_REASON.PML_FULL]:            never,
};

/** Whether a VM exit from L2 is L1's rather than KVM's own. */
export const l1Wants = (vcpu: Vcpu, nested: NestedVmx, reason: number): boolean =>
  CONDITIONAL[reason]?.(nested, vcpu) ?? true;
