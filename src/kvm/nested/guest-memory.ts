import type { HostCpu } from '../../host/cpu.ts';
import type { PhysicalWords } from '../../memory/physical-memory.ts';
import type { GuestPhysical } from '../ports.ts';

/** The guest's physical memory, where its VMCSs, bitmaps and MSR lists are. */
export class GuestMemory implements PhysicalWords {
  readonly #host: () => HostCpu;
  readonly #physical: GuestPhysical;

  constructor(host: () => HostCpu, physical: GuestPhysical) {
    this.#host = host;
    this.#physical = physical;
  }

  read(address: number, size: 1 | 2 | 4 | 8): bigint {
    const at = this.#physical.hostAddress(address);
    return at === undefined
      ? this.#physical.mmio.read(address, size)
      : this.#host().memory.read(at, size);
  }

  write(address: number, size: 1 | 2 | 4 | 8, value: bigint): void {
    const at = this.#physical.hostAddress(address);
    if (at === undefined) this.#physical.mmio.write(address, size, value);
    else this.#host().memory.write(at, size, value);
  }
}
