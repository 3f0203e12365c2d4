import { CounterpointError } from '../bits/error.ts';
import type { HostCpu } from '../host/cpu.ts';
import { ENTRY, EXIT, PIN, PRIMARY, SECONDARY } from '../msr/vmx.ts';
import { FIELDS } from '../vmx/fields.ts';

/** Addresses of the capability MSRs that KVM asks. */
export const CAPABILITY = {
  BASIC: 0x480,
  MISC: 0x485,
  CR4_FIXED1: 0x489,
  SECONDARY: 0x48b,
  EPT_VPID: 0x48c,
  PIN: 0x48d,
  PRIMARY: 0x48e,
  EXIT: 0x48f,
  ENTRY: 0x490,
} as const;

/** What the host's VMX can do, and the control words KVM builds from it (setup_vmcs_config). */
export interface VmcsConfig {
  readonly revision: bigint;
  readonly pin: number;
  readonly primary: number;
  readonly secondary: number;
  readonly exit: number;
  readonly entry: number;
  /** VM exits can save GLOBAL_CTRL to the VMCS; without that an exit MSR-store list does it. */
  readonly savesGlobalCtrl: boolean;
  /** VM entries and exits can load GLOBAL_CTRL. */
  readonly loadsGlobalCtrl: boolean;
  readonly hasPreemptionTimer: boolean;
  /** The preemption timer counts once in 2^rate ticks. */
  readonly preemptionTimerRate: number;
}

const NEEDED = {
  pin: PIN.EXTERNAL_INTERRUPT_EXITING | PIN.NMI_EXITING | PIN.VIRTUAL_NMIS,
  primary:
    PRIMARY.HLT_EXITING |
    PRIMARY.USE_TSC_OFFSETTING |
    PRIMARY.MWAIT_EXITING |
    PRIMARY.MONITOR_EXITING |
    PRIMARY.UNCONDITIONAL_IO_EXITING |
    PRIMARY.CR8_LOAD_EXITING |
    PRIMARY.CR8_STORE_EXITING |
    PRIMARY.RDPMC_EXITING |
    PRIMARY.USE_MSR_BITMAPS |
    PRIMARY.ACTIVATE_SECONDARY_CONTROLS,
  secondary: SECONDARY.ENABLE_EPT | SECONDARY.UNRESTRICTED_GUEST,
  exit:
    EXIT.SAVE_DEBUG_CONTROLS |
    EXIT.HOST_ADDRESS_SPACE_SIZE |
    EXIT.ACKNOWLEDGE_INTERRUPT |
    EXIT.SAVE_IA32_PAT |
    EXIT.LOAD_IA32_PAT |
    EXIT.SAVE_IA32_EFER |
    EXIT.LOAD_IA32_EFER,
  entry: ENTRY.LOAD_DEBUG_CONTROLS | ENTRY.LOAD_IA32_PAT | ENTRY.LOAD_IA32_EFER,
} as const;

const WANTED = {
  pin: PIN.ACTIVATE_PREEMPTION_TIMER,
  primary: 0,
  secondary:
    SECONDARY.ENABLE_VPID |
    SECONDARY.ENABLE_RDTSCP |
    SECONDARY.ENABLE_INVPCID |
    SECONDARY.WBINVD_EXITING,
  exit: EXIT.LOAD_IA32_PERF_GLOBAL_CTRL | EXIT.SAVE_IA32_PERF_GLOBAL_CTRL,
  entry: ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL,
} as const;

/** Reads the capability MSRs. @throws CounterpointError `vmx` if the host lacks a control KVM needs. */
export function vmcsConfig(host: HostCpu): VmcsConfig {
  const word = (name: keyof typeof NEEDED, address: number): number => {
    const capability = host.rdmsr(address);
    const must = Number(capability & 0xffff_ffffn);
    const may = Number(capability >> 32n);
    const missing = NEEDED[name] & ~may;
    if (missing !== 0) {
      throw new CounterpointError(
        'vmx',
        `the host lacks ${name} controls 0x${(missing >>> 0).toString(16)}`,
      );
    }
    return (must | NEEDED[name] | (WANTED[name] & may)) >>> 0;
  };
  const exit = word('exit', CAPABILITY.EXIT);
  const entry = word('entry', CAPABILITY.ENTRY);
  const pin = word('pin', CAPABILITY.PIN);
  return {
    revision: host.rdmsr(CAPABILITY.BASIC) & 0x7fff_ffffn,
    pin,
    primary: word('primary', CAPABILITY.PRIMARY),
    secondary: word('secondary', CAPABILITY.SECONDARY),
    // The GLOBAL_CTRL controls are the vPMU's to set.
    exit: exit & ~(EXIT.LOAD_IA32_PERF_GLOBAL_CTRL | EXIT.SAVE_IA32_PERF_GLOBAL_CTRL),
    entry: entry & ~ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL,
    savesGlobalCtrl: (exit & EXIT.SAVE_IA32_PERF_GLOBAL_CTRL) !== 0,
    loadsGlobalCtrl:
      (exit & EXIT.LOAD_IA32_PERF_GLOBAL_CTRL) !== 0 &&
      (entry & ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL) !== 0,
    hasPreemptionTimer: (pin & PIN.ACTIVATE_PREEMPTION_TIMER) !== 0,
    preemptionTimerRate: Number(host.rdmsr(CAPABILITY.MISC) & 0x1fn),
  };
}

/** Where the host wants to be after a VM exit; TypeScript takes over there, so nothing is ever fetched. */
// biome-ignore format: a table
const HOST_STATE: readonly (readonly [keyof typeof FIELDS, bigint])[] = [
  ['HOST_CR0', 0x8005_0033n],       ['HOST_CR3', 0x1000n],            ['HOST_CR4', 0x0000_2668n],
  ['HOST_CS_SELECTOR', 0x10n],      ['HOST_SS_SELECTOR', 0x18n],      ['HOST_DS_SELECTOR', 0n],
  ['HOST_ES_SELECTOR', 0n],         ['HOST_FS_SELECTOR', 0n],         ['HOST_GS_SELECTOR', 0n],
  ['HOST_TR_SELECTOR', 0x40n],      ['HOST_FS_BASE', 0n],             ['HOST_GS_BASE', 0n],
  ['HOST_TR_BASE', 0xffff_fe00_0000_3000n],  ['HOST_GDTR_BASE', 0xffff_fe00_0000_1000n],
  ['HOST_IDTR_BASE', 0xffff_fe00_0000_0000n], ['HOST_RSP', 0xffff_c900_0000_4000n],
  ['HOST_RIP', 0xffff_ffff_8120_0000n],      ['HOST_IA32_SYSENTER_CS', 0x10n],
  ['HOST_IA32_SYSENTER_ESP', 0n],   ['HOST_IA32_SYSENTER_EIP', 0n],
  ['HOST_IA32_PAT', 0x0007_0406_0007_0406n],  ['HOST_IA32_EFER', 0xd01n],
];

/** Pages and pointers that one vCPU's VMCS refers to. */
export interface VmcsPointers {
  readonly msrBitmap: number;
  readonly eptp: bigint;
  readonly vpid: number;
}

/** Fills the controls and the host state of the current VMCS. */
export function writeControls(host: HostCpu, config: VmcsConfig, pointers: VmcsPointers): void {
  const { pin, primary, secondary, exit, entry } = config;
  // biome-ignore format: a table
  const rows: readonly (readonly [keyof typeof FIELDS, bigint])[] = [
    // The preemption timer is turned on when there is a deadline.
    ['PIN_BASED_CONTROLS', BigInt((pin & ~PIN.ACTIVATE_PREEMPTION_TIMER) >>> 0)],
    ['PRIMARY_CONTROLS', BigInt(primary)],      ['SECONDARY_CONTROLS', BigInt(secondary)],
    ['VM_EXIT_CONTROLS', BigInt(exit >>> 0)],   ['VM_ENTRY_CONTROLS', BigInt(entry >>> 0)],
    ['MSR_BITMAP_ADDRESS', BigInt(pointers.msrBitmap)],  ['EPT_POINTER', pointers.eptp],
    ['TSC_OFFSET', 0n],                         ['CR3_TARGET_COUNT', 0n],
    ['EXCEPTION_BITMAP', BigInt(UNDEFINED_OPCODE)],
    ['PAGE_FAULT_ERROR_CODE_MASK', 0n],         ['PAGE_FAULT_ERROR_CODE_MATCH', 0n],
    ['VM_EXIT_MSR_STORE_COUNT', 0n],            ['VM_EXIT_MSR_LOAD_COUNT', 0n],
    ['VM_ENTRY_MSR_LOAD_COUNT', 0n],            ['VM_ENTRY_INTERRUPTION_INFORMATION', 0n],
  ];
  for (const [name, value] of rows) host.vmwrite(FIELDS[name].encoding, value);
  if ((secondary & SECONDARY.ENABLE_VPID) !== 0) {
    host.vmwrite(FIELDS.VIRTUAL_PROCESSOR_IDENTIFIER.encoding, BigInt(pointers.vpid));
  }
  for (const [name, value] of HOST_STATE) host.vmwrite(FIELDS[name].encoding, value);
}

/** #UD, for the forced-emulation prefix. */
const UNDEFINED_OPCODE = 1 << 6;
