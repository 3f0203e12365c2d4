import { ACTIVITY, BLOCKING, DR6, DR7 } from '../control-registers.ts';
import { EVENT_TYPE, type Event } from '../event.ts';
import { Fault, VECTORS } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { FaultRecord } from '../stop-reason.ts';
import type { Core } from '../system/core.ts';
import { deliver } from '../system/delivery.ts';
import { combine, exceptionEvent, isFaultClass, TripleFault } from '../system/exceptions.ts';
import type { Activity } from './activity.ts';

/** Raises interrupts and exceptions: intercepts, delivery, and what a delivery that fails turns into. */
export class Raising {
  readonly #core: Core;
  readonly #activity: Activity;
  /** The exceptions of a triple fault, oldest first; none while there was none. */
  faults: readonly FaultRecord[] = [];
  /** The same of the last triple fault, a guest's too, which ended in a VM exit. */
  chain: readonly FaultRecord[] = [];

  constructor(core: Core, activity: Activity) {
    this.#core = core;
    this.#activity = activity;
  }

  /** An event between two instructions; `conditions` are those of DR6, of a #DB. @throws VmExit */
  raise(event: Event, conditions = 0n): void {
    const { nonRoot, state } = this.#core;
    const isException = event.type === EVENT_TYPE.HARDWARE_EXCEPTION;
    if (isException) {
      nonRoot?.exception(event, conditions);
      state.addTotal('exceptions', 1);
    }
    if (isException && event.vector === VECTORS['#DB']) this.#latchDebug(conditions);
    this.#deliver(event, this.#core.repeating, isException ? [this.#record(event)] : []);
  }

  /** What VM entry injects: it is intercepted by nothing. @throws VmExit */
  inject(event: Event): void {
    this.#deliver(event, false, [this.#record(event)]);
  }

  /** A fault of the instruction at RIP, or in the delivery that the instruction asked for. @throws VmExit */
  fault(fault: Fault): void {
    const first = this.#core.delivering;
    // What the instruction met before it faulted, it will meet again; what MOV SS met before it is still to come.
    const { state } = this.#core;
    const heldBack = (state.get32(STATE.INTERRUPTIBILITY) & BLOCKING.MOV_SS) !== 0;
    if (!heldBack) state.set(STATE.PENDING_DEBUG, 0n);
    this.#raiseAfter(first, fault, [this.#record(exceptionEvent(fault), fault)]);
    if (heldBack) this.#core.suppressStep();
  }

  #deliver(event: Event, resumeFlag: boolean, chain: readonly FaultRecord[]): void {
    const core = this.#core;
    core.delivering = event;
    this.#activity.wake();
    const { rip: from, cpl } = core.state;
    try {
      deliver(core, event, resumeFlag);
      core.delivering = undefined;
      core.repeating = false;
      core.observer?.delivered?.(from, core.state.rip);
      core.ports.branched?.(from, core.state.rip, cpl, core.state.cpl);
      // A counter of interrupts may have overflowed: it has its say before the handler's first instruction.
      core.ports.time.boundary();
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      this.#raiseAfter(event, thrown, [...chain, this.#record(exceptionEvent(thrown), thrown)]);
    }
  }

  /** Raises `fault`, which arose while `first` was being delivered (if anything was). */
  #raiseAfter(first: Event | undefined, fault: Fault, chain: readonly FaultRecord[]): void {
    const { nonRoot, state } = this.#core;
    const raised = exceptionEvent(fault);
    // Vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches".
    if (fault.exception === '#PF') this.#core.forget({ linear: fault.address });
    // Its own bit of the exception bitmap comes before what two exceptions make together.
    nonRoot?.exception(raised, fault.address);
    const outcome = combine(first, fault);
    if (outcome instanceof TripleFault) {
      this.chain = chain;
      nonRoot?.tripleFault();
      this.faults = chain;
      state.set32(STATE.ACTIVITY, ACTIVITY.SHUTDOWN);
      return;
    }
    const isDebug = outcome.vector === VECTORS['#DB'];
    if (outcome.vector !== raised.vector) nonRoot?.exception(outcome, 0n);
    if (outcome.vector === VECTORS['#PF']) state.set(STATE.CR2, fault.address);
    if (isDebug) this.#latchDebug(fault.address);
    state.addTotal('exceptions', 1);
    if (outcome.vector === VECTORS['#PF']) state.addTotal('pageFaults', 1);
    // A debug exception is a fault where DR7.GD makes it one; at an instruction breakpoint RF is pushed as it is.
    const resume = isDebug ? (fault.address & DR6.BD) !== 0n : isFaultClass(outcome.vector);
    this.#deliver(outcome, resume, chain);
  }

  #record(event: Event, fault?: Fault): FaultRecord {
    const { state } = this.#core;
    return {
      vector: event.vector,
      code: event.code,
      rip: state.rip,
      cr2: fault?.exception === '#PF' ? fault.address : state.get(STATE.CR2),
    };
  }

  /** DR6 takes the conditions of a debug exception; GD and what DEBUGCTL arms end with it. */
  #latchDebug(conditions: bigint): void {
    const { state, ports } = this.#core;
    const dr6 = STATE.DR + 48;
    const dr7 = STATE.DR + 56;
    state.set(dr6, (state.get(dr6) & ~DR6.B) | conditions | DR6.FIXED);
    state.set(dr7, state.get(dr7) & ~DR7.GD);
    ports.debug?.delivered();
  }
}
