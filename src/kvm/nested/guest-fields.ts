import { FIELDS, type FieldName } from '../../vmx/fields.ts';

/** Guest-state fields that entries and exits of L2 do not simply carry over: the controls decide, or KVM does. */
const NOT_PLAIN: ReadonlySet<FieldName> = new Set([
  'GUEST_CR0',
  'GUEST_DR7',
  'GUEST_IA32_DEBUGCTL',
  'GUEST_IA32_PAT',
  'GUEST_IA32_EFER',
  'GUEST_ACTIVITY_STATE',
  'GUEST_SMBASE',
  'VMCS_LINK_POINTER',
]);

/** Guest-state fields that are the same in vmcs12 and vmcs02 at every entry and exit of L2. */
export const PLAIN_GUEST_FIELDS: readonly FieldName[] = Object.values(FIELDS)
  .filter(({ name, type, when }) => type === 'guest' && !when && !NOT_PLAIN.has(name))
  .map(({ name }) => name);

/** Guest-state fields that L2's paging uses in one mode, under an EPT. */
export const PDPTES = [
  'GUEST_PDPTE0',
  'GUEST_PDPTE1',
  'GUEST_PDPTE2',
  'GUEST_PDPTE3',
] as const satisfies readonly FieldName[];

/** Fields of the current VMCS that say what a VM exit was. */
export const EXIT_INFORMATION = [
  'EXIT_QUALIFICATION',
  'GUEST_LINEAR_ADDRESS',
  'GUEST_PHYSICAL_ADDRESS',
  'VM_EXIT_INTERRUPTION_INFORMATION',
  'VM_EXIT_INTERRUPTION_ERROR_CODE',
  'IDT_VECTORING_INFORMATION',
  'IDT_VECTORING_ERROR_CODE',
  'VM_EXIT_INSTRUCTION_LENGTH',
  'VM_EXIT_INSTRUCTION_INFORMATION',
] as const satisfies readonly FieldName[];
