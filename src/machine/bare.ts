import { ACTIVITY } from '../cpu/control-registers.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { FaultRecord } from '../cpu/stop-reason.ts';
import { Board } from './board.ts';
import { enter } from './entry.ts';
import type { GuestImage } from './guest-image.ts';
import { Hardware } from './hardware.ts';
import { GuestLedger } from './ledger.ts';
import { type Machine, machineDigest } from './machine.ts';
import type { MachineParts } from './options.ts';
import type { RunReason, RunResult } from './outcome.ts';
import type { Processor } from './processor.ts';

/** Ticks each of several processors runs before the next one's turn. */
const QUANTUM = 10_000n;

/** The guest on the hardware itself: what every virtual machine is measured by. */
export class BareMachine implements Machine {
  readonly hardware: Hardware;
  readonly board: Board;
  readonly ledger: GuestLedger;
  readonly regions: GuestImage['regions'];
  #faults: readonly FaultRecord[] = [];
  /** The tick at which all processors will have had their turn. */
  #round = 0n;
  /** Whose turn it is. */
  #turn = 0;

  constructor(parts: MachineParts) {
    const { image, profile, memorySize, engine, seed, onOutput, input, processors = 1 } = parts;
    const { commandLine, initrd } = image.boot;
    this.board = new Board({
      onExit: () => this.hardware.current.cpu.stop(),
      ...(onOutput && { onOutput }),
      ...(input && { input }),
      pc: {
        ramSize: memorySize,
        apicIds: Array.from({ length: processors }, (_, id) => id),
        ...(commandLine !== undefined && { commandLine }),
        ...(initrd && { initrd }),
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
    for (const { state } of this.hardware.processors.slice(1)) {
      state.set32(STATE.ACTIVITY, ACTIVITY.WAIT_FOR_SIPI);
    }
    enter(current.state, image.load(memory));
    this.ledger = new GuestLedger(current.state);
    this.ledger.enter();
  }

  get #bootstrap(): Processor {
    return this.hardware.processors[0]!;
  }

  /** Instructions that all processors have retired. */
  get #instructions(): bigint {
    return this.hardware.processors.reduce((n, { state }) => n + state.total('instructions'), 0n);
  }

  run({ maxInstructions }: { maxInstructions?: bigint } = {}): RunResult {
    for (;;) {
      if (this.board.end) return this.#result(this.board.end);
      if (this.#faults.length > 0) return this.#result('triple-fault');
      const left = maxInstructions === undefined ? undefined : maxInstructions - this.#instructions;
      if (left !== undefined && left <= 0n) return this.#result('budget');
      const idle =
        this.hardware.processors.length === 1 ? this.#runAlone(left) : this.#runTurn(left);
      if (idle) return this.#result('halted-forever');
    }
  }

  /** Whether the only processor is halted for ever. */
  #runAlone(left: bigint | undefined): boolean {
    return this.#runProcessor(left === undefined ? Number.POSITIVE_INFINITY : Number(left));
  }

  /**
   * One processor's turn, up to the end of the round. One that has nothing to do waits until then: all clocks agree at
   * the end of a round. Whether at the end of a round all were idle.
   */
  #runTurn(left: bigint | undefined): boolean {
    const { processors } = this.hardware;
    if (this.#turn === 0) {
      this.#round = this.#bootstrap.state.total('ticks') + QUANTUM;
      this.#idle = 0;
    }
    const processor = processors[this.#turn]!;
    this.hardware.current = processor;
    const until = this.#round - processor.state.total('ticks');
    const ticks = left !== undefined && left < until ? left : until;
    if (ticks > 0n && this.#runProcessor(Number(ticks))) {
      this.#idle += 1;
      processor.state.addTotal('ticks', this.#round - processor.state.total('ticks'));
      processor.boundary();
    }
    if (processor.state.total('ticks') < this.#round) return false;
    this.#turn = (this.#turn + 1) % processors.length;
    return this.#turn === 0 && this.#idle === processors.length;
  }

  /** Processors that were halted for ever in this round. */
  #idle = 0;

  /** Runs the current processor. Whether nothing of its own can ever wake it. */
  #runProcessor(ticks: number): boolean {
    const stop = this.hardware.current.cpu.run(ticks);
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
