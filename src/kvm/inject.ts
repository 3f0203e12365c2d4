import { isSet } from '../bits/bitfield.ts';
import { PRIMARY } from '../msr/vmx.ts';
import { BLOCKING, RFLAGS } from './control-registers.ts';
import { deliverPayload } from './emulation.ts';
import { writeInjection } from './events.ts';
import { setControl } from './global-ctrl.ts';
import { checkNestedEvents } from './nested/events.ts';
import type { Vcpu } from './vcpu.ts';

const INTERRUPTION_VALID = 0x8000_0000;

/** kvm_check_and_inject_events: one event for the next entry, and a window where another waits for its turn. */
export function injectPending(vcpu: Vcpu): void {
  const { nested } = vcpu;
  if (nested?.guestMode) checkNestedEvents(vcpu, nested);
  const information = Number(vcpu.read('VM_ENTRY_INTERRUPTION_INFORMATION'));
  const busy = (information & INTERRUPTION_VALID) !== 0;
  if (!busy && vcpu.exception) {
    deliverPayload(vcpu, vcpu.exception);
    writeInjection(vcpu, vcpu.exception);
    vcpu.exception = undefined;
  } else if (!busy) injectInterrupt(vcpu);
  const { apic, host } = vcpu;
  const l1 = nested?.guestMode ? nested : undefined;
  const set = (control: number, on: boolean) =>
    setControl(host, 'PRIMARY_CONTROLS', control, on || l1?.primary(control) === true);
  set(PRIMARY.INTERRUPT_WINDOW_EXITING, apic.pendingVector() !== undefined);
  set(PRIMARY.NMI_WINDOW_EXITING, apic.nmiPending());
  if (l1) set(PRIMARY.MONITOR_TRAP_FLAG, l1.exitSoon);
}

function injectInterrupt(vcpu: Vcpu): void {
  const { apic } = vcpu;
  const blocked = Number(vcpu.read('GUEST_INTERRUPTIBILITY_STATE'));
  if (apic.nmiPending() && (blocked & (BLOCKING.NMI | BLOCKING.MOV_SS)) === 0) {
    apic.takeNmi();
    writeInjection(vcpu, { type: 'nmi', vector: 2, errorCode: undefined });
    return;
  }
  const open =
    (blocked & (BLOCKING.STI | BLOCKING.MOV_SS)) === 0 &&
    isSet(vcpu.read('GUEST_RFLAGS'), RFLAGS.IF);
  if (!open || apic.pendingVector() === undefined) return;
  writeInjection(vcpu, { type: 'interrupt', vector: apic.acknowledge(), errorCode: undefined });
}
