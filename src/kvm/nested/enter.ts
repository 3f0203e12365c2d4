import { ENTRY, PIN, SECONDARY } from '../../msr/vmx.ts';
import { brokenGuestRule, refusalOf } from '../../vmx/entry.ts';
import { EXIT_REASON } from '../../vmx/exit-reasons.ts';
import { FIELDS } from '../../vmx/fields.ts';
import { INTERRUPTION } from '../../vmx/interruption.ts';
import { loadMsrs } from '../../vmx/msr-areas.ts';
import type { VmxOutcome } from '../../vmx/outcome.ts';
import type { Vmcs } from '../../vmx/vmcs.ts';
import { ACTIVITY, BLOCKING } from '../control-registers.ts';
import { loadMsr } from '../guest-msr-access.ts';
import type { Vcpu } from '../vcpu.ts';
import { MSR } from '../vpmu/registers.ts';
import { failEntry, flushTranslations, forgetL2, msrAreaParts } from './leave.ts';
import type { NestedVmx } from './nested-vmx.ts';
import { inheritedState, prepareVmcs02 } from './vmcs02.ts';

/**
 * VMLAUNCH and VMRESUME of L1 (nested_vmx_run). Answers how the instruction fails; nothing once it does not: then the
 * vCPU runs L2, or L1 behind a VM exit that says why the entry failed.
 */
export function enterL2(
  vcpu: Vcpu,
  nested: NestedVmx,
  kind: 'launch' | 'resume',
): VmxOutcome | undefined {
  const vmcs12 = nested.operation.vmcss.enterable;
  if (!vmcs12) return 'VMfailInvalid';
  const blocking = Number(vcpu.read('GUEST_INTERRUPTIBILITY_STATE'));
  const entry = nested.entryOf(vmcs12);
  const refusal = refusalOf(entry, kind, blocking);
  if (refusal) return nested.operation.fail(refusal.error);
  vcpu.vm.observer?.nestedEntry?.({
    vcpu: vcpu.id,
    rip: vcpu.rip,
    vmcs: vmcs12.address,
    nestedRip: vmcs12.read(FIELDS.GUEST_RIP),
    injection: vmcs12.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION),
    guestCr3: vmcs12.read(FIELDS.GUEST_CR3),
    eptp: nested.usesEpt ? vmcs12.read(FIELDS.EPT_POINTER) : undefined,
  });
  // The instruction is L1's: it counts under L1's enables.
  vcpu.countRetired(false);

  const inherited = inheritedState(vcpu);
  const nmiBlocking = blocking & BLOCKING.NMI;
  const broken = brokenGuestRule(entry);
  if (broken) {
    const { qualification = 0n } = broken;
    failEntry(vcpu, nested, inherited, {
      reason: EXIT_REASON.INVALID_STATE,
      qualification,
      nmiBlocking,
    });
    return undefined;
  }
  switchToL2(vcpu, nested);
  prepareVmcs02(vcpu, nested, inherited);
  if (nested.entry(ENTRY.LOAD_DEBUG_CONTROLS)) {
    loadMsr(vcpu, MSR.DEBUGCTL, vmcs12.read(FIELDS.GUEST_IA32_DEBUGCTL));
  }
  if (nested.entry(ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL)) {
    loadMsr(vcpu, MSR.GLOBAL_CTRL, vmcs12.read(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL));
  }
  const failed = loadMsrs(
    msrAreaParts(vcpu, nested),
    Number(vmcs12.read(FIELDS.VM_ENTRY_MSR_LOAD_ADDRESS)),
    vmcs12.read32(FIELDS.VM_ENTRY_MSR_LOAD_COUNT),
  );
  if (failed !== undefined) {
    const reached = inheritedState(vcpu);
    switchToL1(vcpu, nested);
    const qualification = BigInt(failed);
    failEntry(vcpu, nested, reached, {
      reason: EXIT_REASON.MSR_LOAD_FAIL,
      qualification,
      nmiBlocking,
    });
    return undefined;
  }
  vmcs12.launched = true;
  vcpu.statistics.nestedEntries += 1;
  nested.state.launching = kind === 'launch';
  begin(vcpu, nested, vmcs12);
  return undefined;
}

function switchToL2(vcpu: Vcpu, nested: NestedVmx): void {
  nested.state.guestMode = true;
  vcpu.vmcs.load(vcpu.host);
  flushTranslations(vcpu, nested);
  const { state, vmcs12, ept02 } = nested;
  const vpid = nested.secondary(SECONDARY.ENABLE_VPID)
    ? vmcs12.read32(FIELDS.VIRTUAL_PROCESSOR_IDENTIFIER)
    : 0;
  // Of several guests of L1 the latest is remembered.
  const other = nested.usesEpt && ept02.follow(vmcs12.read(FIELDS.EPT_POINTER));
  if (other || vpid !== state.vpid) forgetL2(vcpu, nested);
  state.vpid = vpid;
}

/** The processor has refused vmcs02 for what the checks of vmcs12 cannot know: L1's entry has failed. */
export function refuseL2(vcpu: Vcpu, nested: NestedVmx, reason: number): void {
  const qualification = vcpu.read('EXIT_QUALIFICATION');
  const reached = inheritedState(vcpu);
  const { state, vmcs02, vmcs12 } = nested;
  // A failed entry leaves the launch states as they were.
  vmcs02.entryFailed();
  if (state.runPending && state.launching) vmcs12.launched = false;
  state.runPending = false;
  state.timerDeadline = Number.POSITIVE_INFINITY;
  switchToL1(vcpu, nested);
  const blocking = Number(vcpu.read('GUEST_INTERRUPTIBILITY_STATE'));
  failEntry(vcpu, nested, reached, {
    reason,
    qualification,
    nmiBlocking: blocking & BLOCKING.NMI,
  });
}

/** Makes vmcs01 the current VMCS again. */
function switchToL1(vcpu: Vcpu, nested: NestedVmx): void {
  nested.state.guestMode = false;
  vcpu.vmcs.load(vcpu.host);
  flushTranslations(vcpu, nested);
}

/** What the entry starts beside the guest: the preemption timer, sleep. */
function begin(vcpu: Vcpu, nested: NestedVmx, vmcs12: Vmcs): void {
  const { state } = nested;
  const injects = vmcs12.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION) >= INTERRUPTION.VALID;
  state.trapPending = false;
  state.timerDeadline = nested.pin(PIN.ACTIVATE_PREEMPTION_TIMER)
    ? nested.timerDeadlineFrom(vmcs12.read32(FIELDS.VMX_PREEMPTION_TIMER_VALUE))
    : Number.POSITIVE_INFINITY;
  const activity = vmcs12.read32(FIELDS.GUEST_ACTIVITY_STATE);
  const sleeps = !injects && activity !== ACTIVITY.ACTIVE;
  // What sleeps is not entered: it is KVM that waits for what ends it.
  state.runPending = !sleeps;
  if (!sleeps) return;
  if (activity === ACTIVITY.HLT) vcpu.halt();
  else vcpu.mpState = 'INIT_RECEIVED';
}
