import { isSet } from '../../bits/bitfield.ts';
import { EXIT, PIN, PRIMARY } from '../../msr/vmx.ts';
import { EXIT_REASON } from '../../vmx/exit-reasons.ts';
import { FIELDS } from '../../vmx/fields.ts';
import { INTERRUPTION } from '../../vmx/interruption.ts';
import { BLOCKING, RFLAGS } from '../control-registers.ts';
import type { InjectedEvent } from '../events.ts';
import type { Vcpu } from '../vcpu.ts';
import { leaveFor } from './leave.ts';
import type { NestedVmx } from './nested-vmx.ts';

const PAGE_FAULT = 14;
const DEBUG = 1;
const NMI_INFORMATION = 0x8000_0202;
const HARDWARE_EXCEPTION = 0x300;

/**
 * Before L2 is entered: whatever of KVM's making L1 wants to leave L2 for does, in the order in which the processor
 * would look at it (vmx_check_nested_events).
 */
export function checkNestedEvents(vcpu: Vcpu, nested: NestedVmx): void {
  nested.exitAtOnce = false;
  nested.exitSoon = false;
  const { state } = nested;
  const injection = Number(vcpu.read('VM_ENTRY_INTERRUPTION_INFORMATION'));
  // The event under way comes first, and so does what the entry that L1 asked for brings with it.
  if (state.runPending || injection >= INTERRUPTION.VALID) {
    nested.exitAtOnce = isAwaited(vcpu, nested);
    return;
  }
  const { exception } = vcpu;
  if (exception) {
    if (wantsException(nested, exception)) {
      vcpu.exception = undefined;
      leaveFor(vcpu, nested, exceptionExit(exception));
    } else nested.exitAtOnce = isAwaited(vcpu, nested);
    return;
  }
  if (state.trapPending) {
    state.trapPending = false;
    leaveFor(vcpu, nested, { reason: EXIT_REASON.MONITOR_TRAP_FLAG });
    return;
  }
  if (nested.timerExpired) {
    leaveFor(vcpu, nested, { reason: EXIT_REASON.PREEMPTION_TIMER });
    return;
  }
  const blocked = Number(vcpu.read('GUEST_INTERRUPTIBILITY_STATE'));
  if (!takesNmi(vcpu, nested, blocked)) leavesForInterrupt(vcpu, nested, blocked);
}

/** Whether something waits that L1 wants to leave L2 for. */
function isAwaited({ apic }: Vcpu, nested: NestedVmx): boolean {
  return (
    (apic.nmiPending() && nested.pin(PIN.NMI_EXITING)) ||
    (apic.pendingVector() !== undefined && nested.pin(PIN.EXTERNAL_INTERRUPT_EXITING))
  );
}

/** Whether an NMI comes before any interrupt: in an exit to L1, or into L2, behind which the interrupt then waits. */
function takesNmi(vcpu: Vcpu, nested: NestedVmx, blocked: number): boolean {
  const { apic } = vcpu;
  if (!apic.nmiPending()) return false;
  const exits = nested.pin(PIN.NMI_EXITING);
  const held = (blocked & BLOCKING.NMI) !== 0 && !nested.pin(PIN.VIRTUAL_NMIS);
  if (held) return false;
  if ((blocked & BLOCKING.MOV_SS) !== 0) {
    nested.exitSoon = exits;
    return false;
  }
  const windowIsOpen = (blocked & (BLOCKING.NMI | BLOCKING.STI)) === 0;
  if (windowIsOpen && nested.primary(PRIMARY.NMI_WINDOW_EXITING)) {
    leaveFor(vcpu, nested, { reason: EXIT_REASON.NMI_WINDOW });
    return true;
  }
  if (!exits) {
    nested.exitAtOnce = isAwaited(vcpu, nested);
    return true;
  }
  apic.takeNmi();
  leaveFor(vcpu, nested, { reason: EXIT_REASON.EXCEPTION_NMI, interruption: NMI_INFORMATION });
  return true;
}

function leavesForInterrupt(vcpu: Vcpu, nested: NestedVmx, blocked: number): void {
  const { apic } = vcpu;
  if (apic.pendingVector() === undefined) return;
  const shadowed = (blocked & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0;
  const exits = nested.pin(PIN.EXTERNAL_INTERRUPT_EXITING);
  if (shadowed) {
    nested.exitSoon ||= exits;
    return;
  }
  const open = isSet(vcpu.read('GUEST_RFLAGS'), RFLAGS.IF);
  if (open && nested.primary(PRIMARY.INTERRUPT_WINDOW_EXITING)) {
    leaveFor(vcpu, nested, { reason: EXIT_REASON.INTERRUPT_WINDOW });
    return;
  }
  if (!exits) return;
  const acknowledges = nested.exit(EXIT.ACKNOWLEDGE_INTERRUPT);
  const interruption = acknowledges ? (INTERRUPTION.VALID | apic.acknowledge()) >>> 0 : 0;
  leaveFor(vcpu, nested, { reason: EXIT_REASON.EXTERNAL_INTERRUPT, interruption });
}

/** Whether L1 intercepts an exception that KVM makes L2 take. */
function wantsException({ vmcs12 }: NestedVmx, { vector, errorCode }: InjectedEvent): boolean {
  const wanted = ((vmcs12.read32(FIELDS.EXCEPTION_BITMAP) >>> vector) & 1) === 1;
  if (vector !== PAGE_FAULT) return wanted;
  const mask = vmcs12.read32(FIELDS.PAGE_FAULT_ERROR_CODE_MASK);
  const match = vmcs12.read32(FIELDS.PAGE_FAULT_ERROR_CODE_MATCH);
  return (((errorCode ?? 0) & mask) >>> 0 === match) === wanted;
}

function exceptionExit({ vector, errorCode, payload = 0n }: InjectedEvent) {
  const code = errorCode === undefined ? 0 : INTERRUPTION.ERROR_CODE;
  return {
    reason: EXIT_REASON.EXCEPTION_NMI,
    qualification: payload,
    interruption: (INTERRUPTION.VALID | HARDWARE_EXCEPTION | code | vector) >>> 0,
    interruptionError: errorCode ?? 0,
    resumes: vector !== DEBUG,
  };
}
