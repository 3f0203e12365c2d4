import { ACTIVITY, BLOCKING, EFER, RFLAGS } from '../cpu/control-registers.ts';
import { EVENT_TYPE, type Event } from '../cpu/event.ts';
import { STATE } from '../cpu/state/layout.ts';
import { isFaultClass } from '../cpu/system/exceptions.ts';
import type { VmExit } from '../cpu/vm-exit.ts';
import { EXIT, PIN } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import { saveGuestState } from './guest-state.ts';
import { loadHostState } from './host-state.ts';
import { eventOf, INTERRUPTION, informationOf, isSoftware, typeOf } from './interruption.ts';
import type { VmxMachine } from './machine.ts';
import { loadMsrs, storeMsrs } from './msr-areas.ts';
import type { PreemptionTimer } from './preemption-timer.ts';
import type { Vmcs } from './vmcs.ts';

/** VMX-abort indicators. Vol. 3, "VMX Aborts". */
export const VMX_ABORT = {
  SAVING_MSRS: 1,
  HOST_PDPTES: 2,
  LOADING_MSRS: 4,
  HOST_IS_32_BIT: 6,
} as const;

const RF = Number(RFLAGS.RF);
const LMA = Number(EFER.LMA);
const DEBUG = 1;
const DOUBLE_FAULT = 8;
const VALID = INTERRUPTION.VALID;

/** Exits that may arise while an event is delivered, so that IDT-vectoring information names that event. */
const WITHIN_DELIVERY: ReadonlySet<number> = new Set([
  EXIT_REASON.EXCEPTION_NMI,
  EXIT_REASON.TASK_SWITCH,
  EXIT_REASON.APIC_ACCESS,
  EXIT_REASON.EPT_VIOLATION,
  EXIT_REASON.EPT_MISCONFIG,
  EXIT_REASON.PML_FULL,
]);

/** Exits after which pending debug exceptions are still pending. Vol. 3, "Saving Non-Register State". */
const KEEP_PENDING_DEBUG: ReadonlySet<number> = new Set([
  EXIT_REASON.INIT_SIGNAL,
  EXIT_REASON.TPR_BELOW_THRESHOLD,
  EXIT_REASON.EOI_INDUCED,
  EXIT_REASON.APIC_WRITE,
  EXIT_REASON.MONITOR_TRAP_FLAG,
]);

/** Exits between instructions, which leave RFLAGS.RF as it is. */
const BETWEEN_INSTRUCTIONS: ReadonlySet<number> = new Set([
  EXIT_REASON.EXTERNAL_INTERRUPT,
  EXIT_REASON.TRIPLE_FAULT,
  EXIT_REASON.INIT_SIGNAL,
  EXIT_REASON.SIPI_SIGNAL,
  EXIT_REASON.INTERRUPT_WINDOW,
  EXIT_REASON.NMI_WINDOW,
  EXIT_REASON.TASK_SWITCH,
  EXIT_REASON.MONITOR_TRAP_FLAG,
  EXIT_REASON.TPR_BELOW_THRESHOLD,
  EXIT_REASON.EOI_INDUCED,
  EXIT_REASON.APIC_WRITE,
  EXIT_REASON.PREEMPTION_TIMER,
]);

/** Exits on a fault of an instruction that is tried again: RF is saved as 1. */
const RETRIED: ReadonlySet<number> = new Set([
  EXIT_REASON.APIC_ACCESS,
  EXIT_REASON.EPT_VIOLATION,
  EXIT_REASON.EPT_MISCONFIG,
  EXIT_REASON.PML_FULL,
]);

/** The event that IDT-vectoring information reports, if any. Vol. 3, "Information for VM Exits During Event Delivery". */
function vectoringOf(exit: VmExit, delivering: Event | undefined): Event | undefined {
  if (!delivering || !WITHIN_DELIVERY.has(exit.reason)) return undefined;
  const exception = exit.reason === EXIT_REASON.EXCEPTION_NMI;
  const doubleFault = exception && (exit.interruption & INTERRUPTION.VECTOR) === DOUBLE_FAULT;
  return doubleFault ? undefined : delivering;
}

/** Vol. 3, "Recording VM-Exit Information and Updating VM-Entry Control Fields". */
function record(
  machine: VmxMachine,
  vmcs: Vmcs,
  controls: Controls,
  exit: VmExit,
  vectoring: Event | undefined,
): void {
  let interruption = exit.interruption;
  if (
    exit.reason === EXIT_REASON.EXTERNAL_INTERRUPT &&
    (controls.exit & EXIT.ACKNOWLEDGE_INTERRUPT) !== 0
  ) {
    const vector = machine.core.ports.interrupts.acknowledge();
    interruption = informationOf({ vector, type: EVENT_TYPE.EXTERNAL });
  }
  const software = vectoring && isSoftware(vectoring.type) ? vectoring.length : undefined;
  // An exit that arises in delivering an event has not unblocked anything.
  if (vectoring) interruption &= ~INTERRUPTION.NMI_UNBLOCKING;

  vmcs.write32(FIELDS.EXIT_REASON, exit.reason);
  vmcs.write(FIELDS.EXIT_QUALIFICATION, exit.qualification);
  vmcs.write(FIELDS.GUEST_LINEAR_ADDRESS, exit.guestLinear);
  vmcs.write(FIELDS.GUEST_PHYSICAL_ADDRESS, exit.guestPhysical);
  vmcs.write32(FIELDS.VM_EXIT_INTERRUPTION_INFORMATION, interruption >>> 0);
  vmcs.write32(FIELDS.VM_EXIT_INTERRUPTION_ERROR_CODE, exit.interruptionError);
  vmcs.write32(FIELDS.IDT_VECTORING_INFORMATION, vectoring ? informationOf(vectoring) : 0);
  vmcs.write32(FIELDS.IDT_VECTORING_ERROR_CODE, vectoring?.code ?? 0);
  vmcs.write32(FIELDS.VM_EXIT_INSTRUCTION_LENGTH, software ?? exit.instructionLength);
  vmcs.write32(FIELDS.VM_EXIT_INSTRUCTION_INFORMATION, exit.instructionInformation);
  const injection = vmcs.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
  vmcs.write32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION, (injection & ~VALID) >>> 0);
}

/** Whether delivering `event` pushes RFLAGS with RF set: a fault of the instruction at RIP, which is tried again. */
const pushesRf = ({ type, vector }: Event): boolean =>
  type === EVENT_TYPE.HARDWARE_EXCEPTION && isFaultClass(vector);

/** RFLAGS.RF as it is saved. Vol. 3, "Saving RIP, RSP, RFLAGS, and SSP". */
function resumeFlag(exit: VmExit, delivering: Event | undefined, current: boolean): boolean {
  if (exit.reason === EXIT_REASON.EXCEPTION_NMI) {
    return current || pushesRf(eventOf(exit.interruption, 0, 0));
  }
  if (delivering) return current || pushesRf(delivering);
  if (RETRIED.has(exit.reason)) return true;
  return BETWEEN_INSTRUCTIONS.has(exit.reason) && current;
}

/** What of a VM exit is left to do when it has ended in a VMX abort. */
export type Abort = (typeof VMX_ABORT)[keyof typeof VMX_ABORT];

/**
 * A VM exit, from non-root operation to the first instruction of the host.
 * Answers the VMX-abort indicator if it did not get there. Vol. 3, "VM Exits".
 */
export function vmExit(parts: {
  machine: VmxMachine;
  vmcs: Vmcs;
  controls: Controls;
  timer: PreemptionTimer;
  exit: VmExit;
  delivering: Event | undefined;
  /** Called once the guest is saved: from there on the processor is in root operation. */
  leaveNonRoot: () => void;
}): Abort | undefined {
  const { machine, vmcs, controls, timer, exit, delivering } = parts;
  const { state } = machine.core;
  const vectoring = vectoringOf(exit, delivering);
  record(machine, vmcs, controls, exit, vectoring);

  const blocking = state.get32(STATE.INTERRUPTIBILITY);
  saveGuestState(machine, vmcs, controls);
  const rflags = vmcs.read32(FIELDS.GUEST_RFLAGS);
  const current = (rflags & RF) !== 0 || machine.core.repeating;
  const rf = resumeFlag(exit, delivering, current);
  if (rf !== ((rflags & RF) !== 0)) vmcs.write(FIELDS.GUEST_RFLAGS, BigInt(rflags ^ RF));
  const debugException =
    exit.reason === EXIT_REASON.EXCEPTION_NMI &&
    (exit.interruption & INTERRUPTION.VECTOR) === DEBUG;
  const heldBack = (blocking & BLOCKING.MOV_SS) !== 0 && !debugException;
  if (!KEEP_PENDING_DEBUG.has(exit.reason) && !heldBack) {
    vmcs.write(FIELDS.GUEST_PENDING_DEBUG_EXCEPTIONS, 0n);
  }
  if ((controls.exit & EXIT.SAVE_PREEMPTION_TIMER) !== 0) {
    vmcs.write32(FIELDS.VMX_PREEMPTION_TIMER_VALUE, timer.value);
  }
  timer.stop();
  parts.leaveNonRoot();

  const store = vmcs.read32(FIELDS.VM_EXIT_MSR_STORE_COUNT);
  if (storeMsrs(machine, Number(vmcs.read(FIELDS.VM_EXIT_MSR_STORE_ADDRESS)), store)) {
    return VMX_ABORT.SAVING_MSRS;
  }
  const longMode = (state.get32(STATE.EFER) & LMA) !== 0;
  if (longMode && (controls.exit & EXIT.HOST_ADDRESS_SPACE_SIZE) === 0) {
    return VMX_ABORT.HOST_IS_32_BIT;
  }
  // Blocking by NMI: of the guest where it is physical; by the exit itself where an NMI caused it.
  const byNmi =
    exit.reason === EXIT_REASON.EXCEPTION_NMI && typeOf(exit.interruption) === EVENT_TYPE.NMI;
  const physical = (controls.pin & PIN.VIRTUAL_NMIS) === 0 ? blocking & BLOCKING.NMI : 0;
  return toHost(machine, vmcs, controls, byNmi ? BLOCKING.NMI : physical);
}

/** Loads the host's state and its MSRs; also how a VM entry ends that failed after the guest-state checks. */
export function toHost(
  machine: VmxMachine,
  vmcs: Vmcs,
  controls: Controls,
  interruptibility: number,
): Abort | undefined {
  const { state } = machine.core;
  if (!loadHostState(machine, vmcs, controls)) return VMX_ABORT.HOST_PDPTES;
  state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
  state.set32(STATE.INTERRUPTIBILITY, interruptibility);
  state.set(STATE.PENDING_DEBUG, 0n);
  const load = vmcs.read32(FIELDS.VM_EXIT_MSR_LOAD_COUNT);
  if (loadMsrs(machine, Number(vmcs.read(FIELDS.VM_EXIT_MSR_LOAD_ADDRESS)), load)) {
    return VMX_ABORT.LOADING_MSRS;
  }
  return undefined;
}
