import { isSet } from '../bits/bitfield.ts';
import { ACTIVITY, RFLAGS } from '../cpu/control-registers.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { FaultRecord } from '../cpu/stop-reason.ts';
import { fwCfgItems } from '../platform/fw-cfg.ts';
import { Board } from './board.ts';
import { type Budget, isUsedUp, type Left, leftOf, Stillness } from './budget.ts';
import { enter } from './entry.ts';
import type { GuestImage } from './guest-image.ts';
import { Hardware } from './hardware.ts';
import { GuestLedger } from './ledger.ts';
import { type Machine, machineDigest } from './machine.ts';
import type { MachineParts } from './options.ts';
import type { RunReason, RunResult } from './outcome.ts';
import type { Processor } from './processor.ts';
import { Turns, type TurnTaker } from './turns.ts';

/** The guest on the hardware itself: what every virtual machine is measured by. */
export class BareMachine implements Machine {
  readonly hardware: Hardware;
  readonly board: Board;
  readonly ledgers: readonly GuestLedger[];
  readonly regions: GuestImage['regions'];
  readonly boot: GuestImage['boot'];
  readonly memorySize: number;
  #faults: readonly FaultRecord[] = [];
  readonly #turns: Turns;
  readonly #stillness = new Stillness();

  constructor(parts: MachineParts) {
    const { image, profile, memorySize, engine, seed, onOutput, input, processors = 1 } = parts;
    const { engineMemory } = parts;
    this.board = new Board({
      onExit: () => this.hardware.current.cpu.stop(),
      ...(onOutput && { onOutput }),
      ...(input && { input }),
      pc: {
        ramSize: memorySize,
        apicIds: Array.from({ length: processors }, (_, id) => id),
        ...fwCfgItems(image.boot),
      },
      around: {
        now: () => Number(this.#bootstrap.state.total('ticks')),
        send: (message) => this.hardware.send(message),
        attention: () => this.#bootstrap.cpu.attention(),
      },
    });
    const { pc } = this.board;
    this.hardware = new Hardware({
      profile,
      memorySize,
      ...(engineMemory && { engineMemory }),
      processors,
      engine,
      seed,
      io: pc.ports,
      devices: pc,
      endOfInterrupt: (vector) => pc.ioApic.endOfInterrupt(vector),
    });
    const { memory, current } = this.hardware;
    pc.attachMemory(memory);
    this.regions = image.regions;
    this.boot = image.boot;
    this.memorySize = memorySize;
    for (const { state } of this.hardware.processors.slice(1)) {
      state.set32(STATE.ACTIVITY, ACTIVITY.WAIT_FOR_SIPI);
    }
    enter(current.state, image.load(memory));
    this.ledgers = this.hardware.processors.map(({ state }) => new GuestLedger(state));
    for (const ledger of this.ledgers) ledger.enter();
    this.#turns = new Turns(this.hardware.processors.map((each) => this.#turnTaker(each)));
  }

  get ledger(): GuestLedger {
    return this.ledgers[0]!;
  }

  get #bootstrap(): Processor {
    return this.hardware.processors[0]!;
  }

  /** Instructions that all processors have retired. */
  get #instructions(): bigint {
    return this.hardware.processors.reduce((n, { state }) => n + state.total('instructions'), 0n);
  }

  run(budget: Budget = {}): RunResult {
    const several = this.hardware.processors.length > 1;
    for (;;) {
      if (this.board.end) return this.#result(this.board.end);
      if (this.#faults.length > 0) return this.#result('triple-fault');
      const left = leftOf(budget, this.spent);
      if (isUsedUp(left)) return this.#result('budget');
      const asleep = several ? this.#turns.run(left) : this.#runProcessor(this.#bootstrap, left);
      if (asleep || this.#stillness.lasts(this.spent)) return this.#result('halted-forever');
    }
  }

  get spent() {
    return { instructions: this.#instructions, ticks: this.#bootstrap.state.total('ticks') };
  }

  save() {
    return {
      hardware: this.hardware.save(),
      board: this.board.save(),
      ledgers: this.ledgers.map((ledger) => ledger.save()),
      stillness: this.#stillness.save(),
      faults: this.#faults,
      turns: this.#turns.save(),
    };
  }

  restore(saved: ReturnType<BareMachine['save']>): void {
    this.hardware.restore(saved.hardware);
    this.board.restore(saved.board);
    for (const [at, ledger] of this.ledgers.entries()) ledger.restore(saved.ledgers[at]!);
    this.#stillness.restore(saved.stillness);
    this.#faults = saved.faults;
    this.#turns.restore(saved.turns);
  }

  #turnTaker(processor: Processor): TurnTaker {
    const { state, apic, cpu } = processor;
    return {
      now: () => state.total('ticks'),
      run: (left) => this.#runProcessor(processor, left),
      wait: (until) => {
        state.addTotal('ticks', Number(until - state.total('ticks')));
        processor.boundary();
      },
      wakes: () =>
        apic.nmiPending() || apic.pendingSignal() !== undefined || interrupted(processor),
      ended: () => cpu.lookAgain(),
    };
  }

  /** Whether nothing of the processor's own can ever wake it. */
  #runProcessor(processor: Processor, { ticks, instructions }: Left): boolean {
    this.hardware.current = processor;
    const stop = processor.cpu.run(Number(ticks), Number(instructions));
    if (stop.reason === 'shutdown') this.#faults = stop.faults;
    return stop.reason === 'halted' || stop.reason === 'waiting';
  }

  #result(reason: RunReason): RunResult {
    const { state } = this.hardware.current;
    return {
      reason,
      exitValue: this.board.exitValue,
      instructions: this.#instructions,
      ticks: state.total('ticks'),
      rip: state.rip,
      faults: this.#faults,
      digest: () => machineDigest(this),
    };
  }
}

/** Whether an interrupt waits that the processor would take. */
const interrupted = ({ apic, state }: Processor): boolean =>
  apic.pendingVector() !== undefined && isSet(state.get(STATE.RFLAGS_SYSTEM), RFLAGS.IF);
