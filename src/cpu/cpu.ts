import type { Engine, EngineFactory } from './engines/engine.ts';
import { Activity } from './events/activity.ts';
import { EventPriority } from './events/priority.ts';
import { Raising } from './events/raising.ts';
import { Execution } from './execution.ts';
import { Fault } from './fault.ts';
import { MODELLED } from './models/micro-architecture.ts';
import type { Observer } from './observer.ts';
import type { CpuPorts } from './ports.ts';
import { ALWAYS_KEPT, STATE, type Total } from './state/layout.ts';
import type { State } from './state/state.ts';
import type { FaultRecord, StopReason } from './stop-reason.ts';
import { Core, type Features } from './system/core.ts';
import { resetState } from './system/reset.ts';
import { VmExit } from './vm-exit.ts';
import { Watches } from './watches.ts';

/** What `Cpu.save` gives. */
export interface SavedCpu {
  /** The state block. */
  readonly block: Uint8Array;
  readonly faults: readonly FaultRecord[];
  readonly halted: boolean;
  readonly monitoring: boolean;
  readonly waiting: boolean;
  readonly repeating: boolean;
}

/** One logical processor: slices of execution (`execution.ts`) and events between them (`events/`), in turn. */
export class Cpu {
  readonly state: State;
  readonly ports: CpuPorts;
  readonly core: Core;
  readonly engine: Engine;
  readonly #activity: Activity;
  readonly #raising: Raising;
  readonly #priority: EventPriority;
  readonly #execution: Execution;
  readonly #watches = new Watches((addresses) => {
    this.engine.stopBefore(addresses);
    this.attention();
  });
  #stopping = false;
  /** How often something has asked for attention. */
  attentions = 0;

  constructor(options: {
    state: State;
    ports: CpuPorts;
    features: Features;
    engine: EngineFactory;
  }) {
    const { state, ports, features, engine } = options;
    this.state = state;
    this.ports = ports;
    this.core = new Core(state, ports, features, {
      flush: (stale) => {
        this.engine.flush(stale);
        this.core.observer?.flushed?.(stale);
      },
      retagged: () => {
        this.engine.retagged();
        this.core.observer?.flushed?.({});
      },
      debugChanged: () => {
        this.core.breakpoints.refresh();
        this.engine.flush({});
        this.engine.debugChanged();
        this.attention();
      },
      endSlice: () => this.attention(),
      goesOn: () => this.engine.goesOn?.() ?? false,
    });
    this.engine = engine(this.core);
    this.#activity = new Activity(this.core);
    this.#raising = new Raising(this.core, this.#activity);
    this.#priority = new EventPriority(this.core, this.#activity, this.#raising, () =>
      this.reset('init'),
    );
    this.#execution = new Execution(this.core, this.engine, this.#watches);
    resetState(state);
  }

  /** RESET, or INIT, which keeps more. Vol. 3, "Processor State After Reset". */
  reset(kind: 'reset' | 'init' = 'reset'): void {
    resetState(this.state, kind);
    this.#raising.faults = [];
    this.#activity.restore(false);
    this.core.monitoring = this.core.waiting = this.core.repeating = false;
    this.engine.flush({});
    this.core.breakpoints.refresh();
  }

  /** Everything of the CPU between two instructions; watches and what is armed belong to others. */
  save(): SavedCpu {
    return {
      block: this.#block.slice(),
      faults: this.#raising.faults,
      halted: this.#activity.halted,
      monitoring: this.core.monitoring,
      waiting: this.core.waiting,
      repeating: this.core.repeating,
    };
  }

  restore(saved: SavedCpu): void {
    this.#block.set(saved.block);
    this.#raising.faults = saved.faults;
    this.#activity.restore(saved.halted);
    this.core.monitoring = saved.monitoring;
    this.core.waiting = saved.waiting;
    this.core.repeating = saved.repeating;
    this.core.engine.debugChanged();
  }

  get #block(): Uint8Array {
    return new Uint8Array(this.state.view.buffer, this.state.base, STATE.SIZE);
  }

  /** Ends the wait of an MWAIT: others may have written to what it monitors. */
  lookAgain(): void {
    this.core.waiting = false;
  }

  /** The exceptions of the last triple fault, a guest's too, oldest first. */
  get tripleFault(): readonly FaultRecord[] {
    return this.#raising.chain;
  }

  /** Something became pending or a deadline moved: events are looked at before the next instruction. */
  attention(): void {
    this.attentions += 1;
    this.#execution.endSlice();
  }

  /** Makes `run` come back before the next instruction. */
  stop(): void {
    this.#stopping = true;
    this.attention();
  }

  /** Calls `callback` before each execution of the instruction at linear address `rip`; returns how to end that. */
  watch(rip: bigint, callback: (cpl: number) => void): () => void {
    return this.#watches.add(rip, callback);
  }

  /** Runs at most `maxTicks` ticks, of which the CPU executes instructions in at most `maxRunning`. */
  run(maxTicks: number, maxRunning = maxTicks): StopReason {
    const start = this.state.total('ticks');
    let asleep = 0;
    this.#stopping = false;
    for (;;) {
      const passed = Number(this.state.total('ticks') - start);
      const left = maxTicks - passed;
      const running = Math.min(left, maxRunning - passed + asleep);
      try {
        if (this.#stopping) return { reason: 'stopped' };
        if (running <= 0) return { reason: 'budget' };
        const stop = this.#priority.take();
        if (stop) return stop;
        const horizon = this.ports.time.horizon();
        const ticks = Math.min(left, horizon);
        if (this.core.waiting) asleep += this.#activity.wait(ticks, horizon);
        else if (this.#activity.halted) {
          if (!this.#activity.pass(ticks, horizon)) return { reason: 'halted' };
          asleep += ticks;
        } else {
          const ending = this.#execution.run(Math.min(running, horizon));
          const stop = ending && this.#ended(ending);
          if (stop) return stop;
        }
      } catch (thrown) {
        const stop = this.#ended(thrown);
        if (stop) return stop;
      }
      this.ports.time.boundary();
    }
  }

  /** An instruction ended in a fault or a VM exit. */
  #ended(thrown: unknown): StopReason | undefined {
    try {
      if (thrown instanceof Fault) {
        this.#raising.fault(thrown);
        return undefined;
      }
    } catch (exit) {
      return this.#exit(exit);
    }
    return this.#exit(thrown);
  }

  #exit(thrown: unknown): StopReason | undefined {
    if (!(thrown instanceof VmExit) || !this.ports.vmx) throw thrown;
    const { delivering } = this.core;
    this.core.delivering = undefined;
    const next = this.ports.vmx.vmExit(thrown, delivering);
    this.core.repeating = false;
    return next === 'leave' ? { reason: 'vm-exit' } : undefined;
  }

  /**
   * Keeps these totals, and of those that only some engines keep no others, from the retirement of the instruction
   * under way on; `observer` hears of everything executed meanwhile.
   */
  arm(names: readonly Total[], observer?: Observer): void {
    this.core.observer = observer;
    this.core.armed = names.some((name) => !ALWAYS_KEPT.has(name) && !MODELLED.has(name));
    this.attention();
  }
}
