import { extract } from '../bits/bitfield.ts';
import { VMX_MISC, type VmxShape } from '../msr/vmx.ts';

export interface SavedTimer {
  readonly active: boolean;
  readonly start: number;
  readonly from: bigint;
}

/**
 * The VMX-preemption timer: counts down by 1 whenever bit X of the TSC changes, stops at 0.
 * Vol. 3, "VMX-Preemption Timer".
 */
export class PreemptionTimer {
  readonly #shift: bigint;
  readonly #tsc: () => bigint;
  #start = 0;
  #from = 0n;
  active = false;

  /** @param tsc the host's TSC, in ticks */
  constructor(shape: VmxShape, tsc: () => bigint) {
    this.#shift = extract(shape.misc, VMX_MISC.PREEMPTION_TIMER_RATE);
    this.#tsc = tsc;
  }

  load(value: number): void {
    this.active = true;
    this.#start = value;
    this.#from = this.#tsc() >> this.#shift;
  }

  stop(): void {
    this.active = false;
  }

  get value(): number {
    const passed = (this.#tsc() >> this.#shift) - this.#from;
    return passed >= BigInt(this.#start) ? 0 : this.#start - Number(passed);
  }

  /** Ticks until the timer is 0. */
  get remaining(): number {
    if (!this.active) return Infinity;
    const end = (this.#from + BigInt(this.#start)) << this.#shift;
    const ticks = end - this.#tsc();
    return ticks > 0n ? Number(ticks) : 0;
  }

  save(): SavedTimer {
    return { active: this.active, start: this.#start, from: this.#from };
  }

  restore(saved: SavedTimer): void {
    this.active = saved.active;
    this.#start = saved.start;
    this.#from = saved.from;
  }
}
