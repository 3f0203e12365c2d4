import { PAGE_SIZE } from '../memory/physical-memory.ts';
import type { Machine } from './machine.ts';

/**
 * A machine as it stood between two instructions, kept in memory to go back to, as often as wanted. Going back copies
 * only the pages that were written meanwhile.
 */
export class Checkpoint {
  readonly #machine: Machine;
  readonly #ram: Uint8Array;
  readonly #state: object;
  readonly #written: Set<number>;

  constructor(machine: Machine) {
    const { memory, processors } = machine.hardware;
    this.#machine = machine;
    this.#state = machine.save();
    this.#ram = memory.slice(0, memory.ramSize);
    this.#written = memory.written.since();
    // From here on the first store to each page is heard of.
    for (const { cpu } of processors) cpu.engine.flush({});
  }

  /** Pages that were written since the checkpoint or the last return to it. */
  get pages(): number {
    return this.#written.size;
  }

  /** Brings the machine back to where it stood. */
  restore(): void {
    const { memory } = this.#machine.hardware;
    for (const page of this.#written) {
      const at = page * PAGE_SIZE;
      memory.putBack(at, this.#ram.subarray(at, at + PAGE_SIZE));
    }
    memory.written.putBack(this.#written);
    this.#machine.restore(this.#state);
  }

  /** It will not be gone back to again. */
  release(): void {
    this.#machine.hardware.memory.written.release(this.#written);
  }
}
