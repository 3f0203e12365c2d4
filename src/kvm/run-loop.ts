import { CounterpointError } from '../bits/error.ts';
import { hex } from '../bits/hex.ts';
import { ENTRY_FAILURE, EXIT_REASON, exitReasonName } from '../vmx/exit-reasons.ts';
import { reinject } from './events.ts';
import { EXIT_HANDLERS, type Next } from './exit-handlers.ts';
import { fastpath } from './fastpath.ts';
import { injectPending } from './inject.ts';
import { refuseL2 } from './nested/enter.ts';
import { checkNestedEvents } from './nested/events.ts';
import { l1Wants } from './nested/l1-wants.ts';
import { reflect } from './nested/leave.ts';
import { armPreemptionTimer } from './preemption-timer.ts';
import { handleRequests, isRequested } from './requests.ts';
import { acceptSignals } from './signals.ts';
import { switchingPmu } from './statistics.ts';
import type { Vcpu } from './vcpu.ts';

/** Why a vCPU gave its CPU up. */
export type VcpuStop =
  /** The time it was given is over; it may be in the middle of guest code. */
  | 'budget'
  /** The host wants the CPU for another task. */
  | 'preempted'
  /** HLT and nothing pending, or it waits for SIPI. */
  | 'halted'
  | 'shutdown'
  /** User space asked the VM to stop. */
  | 'stopped';

const NMI_INTERRUPTION_TYPE = 2;

/** vcpu_run: until `until` ticks of its CPU's time. The vCPU must be scheduled in. */
export function run(vcpu: Vcpu, until: bigint): VcpuStop {
  const { host } = vcpu;
  for (;;) {
    if (!vcpu.inGuest) {
      const stop = beforeEntry(vcpu, until);
      if (stop) return stop;
    }
    if (host.run(Math.max(1, Number(until - host.now()))) === 'budget') return 'budget';
    vcpu.inGuest = false;
    const stop = afterExit(vcpu);
    if (stop) return stop;
  }
}

function beforeEntry(vcpu: Vcpu, until: bigint): VcpuStop | undefined {
  if (vcpu.vm.stopped) return 'stopped';
  if (vcpu.mpState !== 'RUNNABLE') {
    if (!vcpu.wakes) return 'halted';
    // Asleep, so that the exit it may come to says so.
    if (vcpu.nested?.guestMode && vcpu.mpState === 'HALTED') checkNestedEvents(vcpu, vcpu.nested);
    if (vcpu.mpState === 'HALTED') vcpu.mpState = 'RUNNABLE';
  }
  acceptSignals(vcpu);
  // Linux asks again whether it may run; INIT has stopped it.
  if (vcpu.mpState !== 'RUNNABLE') return 'halted';
  if (vcpu.host.needResched) return 'preempted';
  if (vcpu.host.now() >= until) return 'budget';
  return enter(vcpu);
}

/** vcpu_enter_guest, up to the VM entry. */
function enter(vcpu: Vcpu): VcpuStop | undefined {
  const { host, handover } = vcpu;
  for (;;) {
    handleRequests(vcpu);
    vcpu.elapse();
    injectPending(vcpu);
    if (vcpu.nested?.state.aborted) return 'shutdown';
    host.interruptsOff();
    handover.load();
    if (!isRequested(vcpu.requests)) break;
    // Something came up on the way (an NMI, say): not this time.
    handover.putAfterExit();
    host.interruptsOn();
  }
  vmEntry(vcpu);
  return undefined;
}

/** The VM entry itself; interrupts are off. */
function vmEntry(vcpu: Vcpu): void {
  vcpu.vpmu.sync();
  switchingPmu(vcpu.statistics, vcpu.host, () => {
    const { globalCtrl, switchedMsrs } = vcpu.vmcs;
    globalCtrl.program(vcpu.host, vcpu.vpmu.globalCtrlSwitch());
    switchedMsrs.program(vcpu.host, vcpu.vpmu.switchedMsrs());
  });
  armPreemptionTimer(vcpu);
  vcpu.statistics.entries += 1;
  vcpu.exitTimes.entered(vcpu.host);
  vcpu.vm.observer?.entry?.({
    vcpu: vcpu.id,
    rip: vcpu.rip,
    interruption: Number(vcpu.read('VM_ENTRY_INTERRUPTION_INFORMATION')),
    errorCode: Number(vcpu.read('VM_ENTRY_EXCEPTION_ERROR_CODE')),
  });
  vcpu.vmcs.enter(vcpu.host);
  vcpu.inGuest = true;
}

/** What follows a VM exit, up to the decision what to do next. Interrupts are off. */
function afterExit(vcpu: Vcpu): VcpuStop | undefined {
  const { host, handover } = vcpu;
  const reason = Number(vcpu.read('EXIT_REASON'));
  record(vcpu, reason);
  vcpu.vpmu.exited(switchingPmu(vcpu.statistics, host, () => vcpu.vmcs.globalCtrl.saved(host)));
  host.spend('vm-transition');
  const { nested } = vcpu;
  if ((reason & ENTRY_FAILURE) !== 0) {
    if (!nested?.guestMode) failedEntry(vcpu, reason);
    handover.putAfterExit();
    host.interruptsOn();
    refuseL2(vcpu, nested, reason & 0xffff);
    return undefined;
  }
  const interruption = Number(vcpu.read('VM_EXIT_INTERRUPTION_INFORMATION'));
  const isNmi =
    reason === EXIT_REASON.EXCEPTION_NMI && ((interruption >> 8) & 7) === NMI_INTERRUPTION_TYPE;
  if (isNmi) host.handleNmi();
  reinject(vcpu);
  if (nested) nested.state.runPending = false;
  if (fastpath(vcpu, reason)) {
    vcpu.statistics.fastpath += 1;
    host.spend('fastpath-handling');
    if (mayReenter(vcpu)) {
      vmEntry(vcpu);
      return undefined;
    }
    handover.putAfterExit();
    host.interruptsOn();
    return undefined;
  }
  handover.putAfterExit();
  if (reason === EXIT_REASON.EXTERNAL_INTERRUPT) host.handleInterrupt(interruption & 0xff);
  host.interruptsOn();
  if (isNmi || reason === EXIT_REASON.EXTERNAL_INTERRUPT) return undefined;
  host.spend('exit-handling');
  if (nested?.guestMode && l1Wants(vcpu, nested, reason)) {
    reflect(vcpu, nested, reason);
    return undefined;
  }
  return apply(vcpu, EXIT_HANDLERS[reason as keyof typeof EXIT_HANDLERS](vcpu));
}

function apply(vcpu: Vcpu, next: Next): VcpuStop | undefined {
  if (next === 'enter') return undefined;
  if (next === 'advance') {
    vcpu.skipInstruction();
    return undefined;
  }
  if ('inject' in next) {
    vcpu.inject(next.inject, next.errorCode, next.payload);
    return undefined;
  }
  return next.leave;
}

/** After a fastpath exit: straight back, unless something has to be looked at first. */
function mayReenter({ requests, host, apic, exception }: Vcpu): boolean {
  if (exception || isRequested(requests) || host.needResched) return false;
  return !apic.nmiPending() && apic.pendingVector() === undefined;
}

function record(vcpu: Vcpu, reason: number): void {
  const basic = reason & 0xffff;
  const { exits } = vcpu.statistics;
  exits.set(basic, (exits.get(basic) ?? 0) + 1);
  vcpu.exitTimes.exited(basic, vcpu.host);
  const { observer } = vcpu.vm;
  if (!observer) return;
  const seen = {
    vcpu: vcpu.id,
    reason,
    rip: vcpu.rip,
    qualification: vcpu.read('EXIT_QUALIFICATION'),
    vectoring: Number(vcpu.read('IDT_VECTORING_INFORMATION')),
    interruption: Number(vcpu.read('VM_EXIT_INTERRUPTION_INFORMATION')),
    errorCode: Number(vcpu.read('VM_EXIT_INTERRUPTION_ERROR_CODE')),
  };
  observer.exit?.(seen);
  if (vcpu.nested?.guestMode) observer.nestedExit?.(seen);
}

function failedEntry(vcpu: Vcpu, reason: number): never {
  throw new CounterpointError(
    'vm-entry',
    `vCPU ${vcpu.id}: VM entry failed with ${exitReasonName(reason)} at RIP ${hex(vcpu.rip)}, ` +
      `qualification ${hex(vcpu.read('EXIT_QUALIFICATION'))}`,
  );
}
