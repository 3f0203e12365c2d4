import type { HostCpu } from '../../host/cpu.ts';
import { ENTRY, EXIT, PIN, PRIMARY, SECONDARY, VMX_MISC, type VmxShape } from '../../msr/vmx.ts';
import { CAPABILITY } from '../vmcs.ts';

/** Revision identifier of the VMCSs that KVM keeps for its guests (VMCS12_REVISION). */
const REVISION = 0x11e5_7ed0;

/**
 * Controls that a guest hypervisor may set, where the host has them (nested_vmx_setup_ctls_msrs). What belongs to the
 * TPR shadow and to APIC virtualization is not virtualised.
 */
const OFFERED = {
  pin:
    PIN.EXTERNAL_INTERRUPT_EXITING |
    PIN.NMI_EXITING |
    PIN.VIRTUAL_NMIS |
    PIN.ACTIVATE_PREEMPTION_TIMER,
  primary: ~(PRIMARY.USE_TPR_SHADOW | PRIMARY.ACTIVATE_TERTIARY_CONTROLS),
  secondary:
    SECONDARY.ENABLE_EPT |
    SECONDARY.DESCRIPTOR_TABLE_EXITING |
    SECONDARY.ENABLE_RDTSCP |
    SECONDARY.ENABLE_VPID |
    SECONDARY.WBINVD_EXITING |
    SECONDARY.UNRESTRICTED_GUEST |
    SECONDARY.RDRAND_EXITING |
    SECONDARY.ENABLE_INVPCID |
    SECONDARY.RDSEED_EXITING,
  exit:
    EXIT.SAVE_DEBUG_CONTROLS |
    EXIT.HOST_ADDRESS_SPACE_SIZE |
    EXIT.ACKNOWLEDGE_INTERRUPT |
    EXIT.SAVE_IA32_PAT |
    EXIT.LOAD_IA32_PAT |
    EXIT.SAVE_IA32_EFER |
    EXIT.LOAD_IA32_EFER |
    EXIT.SAVE_PREEMPTION_TIMER,
  entry:
    ENTRY.LOAD_DEBUG_CONTROLS |
    ENTRY.IA_32E_MODE_GUEST |
    ENTRY.LOAD_IA32_PAT |
    ENTRY.LOAD_IA32_EFER,
} as const;
/** Only for a guest whose PMU has the register (nested_vmx_pmu_refresh). */
const WITH_GLOBAL_CTRL = {
  exit: EXIT.LOAD_IA32_PERF_GLOBAL_CTRL | EXIT.SAVE_IA32_PERF_GLOBAL_CTRL,
  entry: ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL,
} as const;

const ANY_ERROR_CODE = 1n << 56n;
const ADDRESS_SIZES = 0x8000_0008;

/** VMX as a guest sees it: the host's capability MSRs, narrowed to what is virtualised. */
export function nestedShape(host: HostCpu, { globalCtrl }: { globalCtrl: boolean }): VmxShape {
  const may = (address: number) => Number(host.rdmsr(address) >> 32n);
  const exit = OFFERED.exit | (globalCtrl ? WITH_GLOBAL_CTRL.exit : 0);
  const entry = OFFERED.entry | (globalCtrl ? WITH_GLOBAL_CTRL.entry : 0);
  return {
    revision: REVISION,
    pin: may(CAPABILITY.PIN) & OFFERED.pin,
    primary: may(CAPABILITY.PRIMARY) & OFFERED.primary,
    secondary: may(CAPABILITY.SECONDARY) & OFFERED.secondary,
    exit: may(CAPABILITY.EXIT) & exit,
    entry: may(CAPABILITY.ENTRY) & entry,
    anyErrorCode: (host.rdmsr(CAPABILITY.BASIC) & ANY_ERROR_CODE) !== 0n,
    misc: host.rdmsr(CAPABILITY.MISC) & ~VMX_MISC.ACTIVITY_SHUTDOWN,
    eptVpid: host.rdmsr(CAPABILITY.EPT_VPID),
    vmfunc: 0n,
  };
}

/** Bits that CR4 may have, and those of a physical address. */
export const nestedFeatures = (host: HostCpu): { cr4: bigint; physicalWidth: number } => ({
  cr4: host.rdmsr(CAPABILITY.CR4_FIXED1),
  physicalWidth: host.cpuid(ADDRESS_SIZES).eax & 0xff,
});
