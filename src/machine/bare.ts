import type { FaultRecord } from '../cpu/cpu.ts';
import { Board } from './board.ts';
import { enter } from './entry.ts';
import type { GuestImage } from './guest-image.ts';
import { Hardware } from './hardware.ts';
import { GuestLedger } from './ledger.ts';
import { type Machine, machineDigest } from './machine.ts';
import type { MachineParts } from './options.ts';
import type { RunReason, RunResult } from './outcome.ts';

/** The guest on the hardware itself: what every virtual machine is measured by. */
export class BareMachine implements Machine {
  readonly hardware: Hardware;
  readonly board: Board;
  readonly ledger: GuestLedger;
  readonly regions: GuestImage['regions'];
  #faults: readonly FaultRecord[] = [];

  constructor({ image, profile, memorySize, engine, seed, onOutput }: MachineParts) {
    this.board = new Board({ onExit: () => processor.cpu.stop(), ...(onOutput && { onOutput }) });
    this.hardware = new Hardware({ profile, memorySize, engine, seed, io: this.board.ports });
    const processor = this.hardware.current;
    this.regions = image.regions;
    enter(processor.state, image.load(this.hardware.memory));
    this.ledger = new GuestLedger(processor.state);
    this.ledger.enter();
  }

  run({ maxInstructions }: { maxInstructions?: bigint } = {}): RunResult {
    const { state, cpu } = this.hardware.current;
    for (;;) {
      if (this.board.exitValue !== undefined) return this.#result('exit');
      const left =
        maxInstructions === undefined
          ? Number.POSITIVE_INFINITY
          : Number(maxInstructions - state.total('instructions'));
      if (left <= 0) return this.#result('budget');
      const stop = cpu.run(left);
      if (stop.reason === 'shutdown') {
        this.#faults = stop.faults;
        return this.#result('triple-fault');
      }
      if (stop.reason === 'halted' || stop.reason === 'waiting') {
        return this.#result('halted-forever');
      }
    }
  }

  #result(reason: RunReason): RunResult {
    const { state } = this.hardware.current;
    return {
      reason,
      exitValue: this.board.exitValue,
      instructions: this.ledger.read('instructions'),
      ticks: state.total('ticks'),
      rip: state.rip,
      faults: this.#faults,
      digest: machineDigest(this),
    };
  }
}
