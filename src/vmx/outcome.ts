/** How a VMX instruction ends. Vol. 3, "Conventions" of the VMX instruction reference. */
export type VmxOutcome = 'VMsucceed' | 'VMfailInvalid' | { readonly VMfailValid: number };

/** VM-instruction error numbers. Vol. 3, "VM-Instruction Error Numbers". */
// biome-ignore format: a table
export const VM_INSTRUCTION_ERROR = {
  VMCALL_IN_ROOT: 1,               VMCLEAR_BAD_ADDRESS: 2,       VMCLEAR_VMXON_POINTER: 3,
  VMLAUNCH_NOT_CLEAR: 4,           VMRESUME_NOT_LAUNCHED: 5,     VMRESUME_AFTER_VMXOFF: 6,
  BAD_CONTROLS: 7,                 BAD_HOST_STATE: 8,            VMPTRLD_BAD_ADDRESS: 9,
  VMPTRLD_VMXON_POINTER: 10,       VMPTRLD_BAD_REVISION: 11,     UNSUPPORTED_FIELD: 12,
  READ_ONLY_FIELD: 13,             VMXON_IN_ROOT: 15,            MOV_SS_BLOCKING: 26,
  BAD_OPERAND_OF_INVALIDATION: 28,
} as const;
