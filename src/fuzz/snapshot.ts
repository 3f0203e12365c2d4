import { restoreProcessor, saveProcessor } from '../machine/processor-snapshot.ts';
import type { Chamber } from './chamber.ts';

const PAGE = 4096;

/** A chamber at one moment, in memory. Restoring copies what a case can have changed and nothing else. */
export class ChamberSnapshot {
  readonly #chamber: Chamber;
  readonly #dirty: Uint8Array;
  readonly #bitmap: Uint8Array;
  readonly #processor: ReturnType<typeof saveProcessor>;
  readonly #host;
  readonly #perf;
  readonly #vm;

  constructor(chamber: Chamber) {
    const { processor, host, machine, guest } = chamber;
    this.#chamber = chamber;
    this.#dirty = bytesOf(chamber.dirty).slice();
    this.#bitmap = this.#bitmapBytes().slice();
    this.#processor = saveProcessor(processor);
    this.#host = host.save();
    this.#perf = machine.perf.save();
    this.#vm = guest.vm.save();
  }

  restore(): void {
    const { processor, host, machine, guest, dirty, parts } = this.#chamber;
    bytesOf(dirty).set(this.#dirty);
    this.#bitmapBytes().set(this.#bitmap);
    // A guest hypervisor has the host make page tables for its guest.
    restoreProcessor(processor, this.#processor, { samePages: parts.nested === undefined });
    host.restore(this.#host);
    machine.perf.restore(this.#perf);
    guest.vm.restore(this.#vm);
  }

  #bitmapBytes(): Uint8Array {
    const { machine, guest } = this.#chamber;
    const { memory } = machine.hardware;
    const at = memory.offset(guest.vm.bitmapFor(guest.vcpu).address);
    return new Uint8Array(memory.linear.buffer, at, PAGE);
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: DataView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
