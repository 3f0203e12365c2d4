import { ENTRY, EXIT, PIN, PRIMARY, SECONDARY, type VmxShape } from '../msr/vmx.ts';

/** Bits of a field; natural-width fields have 64 on processors with Intel 64. */
export type FieldWidth = 16 | 32 | 64 | 'natural';
export type FieldType = 'control' | 'information' | 'guest' | 'host';

interface FieldRow {
  readonly encoding: number;
  readonly width: FieldWidth;
  readonly type: FieldType;
  /** The control without whose 1-setting the field does not exist. */
  readonly when?: Readonly<
    Partial<Record<'pin' | 'primary' | 'secondary' | 'exit' | 'entry', number>>
  >;
}

/** Every VMCS field that this machine can have. Vol. 3, appendix "Field Encoding in VMCS". */
// biome-ignore format: a table
const ROWS = {
  VIRTUAL_PROCESSOR_IDENTIFIER:          { encoding: 0x0000, width: 16, type: 'control', when: { secondary: SECONDARY.ENABLE_VPID } },
  POSTED_INTERRUPT_NOTIFICATION_VECTOR:  { encoding: 0x0002, width: 16, type: 'control', when: { pin: PIN.PROCESS_POSTED_INTERRUPTS } },
  EPTP_INDEX:                            { encoding: 0x0004, width: 16, type: 'control', when: { secondary: SECONDARY.EPT_VIOLATION_VE } },
  GUEST_ES_SELECTOR:                     { encoding: 0x0800, width: 16, type: 'guest' },
  GUEST_CS_SELECTOR:                     { encoding: 0x0802, width: 16, type: 'guest' },
  GUEST_SS_SELECTOR:                     { encoding: 0x0804, width: 16, type: 'guest' },
  GUEST_DS_SELECTOR:                     { encoding: 0x0806, width: 16, type: 'guest' },
  GUEST_FS_SELECTOR:                     { encoding: 0x0808, width: 16, type: 'guest' },
  GUEST_GS_SELECTOR:                     { encoding: 0x080a, width: 16, type: 'guest' },
  GUEST_LDTR_SELECTOR:                   { encoding: 0x080c, width: 16, type: 'guest' },
  GUEST_TR_SELECTOR:                     { encoding: 0x080e, width: 16, type: 'guest' },
  GUEST_INTERRUPT_STATUS:                { encoding: 0x0810, width: 16, type: 'guest', when: { secondary: SECONDARY.VIRTUAL_INTERRUPT_DELIVERY } },
  PML_INDEX:                             { encoding: 0x0812, width: 16, type: 'guest', when: { secondary: SECONDARY.ENABLE_PML } },
  HOST_ES_SELECTOR:                      { encoding: 0x0c00, width: 16, type: 'host' },
  HOST_CS_SELECTOR:                      { encoding: 0x0c02, width: 16, type: 'host' },
  HOST_SS_SELECTOR:                      { encoding: 0x0c04, width: 16, type: 'host' },
  HOST_DS_SELECTOR:                      { encoding: 0x0c06, width: 16, type: 'host' },
  HOST_FS_SELECTOR:                      { encoding: 0x0c08, width: 16, type: 'host' },
  HOST_GS_SELECTOR:                      { encoding: 0x0c0a, width: 16, type: 'host' },
  HOST_TR_SELECTOR:                      { encoding: 0x0c0c, width: 16, type: 'host' },

  IO_BITMAP_A_ADDRESS:                   { encoding: 0x2000, width: 64, type: 'control' },
  IO_BITMAP_B_ADDRESS:                   { encoding: 0x2002, width: 64, type: 'control' },
  MSR_BITMAP_ADDRESS:                    { encoding: 0x2004, width: 64, type: 'control', when: { primary: PRIMARY.USE_MSR_BITMAPS } },
  VM_EXIT_MSR_STORE_ADDRESS:             { encoding: 0x2006, width: 64, type: 'control' },
  VM_EXIT_MSR_LOAD_ADDRESS:              { encoding: 0x2008, width: 64, type: 'control' },
  VM_ENTRY_MSR_LOAD_ADDRESS:             { encoding: 0x200a, width: 64, type: 'control' },
  EXECUTIVE_VMCS_POINTER:                { encoding: 0x200c, width: 64, type: 'control' },
  PML_ADDRESS:                           { encoding: 0x200e, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_PML } },
  TSC_OFFSET:                            { encoding: 0x2010, width: 64, type: 'control' },
  VIRTUAL_APIC_ADDRESS:                  { encoding: 0x2012, width: 64, type: 'control', when: { primary: PRIMARY.USE_TPR_SHADOW } },
  APIC_ACCESS_ADDRESS:                   { encoding: 0x2014, width: 64, type: 'control', when: { secondary: SECONDARY.VIRTUALIZE_APIC_ACCESSES } },
  POSTED_INTERRUPT_DESCRIPTOR_ADDRESS:   { encoding: 0x2016, width: 64, type: 'control', when: { pin: PIN.PROCESS_POSTED_INTERRUPTS } },
  VM_FUNCTION_CONTROLS:                  { encoding: 0x2018, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_VM_FUNCTIONS } },
  EPT_POINTER:                           { encoding: 0x201a, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_EPT } },
  EOI_EXIT_BITMAP_0:                     { encoding: 0x201c, width: 64, type: 'control', when: { secondary: SECONDARY.VIRTUAL_INTERRUPT_DELIVERY } },
  EOI_EXIT_BITMAP_1:                     { encoding: 0x201e, width: 64, type: 'control', when: { secondary: SECONDARY.VIRTUAL_INTERRUPT_DELIVERY } },
  EOI_EXIT_BITMAP_2:                     { encoding: 0x2020, width: 64, type: 'control', when: { secondary: SECONDARY.VIRTUAL_INTERRUPT_DELIVERY } },
  EOI_EXIT_BITMAP_3:                     { encoding: 0x2022, width: 64, type: 'control', when: { secondary: SECONDARY.VIRTUAL_INTERRUPT_DELIVERY } },
  EPTP_LIST_ADDRESS:                     { encoding: 0x2024, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_VM_FUNCTIONS } },
  VMREAD_BITMAP_ADDRESS:                 { encoding: 0x2026, width: 64, type: 'control', when: { secondary: SECONDARY.VMCS_SHADOWING } },
  VMWRITE_BITMAP_ADDRESS:                { encoding: 0x2028, width: 64, type: 'control', when: { secondary: SECONDARY.VMCS_SHADOWING } },
  VIRTUALIZATION_EXCEPTION_ADDRESS:      { encoding: 0x202a, width: 64, type: 'control', when: { secondary: SECONDARY.EPT_VIOLATION_VE } },
  XSS_EXITING_BITMAP:                    { encoding: 0x202c, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_XSAVES_XRSTORS } },
  ENCLS_EXITING_BITMAP:                  { encoding: 0x202e, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_ENCLS_EXITING } },
  SUB_PAGE_PERMISSION_TABLE_POINTER:     { encoding: 0x2030, width: 64, type: 'control', when: { secondary: SECONDARY.SUB_PAGE_WRITE_PERMISSIONS } },
  TSC_MULTIPLIER:                        { encoding: 0x2032, width: 64, type: 'control', when: { secondary: SECONDARY.USE_TSC_SCALING } },
  ENCLV_EXITING_BITMAP:                  { encoding: 0x2036, width: 64, type: 'control', when: { secondary: SECONDARY.ENABLE_ENCLV_EXITING } },

  GUEST_PHYSICAL_ADDRESS:                { encoding: 0x2400, width: 64, type: 'information', when: { secondary: SECONDARY.ENABLE_EPT } },
  VMCS_LINK_POINTER:                     { encoding: 0x2800, width: 64, type: 'guest' },
  GUEST_IA32_DEBUGCTL:                   { encoding: 0x2802, width: 64, type: 'guest' },
  GUEST_IA32_PAT:                        { encoding: 0x2804, width: 64, type: 'guest' },
  GUEST_IA32_EFER:                       { encoding: 0x2806, width: 64, type: 'guest' },
  GUEST_IA32_PERF_GLOBAL_CTRL:           { encoding: 0x2808, width: 64, type: 'guest', when: { entry: ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL } },
  GUEST_PDPTE0:                          { encoding: 0x280a, width: 64, type: 'guest', when: { secondary: SECONDARY.ENABLE_EPT } },
  GUEST_PDPTE1:                          { encoding: 0x280c, width: 64, type: 'guest', when: { secondary: SECONDARY.ENABLE_EPT } },
  GUEST_PDPTE2:                          { encoding: 0x280e, width: 64, type: 'guest', when: { secondary: SECONDARY.ENABLE_EPT } },
  GUEST_PDPTE3:                          { encoding: 0x2810, width: 64, type: 'guest', when: { secondary: SECONDARY.ENABLE_EPT } },
  GUEST_IA32_BNDCFGS:                    { encoding: 0x2812, width: 64, type: 'guest', when: { entry: ENTRY.LOAD_IA32_BNDCFGS } },
  GUEST_IA32_RTIT_CTL:                   { encoding: 0x2814, width: 64, type: 'guest', when: { entry: ENTRY.LOAD_IA32_RTIT_CTL } },
  GUEST_IA32_LBR_CTL:                    { encoding: 0x2816, width: 64, type: 'guest', when: { entry: ENTRY.LOAD_IA32_LBR_CTL } },
  GUEST_IA32_PKRS:                       { encoding: 0x2818, width: 64, type: 'guest', when: { entry: ENTRY.LOAD_PKRS } },
  HOST_IA32_PAT:                         { encoding: 0x2c00, width: 64, type: 'host' },
  HOST_IA32_EFER:                        { encoding: 0x2c02, width: 64, type: 'host' },
  HOST_IA32_PERF_GLOBAL_CTRL:            { encoding: 0x2c04, width: 64, type: 'host', when: { exit: EXIT.LOAD_IA32_PERF_GLOBAL_CTRL } },
  HOST_IA32_PKRS:                        { encoding: 0x2c06, width: 64, type: 'host', when: { exit: EXIT.LOAD_PKRS } },

  PIN_BASED_CONTROLS:                    { encoding: 0x4000, width: 32, type: 'control' },
  PRIMARY_CONTROLS:                      { encoding: 0x4002, width: 32, type: 'control' },
  EXCEPTION_BITMAP:                      { encoding: 0x4004, width: 32, type: 'control' },
  PAGE_FAULT_ERROR_CODE_MASK:            { encoding: 0x4006, width: 32, type: 'control' },
  PAGE_FAULT_ERROR_CODE_MATCH:           { encoding: 0x4008, width: 32, type: 'control' },
  CR3_TARGET_COUNT:                      { encoding: 0x400a, width: 32, type: 'control' },
  VM_EXIT_CONTROLS:                      { encoding: 0x400c, width: 32, type: 'control' },
  VM_EXIT_MSR_STORE_COUNT:               { encoding: 0x400e, width: 32, type: 'control' },
  VM_EXIT_MSR_LOAD_COUNT:                { encoding: 0x4010, width: 32, type: 'control' },
  VM_ENTRY_CONTROLS:                     { encoding: 0x4012, width: 32, type: 'control' },
  VM_ENTRY_MSR_LOAD_COUNT:               { encoding: 0x4014, width: 32, type: 'control' },
  VM_ENTRY_INTERRUPTION_INFORMATION:     { encoding: 0x4016, width: 32, type: 'control' },
  VM_ENTRY_EXCEPTION_ERROR_CODE:         { encoding: 0x4018, width: 32, type: 'control' },
  VM_ENTRY_INSTRUCTION_LENGTH:           { encoding: 0x401a, width: 32, type: 'control' },
  TPR_THRESHOLD:                         { encoding: 0x401c, width: 32, type: 'control', when: { primary: PRIMARY.USE_TPR_SHADOW } },
  SECONDARY_CONTROLS:                    { encoding: 0x401e, width: 32, type: 'control', when: { primary: PRIMARY.ACTIVATE_SECONDARY_CONTROLS } },
  PLE_GAP:                               { encoding: 0x4020, width: 32, type: 'control', when: { secondary: SECONDARY.PAUSE_LOOP_EXITING } },
  PLE_WINDOW:                            { encoding: 0x4022, width: 32, type: 'control', when: { secondary: SECONDARY.PAUSE_LOOP_EXITING } },
  INSTRUCTION_TIMEOUT:                   { encoding: 0x4024, width: 32, type: 'control', when: { secondary: SECONDARY.INSTRUCTION_TIMEOUT } },

  VM_INSTRUCTION_ERROR:                  { encoding: 0x4400, width: 32, type: 'information' },
  EXIT_REASON:                           { encoding: 0x4402, width: 32, type: 'information' },
  VM_EXIT_INTERRUPTION_INFORMATION:      { encoding: 0x4404, width: 32, type: 'information' },
  VM_EXIT_INTERRUPTION_ERROR_CODE:       { encoding: 0x4406, width: 32, type: 'information' },
  IDT_VECTORING_INFORMATION:             { encoding: 0x4408, width: 32, type: 'information' },
  IDT_VECTORING_ERROR_CODE:              { encoding: 0x440a, width: 32, type: 'information' },
  VM_EXIT_INSTRUCTION_LENGTH:            { encoding: 0x440c, width: 32, type: 'information' },
  VM_EXIT_INSTRUCTION_INFORMATION:       { encoding: 0x440e, width: 32, type: 'information' },

  GUEST_ES_LIMIT:                        { encoding: 0x4800, width: 32, type: 'guest' },
  GUEST_CS_LIMIT:                        { encoding: 0x4802, width: 32, type: 'guest' },
  GUEST_SS_LIMIT:                        { encoding: 0x4804, width: 32, type: 'guest' },
  GUEST_DS_LIMIT:                        { encoding: 0x4806, width: 32, type: 'guest' },
  GUEST_FS_LIMIT:                        { encoding: 0x4808, width: 32, type: 'guest' },
  GUEST_GS_LIMIT:                        { encoding: 0x480a, width: 32, type: 'guest' },
  GUEST_LDTR_LIMIT:                      { encoding: 0x480c, width: 32, type: 'guest' },
  GUEST_TR_LIMIT:                        { encoding: 0x480e, width: 32, type: 'guest' },
  GUEST_GDTR_LIMIT:                      { encoding: 0x4810, width: 32, type: 'guest' },
  GUEST_IDTR_LIMIT:                      { encoding: 0x4812, width: 32, type: 'guest' },
  GUEST_ES_ACCESS_RIGHTS:                { encoding: 0x4814, width: 32, type: 'guest' },
  GUEST_CS_ACCESS_RIGHTS:                { encoding: 0x4816, width: 32, type: 'guest' },
  GUEST_SS_ACCESS_RIGHTS:                { encoding: 0x4818, width: 32, type: 'guest' },
  GUEST_DS_ACCESS_RIGHTS:                { encoding: 0x481a, width: 32, type: 'guest' },
  GUEST_FS_ACCESS_RIGHTS:                { encoding: 0x481c, width: 32, type: 'guest' },
  GUEST_GS_ACCESS_RIGHTS:                { encoding: 0x481e, width: 32, type: 'guest' },
  GUEST_LDTR_ACCESS_RIGHTS:              { encoding: 0x4820, width: 32, type: 'guest' },
  GUEST_TR_ACCESS_RIGHTS:                { encoding: 0x4822, width: 32, type: 'guest' },
  GUEST_INTERRUPTIBILITY_STATE:          { encoding: 0x4824, width: 32, type: 'guest' },
  GUEST_ACTIVITY_STATE:                  { encoding: 0x4826, width: 32, type: 'guest' },
  GUEST_SMBASE:                          { encoding: 0x4828, width: 32, type: 'guest' },
  GUEST_IA32_SYSENTER_CS:                { encoding: 0x482a, width: 32, type: 'guest' },
  VMX_PREEMPTION_TIMER_VALUE:            { encoding: 0x482e, width: 32, type: 'guest', when: { pin: PIN.ACTIVATE_PREEMPTION_TIMER } },
  HOST_IA32_SYSENTER_CS:                 { encoding: 0x4c00, width: 32, type: 'host' },

  CR0_GUEST_HOST_MASK:                   { encoding: 0x6000, width: 'natural', type: 'control' },
  CR4_GUEST_HOST_MASK:                   { encoding: 0x6002, width: 'natural', type: 'control' },
  CR0_READ_SHADOW:                       { encoding: 0x6004, width: 'natural', type: 'control' },
  CR4_READ_SHADOW:                       { encoding: 0x6006, width: 'natural', type: 'control' },
  CR3_TARGET_VALUE_0:                    { encoding: 0x6008, width: 'natural', type: 'control' },
  CR3_TARGET_VALUE_1:                    { encoding: 0x600a, width: 'natural', type: 'control' },
  CR3_TARGET_VALUE_2:                    { encoding: 0x600c, width: 'natural', type: 'control' },
  CR3_TARGET_VALUE_3:                    { encoding: 0x600e, width: 'natural', type: 'control' },
  EXIT_QUALIFICATION:                    { encoding: 0x6400, width: 'natural', type: 'information' },
  IO_RCX:                                { encoding: 0x6402, width: 'natural', type: 'information' },
  IO_RSI:                                { encoding: 0x6404, width: 'natural', type: 'information' },
  IO_RDI:                                { encoding: 0x6406, width: 'natural', type: 'information' },
  IO_RIP:                                { encoding: 0x6408, width: 'natural', type: 'information' },
  GUEST_LINEAR_ADDRESS:                  { encoding: 0x640a, width: 'natural', type: 'information' },

  GUEST_CR0:                             { encoding: 0x6800, width: 'natural', type: 'guest' },
  GUEST_CR3:                             { encoding: 0x6802, width: 'natural', type: 'guest' },
  GUEST_CR4:                             { encoding: 0x6804, width: 'natural', type: 'guest' },
  GUEST_ES_BASE:                         { encoding: 0x6806, width: 'natural', type: 'guest' },
  GUEST_CS_BASE:                         { encoding: 0x6808, width: 'natural', type: 'guest' },
  GUEST_SS_BASE:                         { encoding: 0x680a, width: 'natural', type: 'guest' },
  GUEST_DS_BASE:                         { encoding: 0x680c, width: 'natural', type: 'guest' },
  GUEST_FS_BASE:                         { encoding: 0x680e, width: 'natural', type: 'guest' },
  GUEST_GS_BASE:                         { encoding: 0x6810, width: 'natural', type: 'guest' },
  GUEST_LDTR_BASE:                       { encoding: 0x6812, width: 'natural', type: 'guest' },
  GUEST_TR_BASE:                         { encoding: 0x6814, width: 'natural', type: 'guest' },
  GUEST_GDTR_BASE:                       { encoding: 0x6816, width: 'natural', type: 'guest' },
  GUEST_IDTR_BASE:                       { encoding: 0x6818, width: 'natural', type: 'guest' },
  GUEST_DR7:                             { encoding: 0x681a, width: 'natural', type: 'guest' },
  GUEST_RSP:                             { encoding: 0x681c, width: 'natural', type: 'guest' },
  GUEST_RIP:                             { encoding: 0x681e, width: 'natural', type: 'guest' },
  GUEST_RFLAGS:                          { encoding: 0x6820, width: 'natural', type: 'guest' },
  GUEST_PENDING_DEBUG_EXCEPTIONS:        { encoding: 0x6822, width: 'natural', type: 'guest' },
  GUEST_IA32_SYSENTER_ESP:               { encoding: 0x6824, width: 'natural', type: 'guest' },
  GUEST_IA32_SYSENTER_EIP:               { encoding: 0x6826, width: 'natural', type: 'guest' },
  GUEST_IA32_S_CET:                      { encoding: 0x6828, width: 'natural', type: 'guest', when: { entry: ENTRY.LOAD_CET_STATE } },
  GUEST_SSP:                             { encoding: 0x682a, width: 'natural', type: 'guest', when: { entry: ENTRY.LOAD_CET_STATE } },
  GUEST_IA32_INTERRUPT_SSP_TABLE:        { encoding: 0x682c, width: 'natural', type: 'guest', when: { entry: ENTRY.LOAD_CET_STATE } },
  HOST_CR0:                              { encoding: 0x6c00, width: 'natural', type: 'host' },
  HOST_CR3:                              { encoding: 0x6c02, width: 'natural', type: 'host' },
  HOST_CR4:                              { encoding: 0x6c04, width: 'natural', type: 'host' },
  HOST_FS_BASE:                          { encoding: 0x6c06, width: 'natural', type: 'host' },
  HOST_GS_BASE:                          { encoding: 0x6c08, width: 'natural', type: 'host' },
  HOST_TR_BASE:                          { encoding: 0x6c0a, width: 'natural', type: 'host' },
  HOST_GDTR_BASE:                        { encoding: 0x6c0c, width: 'natural', type: 'host' },
  HOST_IDTR_BASE:                        { encoding: 0x6c0e, width: 'natural', type: 'host' },
  HOST_IA32_SYSENTER_ESP:                { encoding: 0x6c10, width: 'natural', type: 'host' },
  HOST_IA32_SYSENTER_EIP:                { encoding: 0x6c12, width: 'natural', type: 'host' },
  HOST_RSP:                              { encoding: 0x6c14, width: 'natural', type: 'host' },
  HOST_RIP:                              { encoding: 0x6c16, width: 'natural', type: 'host' },
  HOST_IA32_S_CET:                       { encoding: 0x6c18, width: 'natural', type: 'host', when: { exit: EXIT.LOAD_CET_STATE } },
  HOST_SSP:                              { encoding: 0x6c1a, width: 'natural', type: 'host', when: { exit: EXIT.LOAD_CET_STATE } },
  HOST_IA32_INTERRUPT_SSP_TABLE:         { encoding: 0x6c1c, width: 'natural', type: 'host', when: { exit: EXIT.LOAD_CET_STATE } },
} as const satisfies Readonly<Record<string, FieldRow>>;

export type FieldName = keyof typeof ROWS;

/** A VMCS field. */
export interface Field extends FieldRow {
  readonly name: FieldName;
  /** Its place among all fields, and in the VMCS region. */
  readonly slot: number;
  readonly mask: bigint;
  /** The low half of the mask. */
  readonly low: number;
}

const WIDTH_MASK = {
  16: 0xffffn,
  32: 0xffff_ffffn,
  64: 0xffff_ffff_ffff_ffffn,
  natural: 0xffff_ffff_ffff_ffffn,
} as const;

/** The fields by name. */
export const FIELDS = Object.fromEntries(
  (Object.entries(ROWS) as [FieldName, FieldRow][]).map(([name, row], slot) => [
    name,
    {
      ...row,
      name,
      slot,
      mask: WIDTH_MASK[row.width],
      low: row.width === 16 ? 0xffff : 0xffff_ffff,
    },
  ]),
) as Readonly<Record<FieldName, Field>>;

export const FIELD_COUNT = Object.keys(ROWS).length;

/** Bit 0 of an encoding: the high half of a 64-bit field. */
export const HIGH_ACCESS = 1;

/** The fields that a processor of this shape has, by encoding with full access. */
export function fieldsOf(shape: VmxShape): ReadonlyMap<number, Field> {
  const words = { ...shape };
  const exists = ({ when }: Field) =>
    !when ||
    Object.entries(when).every(
      ([word, control]) => (words[word as keyof typeof when] & control) !== 0,
    );
  return new Map(
    Object.values(FIELDS)
      .filter(exists)
      .map((field) => [field.encoding, field]),
  );
}
