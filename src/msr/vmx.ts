import { bit, bits, insert } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';

/*
 * The control words as the capability MSRs and the VMCS have them. Masks are plain 32-bit numbers.
 * Vol. 3, "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields".
 */

/** Pin-based VM-execution controls. */
// biome-ignore format: a table
export const PIN = {
  EXTERNAL_INTERRUPT_EXITING: 1 << 0,  NMI_EXITING: 1 << 3,  VIRTUAL_NMIS: 1 << 5,
  ACTIVATE_PREEMPTION_TIMER: 1 << 6,   PROCESS_POSTED_INTERRUPTS: 1 << 7,
} as const;

/** Primary processor-based VM-execution controls. */
// biome-ignore format: a table
export const PRIMARY = {
  INTERRUPT_WINDOW_EXITING: 1 << 2,   USE_TSC_OFFSETTING: 1 << 3,    HLT_EXITING: 1 << 7,
  INVLPG_EXITING: 1 << 9,             MWAIT_EXITING: 1 << 10,        RDPMC_EXITING: 1 << 11,
  RDTSC_EXITING: 1 << 12,             CR3_LOAD_EXITING: 1 << 15,     CR3_STORE_EXITING: 1 << 16,
  ACTIVATE_TERTIARY_CONTROLS: 1 << 17, CR8_LOAD_EXITING: 1 << 19,    CR8_STORE_EXITING: 1 << 20,
  USE_TPR_SHADOW: 1 << 21,            NMI_WINDOW_EXITING: 1 << 22,   MOV_DR_EXITING: 1 << 23,
  UNCONDITIONAL_IO_EXITING: 1 << 24,  USE_IO_BITMAPS: 1 << 25,       MONITOR_TRAP_FLAG: 1 << 27,
  USE_MSR_BITMAPS: 1 << 28,           MONITOR_EXITING: 1 << 29,      PAUSE_EXITING: 1 << 30,
  ACTIVATE_SECONDARY_CONTROLS: 1 << 31,
} as const;

/** Secondary processor-based VM-execution controls. */
// biome-ignore format: a table
export const SECONDARY = {
  VIRTUALIZE_APIC_ACCESSES: 1 << 0,   ENABLE_EPT: 1 << 1,            DESCRIPTOR_TABLE_EXITING: 1 << 2,
  ENABLE_RDTSCP: 1 << 3,              VIRTUALIZE_X2APIC_MODE: 1 << 4, ENABLE_VPID: 1 << 5,
  WBINVD_EXITING: 1 << 6,             UNRESTRICTED_GUEST: 1 << 7,    APIC_REGISTER_VIRTUALIZATION: 1 << 8,
  VIRTUAL_INTERRUPT_DELIVERY: 1 << 9, PAUSE_LOOP_EXITING: 1 << 10,   RDRAND_EXITING: 1 << 11,
  ENABLE_INVPCID: 1 << 12,            ENABLE_VM_FUNCTIONS: 1 << 13,  VMCS_SHADOWING: 1 << 14,
  ENABLE_ENCLS_EXITING: 1 << 15,      RDSEED_EXITING: 1 << 16,       ENABLE_PML: 1 << 17,
  EPT_VIOLATION_VE: 1 << 18,          CONCEAL_VMX_FROM_PT: 1 << 19,  ENABLE_XSAVES_XRSTORS: 1 << 20,
  MODE_BASED_EXECUTE_CONTROL: 1 << 22, SUB_PAGE_WRITE_PERMISSIONS: 1 << 23, PT_USES_GUEST_PHYSICAL: 1 << 24,
  USE_TSC_SCALING: 1 << 25,           ENABLE_USER_WAIT_AND_PAUSE: 1 << 26, ENABLE_PCONFIG: 1 << 27,
  ENABLE_ENCLV_EXITING: 1 << 28,      VMM_BUS_LOCK_DETECTION: 1 << 30, INSTRUCTION_TIMEOUT: 1 << 31,
} as const;

/** VM-exit controls. */
// biome-ignore format: a table
export const EXIT = {
  SAVE_DEBUG_CONTROLS: 1 << 2,        HOST_ADDRESS_SPACE_SIZE: 1 << 9, LOAD_IA32_PERF_GLOBAL_CTRL: 1 << 12,
  ACKNOWLEDGE_INTERRUPT: 1 << 15,     SAVE_IA32_PAT: 1 << 18,        LOAD_IA32_PAT: 1 << 19,
  SAVE_IA32_EFER: 1 << 20,            LOAD_IA32_EFER: 1 << 21,       SAVE_PREEMPTION_TIMER: 1 << 22,
  CLEAR_IA32_BNDCFGS: 1 << 23,        CONCEAL_VMX_FROM_PT: 1 << 24,  CLEAR_IA32_RTIT_CTL: 1 << 25,
  CLEAR_IA32_LBR_CTL: 1 << 26,        CLEAR_UINV: 1 << 27,           LOAD_CET_STATE: 1 << 28,
  LOAD_PKRS: 1 << 29,                 SAVE_IA32_PERF_GLOBAL_CTRL: 1 << 30, ACTIVATE_SECONDARY_CONTROLS: 1 << 31,
} as const;

/** VM-entry controls. */
// biome-ignore format: a table
export const ENTRY = {
  LOAD_DEBUG_CONTROLS: 1 << 2,        IA_32E_MODE_GUEST: 1 << 9,     ENTRY_TO_SMM: 1 << 10,
  DEACTIVATE_DUAL_MONITOR: 1 << 11,   LOAD_IA32_PERF_GLOBAL_CTRL: 1 << 13, LOAD_IA32_PAT: 1 << 14,
  LOAD_IA32_EFER: 1 << 15,            LOAD_IA32_BNDCFGS: 1 << 16,    CONCEAL_VMX_FROM_PT: 1 << 17,
  LOAD_IA32_RTIT_CTL: 1 << 18,        LOAD_UINV: 1 << 19,            LOAD_CET_STATE: 1 << 20,
  LOAD_IA32_LBR_CTL: 1 << 21,         LOAD_PKRS: 1 << 22,
} as const;

/** Bits that must be 1, and those of them that the TRUE capability MSR lets be 0. Vol. 3, "Reserved Controls and Default Settings". */
// biome-ignore format: a table
export const DEFAULT1 = {
  pin:     { all: 0x0000_0016, relaxed: 0 },
  primary: { all: 0x0401_e172, relaxed: PRIMARY.CR3_LOAD_EXITING | PRIMARY.CR3_STORE_EXITING },
  exit:    { all: 0x0003_6dff, relaxed: EXIT.SAVE_DEBUG_CONTROLS },
  entry:   { all: 0x0000_11ff, relaxed: ENTRY.LOAD_DEBUG_CONTROLS },
} as const;

/** IA32_VMX_BASIC. Vol. 3, "Basic VMX Information". */
// biome-ignore format: a table
export const VMX_BASIC = {
  REVISION: bits(30, 0),  REGION_SIZE: bits(44, 32),  ADDRESSES_32_BIT: bit(48),  DUAL_MONITOR: bit(49),
  MEMORY_TYPE: bits(53, 50),  INS_OUTS_INFORMATION: bit(54),  TRUE_CONTROLS: bit(55),  ANY_ERROR_CODE: bit(56),
} as const;

/** IA32_VMX_MISC. Vol. 3, "Miscellaneous Data". */
// biome-ignore format: a table
export const VMX_MISC = {
  PREEMPTION_TIMER_RATE: bits(4, 0),  STORES_LMA: bit(5),  ACTIVITY_HLT: bit(6),  ACTIVITY_SHUTDOWN: bit(7),
  ACTIVITY_WAIT_FOR_SIPI: bit(8),  CR3_TARGETS: bits(24, 16),  MSR_LIST_MAXIMUM: bits(27, 25),
  VMWRITE_ANY_FIELD: bit(29),  ZERO_LENGTH_INJECTION: bit(30),
} as const;

/** IA32_VMX_EPT_VPID_CAP. Vol. 3, "VPID and EPT Capabilities". */
// biome-ignore format: a table
export const EPT_VPID_CAP = {
  EXECUTE_ONLY: bit(0),  WALK_LENGTH_4: bit(6),  MEMORY_TYPE_UC: bit(8),  MEMORY_TYPE_WB: bit(14),
  PAGE_2M: bit(16),  PAGE_1G: bit(17),  INVEPT: bit(20),  ACCESSED_DIRTY: bit(21),
  INVEPT_SINGLE_CONTEXT: bit(25),  INVEPT_ALL_CONTEXT: bit(26),
  INVVPID: bit(32),  INVVPID_INDIVIDUAL_ADDRESS: bit(40),  INVVPID_SINGLE_CONTEXT: bit(41),
  INVVPID_ALL_CONTEXT: bit(42),  INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS: bit(43),
} as const;

/** IA32_FEATURE_CONTROL. */
export const FEATURE_CONTROL = {
  LOCK: bit(0),
  VMX_IN_SMX: bit(1),
  VMX_OUTSIDE_SMX: bit(2),
} as const;

/** Bits of CR0 fixed to 1 and to 0 in VMX operation. Vol. 3, "VMX-Fixed Bits in CR0". */
export const CR0_FIXED = { one: 0x8000_0021n, zero: bits(63, 32) } as const;

/** CR4.VMXE, fixed to 1; bits that do not exist are fixed to 0. Vol. 3, "VMX-Fixed Bits in CR4". */
export const CR4_ONE = bit(13);

/** What a processor's VMX can do: the optional controls of each word, and the capability MSRs that are no control word. */
export interface VmxShape {
  /** VMCS revision identifier, 31 bits. */
  readonly revision: number;
  readonly pin: number;
  readonly primary: number;
  readonly secondary: number;
  readonly exit: number;
  readonly entry: number;
  /** Whether injected hardware exceptions may carry an error code or not regardless of the vector. */
  readonly anyErrorCode: boolean;
  /** IA32_VMX_MISC, IA32_VMX_EPT_VPID_CAP and IA32_VMX_VMFUNC. */
  readonly misc: bigint;
  readonly eptVpid: bigint;
  readonly vmfunc: bigint;
}

const anyOf = (controls: Readonly<Record<string, number>>, ...without: readonly number[]): number =>
  Object.values(controls).reduce(
    (word, control) => (without.includes(control) ? word : word | control),
    0,
  );

const MISC =
  insert(0n, VMX_MISC.PREEMPTION_TIMER_RATE, 5n) |
  insert(0n, VMX_MISC.CR3_TARGETS, 4n) |
  VMX_MISC.STORES_LMA |
  VMX_MISC.ACTIVITY_HLT |
  VMX_MISC.ACTIVITY_SHUTDOWN |
  VMX_MISC.ACTIVITY_WAIT_FOR_SIPI |
  VMX_MISC.VMWRITE_ANY_FIELD |
  VMX_MISC.ZERO_LENGTH_INJECTION;

/** VMX as a Sapphire-Rapids-like part has it, less what this machine does not model: see docs/vmx.md. */
export const SAPPHIRE_RAPIDS_VMX: VmxShape = {
  revision: 0x12,
  pin: anyOf(PIN),
  primary: anyOf(PRIMARY, PRIMARY.ACTIVATE_TERTIARY_CONTROLS),
  secondary:
    SECONDARY.VIRTUALIZE_APIC_ACCESSES |
    SECONDARY.ENABLE_EPT |
    SECONDARY.DESCRIPTOR_TABLE_EXITING |
    SECONDARY.ENABLE_RDTSCP |
    SECONDARY.VIRTUALIZE_X2APIC_MODE |
    SECONDARY.ENABLE_VPID |
    SECONDARY.WBINVD_EXITING |
    SECONDARY.UNRESTRICTED_GUEST |
    SECONDARY.APIC_REGISTER_VIRTUALIZATION |
    SECONDARY.VIRTUAL_INTERRUPT_DELIVERY |
    SECONDARY.PAUSE_LOOP_EXITING |
    SECONDARY.RDRAND_EXITING |
    SECONDARY.ENABLE_INVPCID |
    SECONDARY.ENABLE_VM_FUNCTIONS |
    SECONDARY.VMCS_SHADOWING |
    SECONDARY.RDSEED_EXITING |
    SECONDARY.ENABLE_PML |
    SECONDARY.ENABLE_XSAVES_XRSTORS |
    SECONDARY.USE_TSC_SCALING,
  exit:
    EXIT.SAVE_DEBUG_CONTROLS |
    EXIT.HOST_ADDRESS_SPACE_SIZE |
    EXIT.LOAD_IA32_PERF_GLOBAL_CTRL |
    EXIT.ACKNOWLEDGE_INTERRUPT |
    EXIT.SAVE_IA32_PAT |
    EXIT.LOAD_IA32_PAT |
    EXIT.SAVE_IA32_EFER |
    EXIT.LOAD_IA32_EFER |
    EXIT.SAVE_PREEMPTION_TIMER |
    EXIT.SAVE_IA32_PERF_GLOBAL_CTRL,
  entry:
    ENTRY.LOAD_DEBUG_CONTROLS |
    ENTRY.IA_32E_MODE_GUEST |
    ENTRY.ENTRY_TO_SMM |
    ENTRY.DEACTIVATE_DUAL_MONITOR |
    ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL |
    ENTRY.LOAD_IA32_PAT |
    ENTRY.LOAD_IA32_EFER,
  anyErrorCode: true,
  misc: MISC,
  eptVpid: Object.values(EPT_VPID_CAP).reduce((a, b) => a | b, 0n),
  vmfunc: bit(0),
};

/** The same for a processor whose architectural LBRs are not hidden: IA32_LBR_CTL is loaded and cleared too. */
export const SAPPHIRE_RAPIDS_WHOLE_VMX: VmxShape = {
  ...SAPPHIRE_RAPIDS_VMX,
  exit: SAPPHIRE_RAPIDS_VMX.exit | EXIT.CLEAR_IA32_LBR_CTL,
  entry: SAPPHIRE_RAPIDS_VMX.entry | ENTRY.LOAD_IA32_LBR_CTL,
};

/** VMX as a Skylake-server-like part has it: no saving of IA32_PERF_GLOBAL_CTRL on VM exit. */
export const SKYLAKE_SERVER_VMX: VmxShape = {
  ...SAPPHIRE_RAPIDS_VMX,
  revision: 0x04,
  exit: SAPPHIRE_RAPIDS_VMX.exit & ~EXIT.SAVE_IA32_PERF_GLOBAL_CTRL,
  anyErrorCode: false,
};

const pair = (allowed0: number, allowed1: number): bigint =>
  (BigInt(allowed1 >>> 0) << 32n) | BigInt(allowed0 >>> 0);

/** Low half: bits that must be 1. High half: bits that may be 1. */
const capability = (word: keyof typeof DEFAULT1, optional: number): bigint =>
  pair(DEFAULT1[word].all, DEFAULT1[word].all | optional);

const trueCapability = (word: keyof typeof DEFAULT1, optional: number): bigint =>
  pair(DEFAULT1[word].all & ~DEFAULT1[word].relaxed, DEFAULT1[word].all | optional);

const BASIC =
  insert(0n, VMX_BASIC.REGION_SIZE, 4096n) |
  insert(0n, VMX_BASIC.MEMORY_TYPE, 6n) |
  VMX_BASIC.INS_OUTS_INFORMATION |
  VMX_BASIC.TRUE_CONTROLS;

/** IA32_FEATURE_CONTROL and the VMX capability MSRs. Vol. 3, appendix "VMX Capability Reporting Facility". */
export function vmxMsrs(shape: VmxShape, cr4: bigint) {
  const { pin, primary, secondary, exit, entry } = shape;
  const has = (word: number, control: number) => (word & control) !== 0;
  const functions = has(secondary, SECONDARY.ENABLE_VM_FUNCTIONS);
  const paging = has(secondary, SECONDARY.ENABLE_EPT) || has(secondary, SECONDARY.ENABLE_VPID);
  const onlyIf = (exists: boolean) => (exists ? {} : { count: 0 });
  const basic =
    BASIC | BigInt(shape.revision) | (shape.anyErrorCode ? VMX_BASIC.ANY_ERROR_CODE : 0n);
  const highestIndex = has(secondary, SECONDARY.USE_TSC_SCALING) ? 0x32n : 0x2en;

  // biome-ignore format: a table
  return defineMsrs({
    IA32_FEATURE_CONTROL:       { address: 0x03a, writable: FEATURE_CONTROL.LOCK | FEATURE_CONTROL.VMX_OUTSIDE_SMX, sdm: 'Enabling and Entering VMX Operation' },
    IA32_VMX_BASIC:             { address: 0x480, writable: 'none', reset: basic,                               sdm: 'Basic VMX Information' },
    IA32_VMX_PINBASED_CTLS:     { address: 0x481, writable: 'none', reset: capability('pin', pin),              sdm: 'Pin-Based VM-Execution Controls' },
    IA32_VMX_PROCBASED_CTLS:    { address: 0x482, writable: 'none', reset: capability('primary', primary),      sdm: 'Primary Processor-Based VM-Execution Controls' },
    IA32_VMX_EXIT_CTLS:         { address: 0x483, writable: 'none', reset: capability('exit', exit),            sdm: 'VM-Exit Controls' },
    IA32_VMX_ENTRY_CTLS:        { address: 0x484, writable: 'none', reset: capability('entry', entry),          sdm: 'VM-Entry Controls' },
    IA32_VMX_MISC:              { address: 0x485, writable: 'none', reset: shape.misc,                          sdm: 'Miscellaneous Data' },
    IA32_VMX_CR0_FIXED0:        { address: 0x486, writable: 'none', reset: CR0_FIXED.one,                       sdm: 'VMX-Fixed Bits in CR0' },
    IA32_VMX_CR0_FIXED1:        { address: 0x487, writable: 'none', reset: bits(63, 0) & ~CR0_FIXED.zero,       sdm: 'VMX-Fixed Bits in CR0' },
    IA32_VMX_CR4_FIXED0:        { address: 0x488, writable: 'none', reset: CR4_ONE,                 sdm: 'VMX-Fixed Bits in CR4' },
    IA32_VMX_CR4_FIXED1:        { address: 0x489, writable: 'none', reset: cr4 | CR4_ONE, sdm: 'VMX-Fixed Bits in CR4' },
    IA32_VMX_VMCS_ENUM:         { address: 0x48a, writable: 'none', reset: highestIndex,                        sdm: 'VMCS Enumeration' },
    IA32_VMX_PROCBASED_CTLS2:   { address: 0x48b, writable: 'none', reset: pair(0, secondary), ...onlyIf(secondary !== 0), sdm: 'Secondary Processor-Based VM-Execution Controls' },
    IA32_VMX_EPT_VPID_CAP:      { address: 0x48c, writable: 'none', reset: shape.eptVpid, ...onlyIf(paging),    sdm: 'VPID and EPT Capabilities' },
    IA32_VMX_TRUE_PINBASED_CTLS:  { address: 0x48d, writable: 'none', reset: trueCapability('pin', pin),         sdm: 'Pin-Based VM-Execution Controls' },
    IA32_VMX_TRUE_PROCBASED_CTLS: { address: 0x48e, writable: 'none', reset: trueCapability('primary', primary), sdm: 'Primary Processor-Based VM-Execution Controls' },
    IA32_VMX_TRUE_EXIT_CTLS:    { address: 0x48f, writable: 'none', reset: trueCapability('exit', exit),        sdm: 'VM-Exit Controls' },
    IA32_VMX_TRUE_ENTRY_CTLS:   { address: 0x490, writable: 'none', reset: trueCapability('entry', entry),      sdm: 'VM-Entry Controls' },
    IA32_VMX_VMFUNC:            { address: 0x491, writable: 'none', reset: shape.vmfunc, ...onlyIf(functions),  sdm: 'VM Functions' },
  });
}
