import { extract, isSet } from '../../bits/bitfield.ts';
import { CR0 } from '../../cpu/control-registers.ts';
import { EVENT_TYPE } from '../../cpu/event.ts';
import {
  DEFAULT1,
  ENTRY,
  EXIT,
  PIN,
  PRIMARY,
  SECONDARY,
  VMX_MISC,
  type VmxShape,
} from '../../msr/vmx.ts';
import {
  eptpMayFlag,
  eptpReservedIsClear,
  eptpTypeIsSupported,
  eptpWalksFourLevels,
} from '../ept.ts';
import type { FieldName } from '../fields.ts';
import { INTERRUPTION, isSoftware, OTHER_EVENT, typeOf } from '../interruption.ts';
import type { Entry } from './entry.ts';
import type { Rule } from './rule.ts';

/** Whether a control word has every bit that must be 1 and none that must be 0, by the TRUE capability MSRs. */
export function wordIsAllowed(shape: VmxShape, name: keyof typeof DEFAULT1, word: number): boolean {
  const { all, relaxed } = DEFAULT1[name];
  const must = all & ~relaxed;
  return (word & must) === must && (word & ~(all | shape[name])) === 0;
}

const PAGE = 4096n;
const MSR_ENTRY = 16n;

/** The four rules of an MSR area: they hold when its count is 0. */
function msrArea(
  area: 'VM_EXIT_MSR_STORE' | 'VM_EXIT_MSR_LOAD' | 'VM_ENTRY_MSR_LOAD',
  words: string,
  sdm: string,
): Rule[] {
  const address: FieldName = `${area}_ADDRESS`;
  const count: FieldName = `${area}_COUNT`;
  const empty = (e: Entry) => e.read32(count) === 0;
  return [
    {
      rule: `${words} address is 16-byte aligned`,
      sdm,
      ok: (e) => empty(e) || (e.read(address) & 15n) === 0n,
    },
    {
      rule: `${words} address is within the physical-address width`,
      sdm,
      ok: (e) => empty(e) || e.isPhysical(e.read(address)),
    },
    {
      rule: `last byte of the ${words} area is within the physical-address width`,
      sdm,
      ok: (e) => empty(e) || e.isPhysical(e.read(address) + e.read(count) * MSR_ENTRY - 1n),
    },
  ];
}

/** The two rules of a page that a control makes VM entry use. */
function page(field: FieldName, words: string, sdm: string, used: (e: Entry) => boolean): Rule[] {
  return [
    {
      rule: `${words} is 4-KByte aligned`,
      sdm,
      ok: (e) => !used(e) || e.read(field) % PAGE === 0n,
    },
    {
      rule: `${words} is within the physical-address width`,
      sdm,
      ok: (e) => !used(e) || e.isPhysical(e.read(field)),
    },
  ];
}

const EXECUTION = 'VM-Execution Control Fields';
const VM_EXIT = 'VM-Exit Control Fields';
const VM_ENTRY = 'VM-Entry Control Fields';

const primary = (control: number) => (e: Entry) => (e.primary & control) !== 0;
const secondary = (control: number) => (e: Entry) => (e.secondary & control) !== 0;
const pin = (control: number) => (e: Entry) => (e.pin & control) !== 0;

const tprShadow = primary(PRIMARY.USE_TPR_SHADOW);
const apicAccesses = secondary(SECONDARY.VIRTUALIZE_APIC_ACCESSES);
const x2Apic = secondary(SECONDARY.VIRTUALIZE_X2APIC_MODE);
const delivery = secondary(SECONDARY.VIRTUAL_INTERRUPT_DELIVERY);
const posted = pin(PIN.PROCESS_POSTED_INTERRUPTS);
/** Whether the TPR threshold is looked at. */
const threshold = (e: Entry) => tprShadow(e) && !delivery(e);
const ept = secondary(SECONDARY.ENABLE_EPT);
const logging = secondary(SECONDARY.ENABLE_PML);
const unrestricted = secondary(SECONDARY.UNRESTRICTED_GUEST);
const shadowing = secondary(SECONDARY.VMCS_SHADOWING);
const functions = secondary(SECONDARY.ENABLE_VM_FUNCTIONS);
const eptpSwitching = (e: Entry) => functions(e) && isSet(e.read('VM_FUNCTION_CONTROLS'), 1n);

/** Bits 7:4 of VTPR in the virtual-APIC page. */
const vtpr = (e: Entry) =>
  Number(e.memory.read(Number(e.read('VIRTUAL_APIC_ADDRESS')) + 0x80, 1) >> 4n);

const ERROR_CODE_VECTORS: readonly number[] = [8, 10, 11, 12, 13, 14, 17];

const vector = (e: Entry) => e.injection & INTERRUPTION.VECTOR;
const injectedType = (e: Entry) => typeOf(e.injection);
const injecting = (e: Entry) => e.injection !== 0;
const injectsCode = (e: Entry) => (e.injection & INTERRUPTION.ERROR_CODE) !== 0;

/** An exception that would push an error code: a hardware exception, in protected mode, of such a vector. */
function errorCodeIsRight(e: Entry): boolean {
  const protectedMode = !unrestricted(e) || isSet(e.read('GUEST_CR0'), CR0.PE);
  if (!protectedMode || injectedType(e) !== EVENT_TYPE.HARDWARE_EXCEPTION) return !injectsCode(e);
  return e.shape.anyErrorCode || injectsCode(e) === ERROR_CODE_VECTORS.includes(vector(e));
}

/** Vol. 3, "Checks on VMX Controls": a rule that does not hold is VMfailValid 7. */
// biome-ignore format: a table
export const CONTROL_RULES: readonly Rule[] = [
  { rule: 'pin-based controls are allowed by IA32_VMX_TRUE_PINBASED_CTLS', sdm: EXECUTION, ok: (e) => wordIsAllowed(e.shape, 'pin', e.pin) },
  { rule: 'primary processor-based controls are allowed by IA32_VMX_TRUE_PROCBASED_CTLS', sdm: EXECUTION, ok: (e) => wordIsAllowed(e.shape, 'primary', e.primary) },
  { rule: 'secondary processor-based controls are allowed by IA32_VMX_PROCBASED_CTLS2', sdm: EXECUTION, ok: (e) => (e.secondary & ~e.shape.secondary) === 0 },
  { rule: 'CR3-target count is at most IA32_VMX_MISC[24:16]', sdm: EXECUTION, ok: (e) => e.read('CR3_TARGET_COUNT') <= extract(e.shape.misc, VMX_MISC.CR3_TARGETS) },
  ...page('IO_BITMAP_A_ADDRESS', 'I/O-bitmap A address', EXECUTION, primary(PRIMARY.USE_IO_BITMAPS)),
  ...page('IO_BITMAP_B_ADDRESS', 'I/O-bitmap B address', EXECUTION, primary(PRIMARY.USE_IO_BITMAPS)),
  ...page('MSR_BITMAP_ADDRESS', 'MSR-bitmap address', EXECUTION, primary(PRIMARY.USE_MSR_BITMAPS)),
  ...page('VIRTUAL_APIC_ADDRESS', 'virtual-APIC address', EXECUTION, tprShadow),
  { rule: 'TPR threshold bits 31:4 are 0', sdm: EXECUTION, ok: (e) => !threshold(e) || e.read32('TPR_THRESHOLD') >>> 4 === 0 },
  { rule: 'TPR threshold is at most VTPR[7:4]', sdm: EXECUTION, ok: (e) => !threshold(e) || apicAccesses(e) || (e.read32('TPR_THRESHOLD') & 15) <= vtpr(e) },
  { rule: 'virtual NMIs need NMI exiting', sdm: EXECUTION, ok: (e) => !pin(PIN.VIRTUAL_NMIS)(e) || pin(PIN.NMI_EXITING)(e) },
  { rule: 'NMI-window exiting needs virtual NMIs', sdm: EXECUTION, ok: (e) => !primary(PRIMARY.NMI_WINDOW_EXITING)(e) || pin(PIN.VIRTUAL_NMIS)(e) },
  ...page('APIC_ACCESS_ADDRESS', 'APIC-access address', EXECUTION, apicAccesses),
  { rule: 'virtualized x2APIC mode needs the TPR shadow', sdm: EXECUTION, ok: (e) => !x2Apic(e) || tprShadow(e) },
  { rule: 'APIC-register virtualization needs the TPR shadow', sdm: EXECUTION, ok: (e) => !secondary(SECONDARY.APIC_REGISTER_VIRTUALIZATION)(e) || tprShadow(e) },
  { rule: 'virtual-interrupt delivery needs the TPR shadow', sdm: EXECUTION, ok: (e) => !delivery(e) || tprShadow(e) },
  { rule: 'virtualized x2APIC mode excludes virtualized APIC accesses', sdm: EXECUTION, ok: (e) => !x2Apic(e) || !apicAccesses(e) },
  { rule: 'virtual-interrupt delivery needs external-interrupt exiting', sdm: EXECUTION, ok: (e) => !delivery(e) || pin(PIN.EXTERNAL_INTERRUPT_EXITING)(e) },
  { rule: 'posted interrupts need virtual-interrupt delivery', sdm: EXECUTION, ok: (e) => !posted(e) || delivery(e) },
  { rule: 'posted interrupts need interrupts acknowledged on exit', sdm: EXECUTION, ok: (e) => !posted(e) || (e.exit & EXIT.ACKNOWLEDGE_INTERRUPT) !== 0 },
  { rule: 'posted-interrupt notification vector bits 15:8 are 0', sdm: EXECUTION, ok: (e) => !posted(e) || e.read32('POSTED_INTERRUPT_NOTIFICATION_VECTOR') >>> 8 === 0 },
  { rule: 'posted-interrupt descriptor is 64-byte aligned', sdm: EXECUTION, ok: (e) => !posted(e) || e.read('POSTED_INTERRUPT_DESCRIPTOR_ADDRESS') % 64n === 0n },
  { rule: 'posted-interrupt descriptor is within the physical-address width', sdm: EXECUTION, ok: (e) => !posted(e) || e.isPhysical(e.read('POSTED_INTERRUPT_DESCRIPTOR_ADDRESS')) },
  { rule: 'VPID is not 0000H', sdm: EXECUTION, ok: (e) => !secondary(SECONDARY.ENABLE_VPID)(e) || e.read32('VIRTUAL_PROCESSOR_IDENTIFIER') !== 0 },
  { rule: 'EPTP has a supported memory type', sdm: EXECUTION, ok: (e) => !ept(e) || eptpTypeIsSupported(e.shape, e.read('EPT_POINTER')) },
  { rule: 'EPTP has a page-walk length of 4', sdm: EXECUTION, ok: (e) => !ept(e) || eptpWalksFourLevels(e.read('EPT_POINTER')) },
  { rule: 'EPTP bit 6 needs accessed and dirty flags for EPT', sdm: EXECUTION, ok: (e) => !ept(e) || eptpMayFlag(e.shape, e.read('EPT_POINTER')) },
  { rule: 'EPTP bits 11:7 are 0', sdm: EXECUTION, ok: (e) => !ept(e) || eptpReservedIsClear(e.read('EPT_POINTER')) },
  { rule: 'EPTP is within the physical-address width', sdm: EXECUTION, ok: (e) => !ept(e) || e.isPhysical(e.read('EPT_POINTER')) },
  { rule: 'PML needs EPT', sdm: EXECUTION, ok: (e) => !logging(e) || ept(e) },
  ...page('PML_ADDRESS', 'PML address', EXECUTION, logging),
  { rule: 'unrestricted guest needs EPT', sdm: EXECUTION, ok: (e) => !unrestricted(e) || ept(e) },
  { rule: 'VM-function controls are allowed by IA32_VMX_VMFUNC', sdm: EXECUTION, ok: (e) => !functions(e) || (e.read('VM_FUNCTION_CONTROLS') & ~e.shape.vmfunc) === 0n },
  { rule: 'EPTP switching needs EPT', sdm: EXECUTION, ok: (e) => !eptpSwitching(e) || ept(e) },
  ...page('EPTP_LIST_ADDRESS', 'EPTP-list address', EXECUTION, eptpSwitching),
  ...page('VMREAD_BITMAP_ADDRESS', 'VMREAD-bitmap address', EXECUTION, shadowing),
  ...page('VMWRITE_BITMAP_ADDRESS', 'VMWRITE-bitmap address', EXECUTION, shadowing),
  { rule: 'TSC multiplier is not 0', sdm: EXECUTION, ok: (e) => !secondary(SECONDARY.USE_TSC_SCALING)(e) || e.read('TSC_MULTIPLIER') !== 0n },

  { rule: 'VM-exit controls are allowed by IA32_VMX_TRUE_EXIT_CTLS', sdm: VM_EXIT, ok: (e) => wordIsAllowed(e.shape, 'exit', e.exit) },
  { rule: 'saving the VMX-preemption timer needs the timer', sdm: VM_EXIT, ok: (e) => (e.exit & EXIT.SAVE_PREEMPTION_TIMER) === 0 || pin(PIN.ACTIVATE_PREEMPTION_TIMER)(e) },
  ...msrArea('VM_EXIT_MSR_STORE', 'VM-exit MSR-store', VM_EXIT),
  ...msrArea('VM_EXIT_MSR_LOAD', 'VM-exit MSR-load', VM_EXIT),

  { rule: 'VM-entry controls are allowed by IA32_VMX_TRUE_ENTRY_CTLS', sdm: VM_ENTRY, ok: (e) => wordIsAllowed(e.shape, 'entry', e.entry) },
  { rule: 'interruption type is not the reserved value 1', sdm: VM_ENTRY, ok: (e) => !injecting(e) || injectedType(e) !== 1 },
  { rule: 'interruption type 7 needs the monitor trap flag', sdm: VM_ENTRY, ok: (e) => !e.injects(OTHER_EVENT) || (e.shape.primary & PRIMARY.MONITOR_TRAP_FLAG) !== 0 },
  { rule: 'an NMI has vector 2', sdm: VM_ENTRY, ok: (e) => !e.injects(EVENT_TYPE.NMI) || vector(e) === 2 },
  { rule: 'a hardware exception has a vector of at most 31', sdm: VM_ENTRY, ok: (e) => !e.injects(EVENT_TYPE.HARDWARE_EXCEPTION) || vector(e) <= 31 },
  { rule: 'an other event has vector 0', sdm: VM_ENTRY, ok: (e) => !e.injects(OTHER_EVENT) || vector(e) === 0 },
  { rule: 'an error code is delivered exactly with exceptions that have one', sdm: VM_ENTRY, ok: (e) => !injecting(e) || errorCodeIsRight(e) },
  { rule: 'interruption-information bits 30:12 are 0', sdm: VM_ENTRY, ok: (e) => !injecting(e) || (e.injection & INTERRUPTION.RESERVED) === 0 },
  { rule: 'VM-entry exception error code bits 31:16 are 0', sdm: VM_ENTRY, ok: (e) => !injecting(e) || !injectsCode(e) || e.read32('VM_ENTRY_EXCEPTION_ERROR_CODE') >>> 16 === 0 },
  { rule: 'VM-entry instruction length is at most 15', sdm: VM_ENTRY, ok: (e) => !injecting(e) || !isSoftware(injectedType(e)) || e.read32('VM_ENTRY_INSTRUCTION_LENGTH') <= 15 },
  { rule: 'VM-entry instruction length 0 needs IA32_VMX_MISC[30]', sdm: VM_ENTRY, ok: (e) => !injecting(e) || !isSoftware(injectedType(e)) || e.read32('VM_ENTRY_INSTRUCTION_LENGTH') !== 0 || isSet(e.shape.misc, VMX_MISC.ZERO_LENGTH_INJECTION) },
  ...msrArea('VM_ENTRY_MSR_LOAD', 'VM-entry MSR-load', VM_ENTRY),
  { rule: 'entry to SMM is 0 outside SMM', sdm: VM_ENTRY, ok: (e) => (e.entry & ENTRY.ENTRY_TO_SMM) === 0 },
  { rule: 'deactivate dual-monitor treatment is 0 outside SMM', sdm: VM_ENTRY, ok: (e) => (e.entry & ENTRY.DEACTIVATE_DUAL_MONITOR) === 0 },
];
