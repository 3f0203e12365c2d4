import { ACTIVITY, BLOCKING, DR6, RFLAGS } from '../control-registers.ts';
import { EVENT_TYPE } from '../event.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { StopReason } from '../stop-reason.ts';
import type { Core } from '../system/core.ts';
import { exceptionEvent } from '../system/exceptions.ts';
import type { Activity } from './activity.ts';
import type { Raising } from './raising.ts';

const IF = Number(RFLAGS.IF);
/** Interruptibility that holds until the next instruction has retired. */
export const SHADOWS = BLOCKING.STI | BLOCKING.MOV_SS;
/** Pending debug exceptions that are conditions of DR6; bit 12, "enabled breakpoint", only qualifies them. */
const PENDING = DR6.B | DR6.BS | DR6.BT;

/**
 * What happens between two instructions, by priority. Vol. 3, "Priority Among Concurrent Events"; in VMX non-root
 * operation with the exits of "Priority of VM Exits".
 */
export class EventPriority {
  readonly #core: Core;
  readonly #activity: Activity;
  readonly #raising: Raising;
  readonly #init: () => void;

  /** `init` puts the processor into the state after INIT. */
  constructor(core: Core, activity: Activity, raising: Raising, init: () => void) {
    this.#core = core;
    this.#activity = activity;
    this.#raising = raising;
    this.#init = init;
  }

  /** Takes every event there is. @returns why no instruction comes next, if none does. @throws VmExit */
  take(): StopReason | undefined {
    const { state } = this.#core;
    const { faults } = this.#raising;
    if (faults.length > 0) return { reason: 'shutdown', faults };
    for (;;) {
      if (this.#injection() || this.#signal()) continue;
      const activity = state.get32(STATE.ACTIVITY);
      const shutdown = activity === ACTIVITY.SHUTDOWN;
      if (shutdown && !this.#core.nonRoot) break;
      if (activity === ACTIVITY.WAIT_FOR_SIPI) return { reason: 'waiting' };
      if (this.#trap() || this.#nmi() || (!shutdown && this.#interrupt())) continue;
      this.#activity.setHalted(activity === ACTIVITY.HLT || shutdown || this.#core.waiting);
      this.#core.delivering = undefined;
      if (this.#raising.faults.length > 0) break;
      return undefined;
    }
    return { reason: 'shutdown', faults: this.#raising.faults };
  }

  #injection(): boolean {
    const event = this.#core.nonRoot?.takeInjection();
    if (event) this.#raising.inject(event);
    return event !== undefined;
  }

  /** INIT and SIPI. */
  #signal(): boolean {
    const { state, ports, nonRoot } = this.#core;
    const waits = state.get32(STATE.ACTIVITY) === ACTIVITY.WAIT_FOR_SIPI;
    // Vol. 3, "Other Causes of VM Exits": a guest that waits for a SIPI takes no INIT.
    const initIsBlocked = waits && nonRoot !== undefined;
    const signal = ports.interrupts.pendingSignal(initIsBlocked);
    if (signal === undefined) return false;
    if (signal === 'INIT') {
      // VMX root operation blocks INIT. Vol. 3, "Restrictions on VMX Operation".
      if (nonRoot === undefined && ports.vmx?.operation === true) return false;
      if (nonRoot) {
        ports.interrupts.dismissInit();
        nonRoot.init();
      }
      ports.interrupts.takeSignal();
      ports.time.modeChanging();
      this.#init();
      if (!ports.interrupts.bootstrap()) state.set32(STATE.ACTIVITY, ACTIVITY.WAIT_FOR_SIPI);
      ports.time.modeChanged({ cpl: 0, halted: false });
      return true;
    }
    if (!waits) return false;
    ports.interrupts.takeSignal(initIsBlocked);
    nonRoot?.sipi(signal.sipi);
    const base = BigInt(signal.sipi << 12);
    state.setSegment('CS', { ...state.segment('CS'), selector: signal.sipi << 8, base });
    state.rip = 0n;
    state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
    return true;
  }

  /** Traps of the instruction before, and the monitor trap flag. */
  #trap(): boolean {
    const { state, nonRoot } = this.#core;
    if (nonRoot?.watchful) nonRoot.monitorTrap();
    const conditions = state.get(STATE.PENDING_DEBUG) & PENDING;
    if (conditions === 0n || this.#blockedByMovSs) return false;
    state.set(STATE.PENDING_DEBUG, 0n);
    this.#raising.raise(exceptionEvent(new Fault('#DB')), conditions);
    return true;
  }

  /** NMI, the NMI window, and what comes before them: the preemption timer. */
  #nmi(): boolean {
    const { state, ports, nonRoot } = this.#core;
    if (nonRoot?.watchful) nonRoot.preemptionTimer();
    const blocked = nonRoot ? nonRoot.nmiBlocked : (this.#blocking & BLOCKING.NMI) !== 0;
    if (blocked || this.#blockedByMovSs) return false;
    if (nonRoot?.watchful) nonRoot.nmiWindow();
    if (!ports.interrupts.nmiPending()) return false;
    nonRoot?.nmi();
    ports.interrupts.takeNmi();
    state.addTotal('hardwareInterrupts', 1);
    this.#raising.raise({ vector: 2, type: EVENT_TYPE.NMI });
    return true;
  }

  /** The interrupt window, virtual interrupts, external interrupts. */
  #interrupt(): boolean {
    const { state, ports, nonRoot } = this.#core;
    if ((this.#blocking & SHADOWS) !== 0) return false;
    const enabled = (state.get32(STATE.RFLAGS_SYSTEM) & IF) !== 0;
    if (enabled && nonRoot?.watchful) nonRoot.interruptWindow();
    const virtual = enabled ? nonRoot?.takeVirtualInterrupt() : undefined;
    if (virtual !== undefined) {
      this.#raising.raise({ vector: virtual, type: EVENT_TYPE.EXTERNAL });
      return true;
    }
    if (!enabled && nonRoot?.externalInterruptExiting !== true) return false;
    if (ports.interrupts.pendingVector() === undefined) return false;
    if (nonRoot?.externalInterrupt()) return true;
    const vector = ports.interrupts.acknowledge();
    state.addTotal('hardwareInterrupts', 1);
    this.#raising.raise({ vector, type: EVENT_TYPE.EXTERNAL });
    return true;
  }

  get #blocking(): number {
    return this.#core.state.get32(STATE.INTERRUPTIBILITY);
  }

  get #blockedByMovSs(): boolean {
    return (this.#blocking & BLOCKING.MOV_SS) !== 0;
  }
}
