import { PIN } from '../msr/vmx.ts';
import { setControl } from './global-ctrl.ts';
import type { Vcpu } from './vcpu.ts';

/** Arms the VMX-preemption timer of the current VMCS for the vCPU's next deadline, where the host has one. */
export function armPreemptionTimer(vcpu: Vcpu): void {
  const { config } = vcpu.vm;
  if (!config.hasPreemptionTimer) return;
  const deadline = vcpu.nested?.exitAtOnce ? 0 : vcpu.nextDeadline();
  const armed = Number.isFinite(deadline);
  setControl(vcpu.host, 'PIN_BASED_CONTROLS', PIN.ACTIVATE_PREEMPTION_TIMER, armed);
  if (!armed) return;
  const unit = 2 ** config.preemptionTimerRate;
  const now = Number(vcpu.host.now());
  const counts = Math.ceil(deadline / unit) - Math.floor(now / unit);
  const value = Math.min(0xffff_ffff, Math.max(0, counts));
  vcpu.write('VMX_PREEMPTION_TIMER_VALUE', BigInt(value));
}
