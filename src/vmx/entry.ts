import { BLOCKING } from '../cpu/control-registers.ts';
import { STATE } from '../cpu/state/layout.ts';
import { PIN } from '../msr/vmx.ts';
import { CONTROL_RULES } from './entry-checks/controls.ts';
import type { Entry } from './entry-checks/entry.ts';
import { GUEST_RULES } from './entry-checks/guest-state.ts';
import { HOST_RULES } from './entry-checks/host-state.ts';
import { firstBroken, type Rule } from './entry-checks/rule.ts';
import { type Abort, toHost } from './exit.ts';
import { ENTRY_FAILURE, EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import { loadGuestState } from './guest-state.ts';
import { injectionOf } from './injection.ts';
import type { VmxMachine } from './machine.ts';
import { loadMsrs } from './msr-areas.ts';
import { NonRootOperation } from './non-root.ts';
import { VM_INSTRUCTION_ERROR } from './outcome.ts';
import type { PreemptionTimer } from './preemption-timer.ts';

/** A check that a VM entry failed, as a trace names it. */
export interface EntryFailure {
  readonly kind: 'controls' | 'host state' | 'guest state' | 'MSR loading';
  readonly rule: string;
}

/** What became of a VM entry: VMfailValid, back in the host as after a VM exit, or in the guest. */
export type EntryResult =
  | Refusal
  | { readonly failure: EntryFailure; readonly abort: Abort | undefined }
  | { readonly nonRoot: NonRootOperation };

const FIRST_HOST_RULE = CONTROL_RULES.length;
const FIRST_GUEST_RULE = FIRST_HOST_RULE + HOST_RULES.length;

/** The VM-instruction error of a VM entry that its first checks refuse, and the check if it has a name. */
export interface Refusal {
  readonly error: number;
  readonly failure?: EntryFailure;
}

/**
 * Vol. 3, "Basic VM-Entry Checks" and "Checks on VMX Controls and Host-State Area".
 * @param blocking interruptibility state of the host
 */
export function refusalOf(
  entry: Entry,
  kind: 'launch' | 'resume',
  blocking: number,
): Refusal | undefined {
  const { launched } = entry.vmcs;
  if ((blocking & BLOCKING.MOV_SS) !== 0) return { error: VM_INSTRUCTION_ERROR.MOV_SS_BLOCKING };
  if (kind === 'launch' && launched) return { error: VM_INSTRUCTION_ERROR.VMLAUNCH_NOT_CLEAR };
  if (kind === 'resume' && !launched) return { error: VM_INSTRUCTION_ERROR.VMRESUME_NOT_LAUNCHED };
  const control = firstBroken(CONTROL_RULES, entry, 0);
  if (control) {
    const failure: EntryFailure = { kind: 'controls', rule: control.rule };
    return { error: VM_INSTRUCTION_ERROR.BAD_CONTROLS, failure };
  }
  const host = firstBroken(HOST_RULES, entry, FIRST_HOST_RULE);
  if (!host) return undefined;
  const failure: EntryFailure = { kind: 'host state', rule: host.rule };
  return { error: VM_INSTRUCTION_ERROR.BAD_HOST_STATE, failure };
}

/** The rule about the guest's state that a VM entry breaks. Vol. 3, "Checks on the Guest State Area". */
export const brokenGuestRule = (entry: Entry): Rule | undefined =>
  firstBroken(GUEST_RULES, entry, FIRST_GUEST_RULE);

/**
 * VM entry by the current VMCS. Vol. 3, "VM Entries".
 * @param retire called once the entry is certain to leave the instruction, which belongs to the host
 */
export function vmEntry(parts: {
  machine: VmxMachine;
  entry: Entry;
  timer: PreemptionTimer;
  kind: 'launch' | 'resume';
  retire: () => void;
}): EntryResult {
  const { machine, entry, timer, kind, retire } = parts;
  const { vmcs } = entry;
  const { core } = machine;
  const { state } = core;
  const blocking = state.get32(STATE.INTERRUPTIBILITY);

  const refused = refusalOf(entry, kind, blocking);
  if (refused) return refused;

  // Checking and Loading Guest State
  core.stepTrap = false;
  retire();
  core.ports.time.modeChanging();
  const guest = brokenGuestRule(entry);
  if (guest) {
    const failure: EntryFailure = { kind: 'guest state', rule: guest.rule };
    const { qualification = 0n } = guest;
    return {
      failure,
      abort: backToHost(machine, entry, EXIT_REASON.INVALID_STATE, qualification, blocking),
    };
  }
  loadGuestState(machine, vmcs, entry);

  // Loading MSRs
  const area = Number(vmcs.read(FIELDS.VM_ENTRY_MSR_LOAD_ADDRESS));
  const failed = loadMsrs(machine, area, vmcs.read32(FIELDS.VM_ENTRY_MSR_LOAD_COUNT));
  if (failed !== undefined) {
    const rule = `entry ${failed} of the VM-entry MSR-load area`;
    const failure: EntryFailure = { kind: 'MSR loading', rule };
    return {
      failure,
      abort: backToHost(machine, entry, EXIT_REASON.MSR_LOAD_FAIL, BigInt(failed), blocking),
    };
  }

  // Event Injection, Special Features of VM Entry
  vmcs.launched = true;
  if ((entry.pin & PIN.ACTIVATE_PREEMPTION_TIMER) !== 0) {
    timer.load(vmcs.read32(FIELDS.VMX_PREEMPTION_TIMER_VALUE));
  }
  const nonRoot = new NonRootOperation(machine, vmcs, timer);
  nonRoot.begin(injectionOf(entry));
  return { nonRoot };
}

/** Vol. 3, "VM-Entry Failures During or After Loading Guest State". Blocking by NMI is as before the entry. */
function backToHost(
  machine: VmxMachine,
  entry: Entry,
  reason: number,
  qualification: bigint,
  blocking: number,
): Abort | undefined {
  const { vmcs } = entry;
  vmcs.write32(FIELDS.EXIT_REASON, ENTRY_FAILURE | reason);
  vmcs.write(FIELDS.EXIT_QUALIFICATION, qualification);
  return toHost(machine, vmcs, entry, blocking & BLOCKING.NMI);
}
