import { isSet } from '../../bits/bitfield.ts';
import { ENTRY, EXIT, PIN, SECONDARY, VMX_MISC } from '../../msr/vmx.ts';
import { VMX_ABORT } from '../../vmx/exit.ts';
import { ENTRY_FAILURE, EXIT_REASON } from '../../vmx/exit-reasons.ts';
import { FIELDS, type FieldName } from '../../vmx/fields.ts';
import { usesPdptes } from '../../vmx/guest-state.ts';
import { INTERRUPTION } from '../../vmx/interruption.ts';
import { loadMsrs, type MsrAreaParts, storeMsrs } from '../../vmx/msr-areas.ts';
import { BLOCKING, EFER } from '../control-registers.ts';
import { loadMsr, readMsr } from '../guest-msr-access.ts';
import type { Vcpu } from '../vcpu.ts';
import { EXIT_INFORMATION, PDPTES, PLAIN_GUEST_FIELDS } from './guest-fields.ts';
import { loadL1 } from './host-state.ts';
import type { NestedVmx } from './nested-vmx.ts';
import { cr0OfL2, type InheritedState, inheritedState } from './vmcs02.ts';

/** A VM exit that KVM makes of its own for L1, where none of the processor's says it. */
export interface NestedExit {
  readonly reason: number;
  readonly qualification?: bigint;
  /** Interruption information, and the error code that goes with it. */
  readonly interruption?: number;
  readonly interruptionError?: number;
  /** RFLAGS.RF as it is saved: a fault of the instruction at RIP. */
  readonly resumes?: boolean;
}

/** The lists of MSRs work through the same door as L1's own accesses. */
export const msrAreaParts = (vcpu: Vcpu, { memory, shape }: NestedVmx): MsrAreaParts => ({
  memory,
  shape,
  msr: {
    rdmsr: (address) => readMsr(vcpu, address),
    wrmsr: (address, value) => loadMsr(vcpu, address, value),
  },
});

/**
 * What both sides have translated is forgotten at an entry and an exit without a VPID of L1's for L2
 * (nested_vmx_transition_tlb_flush). Vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches".
 */
export function flushTranslations(vcpu: Vcpu, nested: NestedVmx): void {
  if (nested.secondary(SECONDARY.ENABLE_VPID)) return;
  vcpu.forgetTranslations();
}

/** What L2 has translated, by whatever tables, is forgotten. */
export function forgetL2(vcpu: Vcpu, { vpid02, ept02 }: NestedVmx): void {
  const { vmx } = vcpu.host;
  vmx.invvpid(SINGLE_CONTEXT, BigInt(vpid02), 0n);
  if (!ept02.forget()) return;
  vmx.invept(SINGLE_CONTEXT, ept02.eptp);
}
/** Type of an INVEPT or INVVPID. */
export const SINGLE_CONTEXT = 1;

/** The VM exit that the processor has reported is L1's (nested_vmx_reflect_vmexit). */
export function reflect(
  vcpu: Vcpu,
  nested: NestedVmx,
  reason: number,
  qualification = vcpu.read('EXIT_QUALIFICATION'),
): void {
  const { vmcs12 } = nested;
  for (const name of EXIT_INFORMATION) vmcs12.write(FIELDS[name], vcpu.read(name));
  vmcs12.write(FIELDS.EXIT_QUALIFICATION, qualification);
  leaveL2(vcpu, nested, { reason });
}

/** A VM exit from L2 to L1 that is KVM's making. */
export function leaveFor(vcpu: Vcpu, nested: NestedVmx, exit: NestedExit): void {
  const { vmcs12 } = nested;
  for (const name of EXIT_INFORMATION) vmcs12.write(FIELDS[name], 0n);
  vmcs12.write(FIELDS.EXIT_QUALIFICATION, exit.qualification ?? 0n);
  vmcs12.write32(FIELDS.VM_EXIT_INTERRUPTION_INFORMATION, exit.interruption ?? 0);
  vmcs12.write32(FIELDS.VM_EXIT_INTERRUPTION_ERROR_CODE, exit.interruptionError ?? 0);
  leaveL2(vcpu, nested, exit);
  if (exit.resumes) {
    vmcs12.write(FIELDS.GUEST_RFLAGS, vmcs12.read(FIELDS.GUEST_RFLAGS) | RF);
  }
}
const RF = 1n << 16n;

/** nested_vmx_vmexit, once the exit's own fields are written. */
function leaveL2(vcpu: Vcpu, nested: NestedVmx, { reason, interruption }: NestedExit): void {
  const { vmcs12, state } = nested;
  vmcs12.write32(FIELDS.EXIT_REASON, reason);
  const injection = vmcs12.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
  vmcs12.write32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION, injection & ~INTERRUPTION.VALID);
  saveL2(vcpu, nested);
  const information = interruption ?? vmcs12.read32(FIELDS.VM_EXIT_INTERRUPTION_INFORMATION);
  const byNmi = reason === EXIT_REASON.EXCEPTION_NMI && (information & 0x7ff) === NMI;
  const blocked = Number(vcpu.read('GUEST_INTERRUPTIBILITY_STATE')) & BLOCKING.NMI;
  const physical = nested.pin(PIN.VIRTUAL_NMIS) ? 0 : blocked;

  const inherited = inheritedState(vcpu);
  state.guestMode = false;
  state.runPending = false;
  nested.exitAtOnce = false;
  nested.exitSoon = false;
  state.timerDeadline = Number.POSITIVE_INFINITY;
  vcpu.mpState = 'RUNNABLE';
  vcpu.statistics.nestedExits += 1;
  vcpu.vm.observer?.nestedReflection?.({
    vcpu: vcpu.id,
    reason,
    qualification: vmcs12.read(FIELDS.EXIT_QUALIFICATION),
    vectoring: vmcs12.read32(FIELDS.IDT_VECTORING_INFORMATION),
    interruption: vmcs12.read32(FIELDS.VM_EXIT_INTERRUPTION_INFORMATION),
    errorCode: vmcs12.read32(FIELDS.VM_EXIT_INTERRUPTION_ERROR_CODE),
  });
  const stored = storeMsrs(
    msrAreaParts(vcpu, nested),
    Number(vmcs12.read(FIELDS.VM_EXIT_MSR_STORE_ADDRESS)),
    vmcs12.read32(FIELDS.VM_EXIT_MSR_STORE_COUNT),
  );
  vcpu.vmcs.load(vcpu.host);
  flushTranslations(vcpu, nested);
  const longMode = isSet(inherited.efer, EFER.LMA);
  if (stored !== undefined) abort(nested, VMX_ABORT.SAVING_MSRS);
  else if (longMode && !nested.exit(EXIT.HOST_ADDRESS_SPACE_SIZE)) {
    abort(nested, VMX_ABORT.HOST_IS_32_BIT);
  } else toL1(vcpu, nested, inherited, byNmi ? BLOCKING.NMI : physical);
}
const NMI = 0x202;

/** Vol. 3, "VM-Entry Failures During or After Loading Guest State"; vmcs01 is current. */
export function failEntry(
  vcpu: Vcpu,
  nested: NestedVmx,
  inherited: InheritedState,
  failure: { reason: number; qualification: bigint; nmiBlocking: number },
): void {
  const { vmcs12 } = nested;
  vmcs12.write32(FIELDS.EXIT_REASON, ENTRY_FAILURE | failure.reason);
  vmcs12.write(FIELDS.EXIT_QUALIFICATION, failure.qualification);
  toL1(vcpu, nested, inherited, failure.nmiBlocking);
}

/** Loads L1's state and its MSRs. */
function toL1(vcpu: Vcpu, nested: NestedVmx, inherited: InheritedState, blocking: number): void {
  const { vmcs12 } = nested;
  if (!loadL1(vcpu, nested, inherited, blocking)) {
    abort(nested, VMX_ABORT.HOST_PDPTES);
    return;
  }
  const failed = loadMsrs(
    msrAreaParts(vcpu, nested),
    Number(vmcs12.read(FIELDS.VM_EXIT_MSR_LOAD_ADDRESS)),
    vmcs12.read32(FIELDS.VM_EXIT_MSR_LOAD_COUNT),
  );
  if (failed !== undefined) abort(nested, VMX_ABORT.LOADING_MSRS);
}

/** Vol. 3, "VMX Aborts". KVM ends the guest, as after a triple fault. */
function abort(nested: NestedVmx, code: number): void {
  nested.vmcs12.abort(nested.memory, code);
  nested.state.aborted = true;
}

/** Saves L2 from vmcs02, which is current, to vmcs12. Vol. 3, "Saving Guest State". */
function saveL2(vcpu: Vcpu, nested: NestedVmx): void {
  const { vmcs12, shape } = nested;
  for (const name of PLAIN_GUEST_FIELDS) vmcs12.write(FIELDS[name], vcpu.read(name));
  vmcs12.write(FIELDS.GUEST_CR0, cr0OfL2(vcpu, nested));
  const asleep = vcpu.mpState === 'HALTED';
  const active = asleep ? 1n : vcpu.mpState === 'INIT_RECEIVED' ? 3n : 0n;
  vmcs12.write(FIELDS.GUEST_ACTIVITY_STATE, active);
  const save = (control: number, ...names: FieldName[]) => {
    if (!nested.exit(control)) return;
    for (const name of names) vmcs12.write(FIELDS[name], vcpu.read(name));
  };
  save(EXIT.SAVE_DEBUG_CONTROLS, 'GUEST_DR7', 'GUEST_IA32_DEBUGCTL');
  save(EXIT.SAVE_IA32_PAT, 'GUEST_IA32_PAT');
  save(EXIT.SAVE_IA32_EFER, 'GUEST_IA32_EFER');
  if (nested.exit(EXIT.SAVE_IA32_PERF_GLOBAL_CTRL)) {
    vmcs12.write(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL, vcpu.vpmu.pmu.globalCtrl);
  }
  if (nested.exit(EXIT.SAVE_PREEMPTION_TIMER)) {
    vmcs12.write32(FIELDS.VMX_PREEMPTION_TIMER_VALUE, nested.timerValue);
  }
  const longMode = isSet(vcpu.read('GUEST_IA32_EFER'), EFER.LMA);
  const cr4 = vmcs12.read32(FIELDS.GUEST_CR4);
  if (nested.usesEpt && usesPdptes(vmcs12.read32(FIELDS.GUEST_CR0), cr4, longMode)) {
    for (const name of PDPTES) vmcs12.write(FIELDS[name], vcpu.read(name));
  }
  if (!isSet(shape.misc, VMX_MISC.STORES_LMA)) return;
  const other = vmcs12.read32(FIELDS.VM_ENTRY_CONTROLS) & ~ENTRY.IA_32E_MODE_GUEST;
  vmcs12.write32(FIELDS.VM_ENTRY_CONTROLS, other | (longMode ? ENTRY.IA_32E_MODE_GUEST : 0));
}
