import type { Machine } from './machine.ts';
import { VirtualMachine } from './virtual.ts';

/**
 * Time in which the host ran its own code while the guest had the PMU: no host event counts then, not even one that
 * excludes guests. Of the first processor.
 */
export class BlindTime {
  readonly #now: () => bigint;
  #since: bigint | undefined;
  #sum = 0n;

  /** Attach before the guest runs. */
  constructor(machine: Machine) {
    const { hardware, ledger } = machine;
    const { state } = hardware.processors[0]!;
    this.#now = () => state.total('ticks') - ledger.read('ticks');
    if (!(machine instanceof VirtualMachine)) return;
    machine.watch({
      vpmu: ({ vcpu, step }) => {
        if (vcpu !== 0) return;
        this.#sum = this.ticks;
        this.#since = step === 'load' ? this.#now() : undefined;
      },
    });
  }

  save() {
    return { since: this.#since, sum: this.#sum };
  }

  restore(saved: ReturnType<BlindTime['save']>): void {
    this.#since = saved.since;
    this.#sum = saved.sum;
  }

  get ticks(): bigint {
    return this.#sum + (this.#since === undefined ? 0n : this.#now() - this.#since);
  }
}
