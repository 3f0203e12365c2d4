import { bit, bits, isSet } from '../../bits/bitfield.ts';
import { ACTIVITY, BLOCKING, RFLAGS } from '../../cpu/control-registers.ts';
import { EVENT_TYPE } from '../../cpu/event.ts';
import { DEBUGCTL } from '../../msr/pmu.ts';
import { PIN, SECONDARY, VMX_MISC } from '../../msr/vmx.ts';
import { pdptesAt, usesPdptes } from '../guest-state.ts';
import { pdpteIsValid } from '../host-state.ts';
import { INTERRUPTION, OTHER_EVENT } from '../interruption.ts';
import { Vmcs } from '../vmcs.ts';
import type { Entry } from './entry.ts';
import { longMode, POINTER_RULES, REGISTER_RULES, TABLE_RULES } from './guest-registers.ts';
import { SEGMENT_RULES } from './guest-segments.ts';
import type { Rule } from './rule.ts';

const NON_REGISTER = 'Checks on Guest Non-Register State';
const PDPTES = 'Checks on Guest Page-Directory-Pointer-Table Entries';

const DEBUG = 1;
const MACHINE_CHECK = 18;
const NO_LINK = 0xffff_ffff_ffff_ffffn;

/** Pending debug exceptions: bits 3:0, 12, 14 and 16 exist; 16 belongs to RTM, which this machine has not. */
const PENDING_DEBUG = { BS: bit(14), RESERVED: bits(63, 15) | bit(13) | bits(11, 4) } as const;

const activity = (e: Entry) => e.read32('GUEST_ACTIVITY_STATE');
const blocking = (e: Entry, bits: number) =>
  (e.read32('GUEST_INTERRUPTIBILITY_STATE') & bits) !== 0;
const vector = (e: Entry) => e.injection & INTERRUPTION.VECTOR;
const exception = (e: Entry, ...vectors: number[]) =>
  e.injects(EVENT_TYPE.HARDWARE_EXCEPTION) && vectors.includes(vector(e));

function activityIsSupported(e: Entry): boolean {
  const { misc } = e.shape;
  switch (activity(e)) {
    case ACTIVITY.ACTIVE:
      return true;
    case ACTIVITY.HLT:
      return isSet(misc, VMX_MISC.ACTIVITY_HLT);
    case ACTIVITY.SHUTDOWN:
      return isSet(misc, VMX_MISC.ACTIVITY_SHUTDOWN);
    case ACTIVITY.WAIT_FOR_SIPI:
      return isSet(misc, VMX_MISC.ACTIVITY_WAIT_FOR_SIPI);
    default:
      return false;
  }
}

function injectionFitsActivity(e: Entry): boolean {
  if (e.injection === 0) return true;
  switch (activity(e)) {
    case ACTIVITY.HLT:
      return (
        e.injects(EVENT_TYPE.EXTERNAL) ||
        e.injects(EVENT_TYPE.NMI) ||
        exception(e, DEBUG, MACHINE_CHECK) ||
        e.injects(OTHER_EVENT)
      );
    case ACTIVITY.SHUTDOWN:
      return e.injects(EVENT_TYPE.NMI) || exception(e, MACHINE_CHECK);
    case ACTIVITY.WAIT_FOR_SIPI:
      return false;
    default:
      return true;
  }
}

/** Whether a single-step trap would be pending: TF without BTF. */
const singleStepping = (e: Entry) =>
  isSet(e.read('GUEST_RFLAGS'), RFLAGS.TF) && !isSet(e.read('GUEST_IA32_DEBUGCTL'), DEBUGCTL.BTF);

const debugHeldBack = (e: Entry) =>
  blocking(e, BLOCKING.STI | BLOCKING.MOV_SS) || activity(e) === ACTIVITY.HLT;

const pendingStep = (e: Entry) => isSet(e.read('GUEST_PENDING_DEBUG_EXCEPTIONS'), PENDING_DEBUG.BS);

const link = (e: Entry) => e.read('VMCS_LINK_POINTER');
const linked = (e: Entry) => link(e) !== NO_LINK;
const linkedHeader = (e: Entry) => Vmcs.header(e.memory, Number(link(e)));
const shadowing = (e: Entry) => (e.secondary & SECONDARY.VMCS_SHADOWING) !== 0;

function pdptes(e: Entry): bigint[] {
  if (!usesPdptes(e.read32('GUEST_CR0'), e.read32('GUEST_CR4'), longMode(e))) return [];
  if ((e.secondary & SECONDARY.ENABLE_EPT) === 0) return pdptesAt(e.memory, e.read('GUEST_CR3'));
  return [
    e.read('GUEST_PDPTE0'),
    e.read('GUEST_PDPTE1'),
    e.read('GUEST_PDPTE2'),
    e.read('GUEST_PDPTE3'),
  ];
}

// biome-ignore format: a table
const STATE_RULES: readonly Rule[] = [
  { rule: 'activity state is supported', sdm: NON_REGISTER, ok: activityIsSupported },
  { rule: 'activity state HLT needs SS DPL 0', sdm: NON_REGISTER, ok: (e) => activity(e) !== ACTIVITY.HLT || (e.read32('GUEST_SS_ACCESS_RIGHTS') & 0x60) === 0 },
  { rule: 'activity state is active with blocking by STI or by MOV SS', sdm: NON_REGISTER, ok: (e) => activity(e) === ACTIVITY.ACTIVE || !blocking(e, BLOCKING.STI | BLOCKING.MOV_SS) },
  { rule: 'the injected event fits the activity state', sdm: NON_REGISTER, ok: injectionFitsActivity },
  { rule: 'interruptibility-state bits 31:5 are 0', sdm: NON_REGISTER, ok: (e) => e.read32('GUEST_INTERRUPTIBILITY_STATE') >>> 5 === 0 },
  { rule: 'blocking by STI and by MOV SS exclude each other', sdm: NON_REGISTER, ok: (e) => !blocking(e, BLOCKING.STI) || !blocking(e, BLOCKING.MOV_SS) },
  { rule: 'blocking by STI needs RFLAGS.IF', sdm: NON_REGISTER, ok: (e) => !blocking(e, BLOCKING.STI) || isSet(e.read('GUEST_RFLAGS'), RFLAGS.IF) },
  { rule: 'no blocking by STI when an external interrupt is injected', sdm: NON_REGISTER, ok: (e) => !e.injects(EVENT_TYPE.EXTERNAL) || !blocking(e, BLOCKING.STI) },
  { rule: 'no blocking by MOV SS when an external interrupt is injected', sdm: NON_REGISTER, ok: (e) => !e.injects(EVENT_TYPE.EXTERNAL) || !blocking(e, BLOCKING.MOV_SS) },
  { rule: 'no blocking by MOV SS when an NMI is injected', sdm: NON_REGISTER, ok: (e) => !e.injects(EVENT_TYPE.NMI) || !blocking(e, BLOCKING.MOV_SS) },
  { rule: 'no blocking by SMI outside SMM', sdm: NON_REGISTER, ok: (e) => !blocking(e, BLOCKING.SMI) },
  { rule: 'no blocking by NMI when an NMI is injected with virtual NMIs', sdm: NON_REGISTER, ok: (e) => !e.injects(EVENT_TYPE.NMI) || (e.pin & PIN.VIRTUAL_NMIS) === 0 || !blocking(e, BLOCKING.NMI) },
  { rule: 'no enclave interruption without SGX', sdm: NON_REGISTER, ok: (e) => !blocking(e, 0x10) },
  { rule: 'pending debug exceptions have their reserved bits 0', sdm: NON_REGISTER, ok: (e) => (e.read('GUEST_PENDING_DEBUG_EXCEPTIONS') & PENDING_DEBUG.RESERVED) === 0n },
  { rule: 'pending debug exception BS is 1 while a single step is held back', sdm: NON_REGISTER, ok: (e) => !debugHeldBack(e) || !singleStepping(e) || pendingStep(e) },
  { rule: 'pending debug exception BS is 0 while no single step is held back', sdm: NON_REGISTER, ok: (e) => !debugHeldBack(e) || singleStepping(e) || !pendingStep(e) },
  { rule: 'VMCS link pointer is 4-KByte aligned', sdm: NON_REGISTER, qualification: 4n, ok: (e) => !linked(e) || (link(e) & 0xfffn) === 0n },
  { rule: 'VMCS link pointer is within the physical-address width', sdm: NON_REGISTER, qualification: 4n, ok: (e) => !linked(e) || e.isPhysical(link(e)) },
  { rule: 'VMCS link pointer refers to a VMCS of this revision', sdm: NON_REGISTER, qualification: 4n, ok: (e) => !linked(e) || linkedHeader(e).revision === e.shape.revision },
  { rule: 'VMCS link pointer refers to a shadow VMCS exactly with VMCS shadowing', sdm: NON_REGISTER, qualification: 4n, ok: (e) => !linked(e) || linkedHeader(e).isShadow === shadowing(e) },
  { rule: 'VMCS link pointer is not the current VMCS', sdm: NON_REGISTER, qualification: 4n, ok: (e) => !linked(e) || Number(link(e)) !== e.vmcs.address },
  { rule: 'guest PDPTEs have their reserved bits 0', sdm: PDPTES, qualification: 2n, ok: (e) => pdptes(e).every((pdpte) => pdpteIsValid(pdpte, e.physicalWidth)) },
];

/** Vol. 3, "Checks on the Guest State Area": a rule that does not hold is a VM exit with reason 33. */
export const GUEST_RULES: readonly Rule[] = [
  ...REGISTER_RULES,
  ...SEGMENT_RULES,
  ...TABLE_RULES,
  ...POINTER_RULES,
  ...STATE_RULES,
];
