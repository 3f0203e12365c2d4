import { EXIT_REASON } from '../vmx/exit-reasons.ts';
import { guestWrmsr } from './guest-msr-access.ts';
import type { Vcpu } from './vcpu.ts';

const TSC_DEADLINE = 0x6e0;
const X2APIC_ICR = 0x830;
const LOW = 0xffff_ffffn;

/** Whether the exit was one of the few that need nothing but an answer, and has been answered. */
export function fastpath(vcpu: Vcpu, reason: number): boolean {
  if (reason === EXIT_REASON.PREEMPTION_TIMER) {
    if (!isAllowed(vcpu)) return false;
    vcpu.elapse();
    return true;
  }
  if (reason !== EXIT_REASON.MSR_WRITE) return false;
  const address = Number(vcpu.gpr[1]! & LOW);
  if ((address !== TSC_DEADLINE && address !== X2APIC_ICR) || !isAllowed(vcpu)) return false;
  const value = ((vcpu.gpr[2]! & LOW) << 32n) | (vcpu.gpr[0]! & LOW);
  if (guestWrmsr(vcpu, address, value) === '#GP') vcpu.inject(13, 0);
  else vcpu.skipInstruction();
  return true;
}

/**
 * A counter that counts what retires has to be told of it, and a design that switches at each entry switches; an exit
 * of the guest's own guest may be the guest's.
 */
const isAllowed = ({ vpmu, nested }: Vcpu): boolean =>
  !nested?.guestMode && !vpmu.countsRetired() && vpmu.design.switchPoint !== 'entry';
