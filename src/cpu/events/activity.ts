import { ACTIVITY, RFLAGS } from '../control-registers.ts';
import { STATE } from '../state/layout.ts';
import type { Core } from '../system/core.ts';

const IF = Number(RFLAGS.IF);

/** Whether the CPU executes or is halted, and for how long. The counters hear of each change. */
export class Activity {
  readonly #core: Core;
  #halted = false;

  constructor(core: Core) {
    this.#core = core;
  }

  get halted(): boolean {
    return this.#halted;
  }

  /** Executing, with nothing to tell the counters: after RESET, or as it was saved. */
  restore(halted: boolean): void {
    this.#halted = halted;
  }

  setHalted(halted: boolean): void {
    if (halted === this.#halted) return;
    const { state, ports } = this.#core;
    ports.time.modeChanging();
    this.#halted = halted;
    ports.time.modeChanged({ cpl: state.cpl, halted });
  }

  /** An event ends every kind of waiting. */
  wake(): void {
    this.#core.waiting = false;
    this.#core.state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
    this.setHalted(false);
  }

  /**
   * Lets a halt last for so many ticks, `horizon` at most. @returns false where nothing that only time brings can end
   * it; a guest's ends by a VM exit, too, if its time is bounded
   */
  pass(ticks: number, horizon: number): boolean {
    const { nonRoot, state } = this.#core;
    const wakeable = nonRoot
      ? Number.isFinite(ticks)
      : Number.isFinite(horizon) && (state.get32(STATE.RFLAGS_SYSTEM) & IF) !== 0;
    if (wakeable) state.addTotal('ticks', ticks);
    return wakeable;
  }

  /**
   * MWAIT lets the time to the next deadline pass, in one run or several; where nothing bounds it, none.
   * @returns the ticks that passed
   */
  wait(ticks: number, horizon: number): number {
    this.#core.waiting = Number.isFinite(horizon) && ticks < horizon;
    if (!Number.isFinite(horizon)) return 0;
    this.setHalted(true);
    this.#core.state.addTotal('ticks', ticks);
    return ticks;
  }
}
