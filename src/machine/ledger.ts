import { TOTALS, type Total } from '../cpu/state/layout.ts';
import type { State } from '../cpu/state/state.ts';

const INDEX = new Map(TOTALS.map((name, index) => [name, index]));

/**
 * What one guest has done, apart from everybody else on the same CPU: the event totals that passed while it was in
 * control, plus what a hypervisor retired on its behalf. On the bare machine the guest is in control always.
 */
export class GuestLedger {
  readonly #state: State;
  readonly #before = new BigUint64Array(TOTALS.length);
  readonly #sum = new BigUint64Array(TOTALS.length);
  /** What a hypervisor carried out on the guest's behalf: in no processor's totals. */
  readonly #carried = new BigUint64Array(TOTALS.length);
  #inControl = false;

  constructor(state: State) {
    this.#state = state;
  }

  /** The guest takes control: everything from here on is its own. */
  enter(): void {
    if (this.#inControl) return;
    this.#before.set(this.#state.totals.subarray(0, TOTALS.length));
    this.#inControl = true;
  }

  /** Somebody else takes control. */
  leave(): void {
    if (!this.#inControl) return;
    for (let i = 0; i < TOTALS.length; i++) {
      this.#sum[i]! += this.#state.totals[i]! - this.#before[i]!;
    }
    this.#inControl = false;
  }

  /** A hypervisor completed an instruction of the guest. */
  retire(totals: Iterable<readonly [Total, bigint]>): void {
    for (const [name, count] of totals) this.#carried[INDEX.get(name)!]! += count;
  }

  /** Whether what happens now is the guest's. */
  get inControl(): boolean {
    return this.#inControl;
  }

  /** How often this has happened in the guest so far. */
  read(name: Total): bigint {
    return this.inPerson(name) + this.#carried[INDEX.get(name)!]!;
  }

  /** The same without what a hypervisor carried out for it: what the processor did while the guest was in control. */
  inPerson(name: Total): bigint {
    const index = INDEX.get(name)!;
    const running = this.#inControl ? this.#state.totals[index]! - this.#before[index]! : 0n;
    return this.#sum[index]! + running;
  }

  save() {
    return {
      sum: [...this.#sum],
      before: [...this.#before],
      inControl: this.#inControl,
      carried: [...this.#carried],
    };
  }

  restore(saved: ReturnType<GuestLedger['save']>): void {
    this.#sum.set(saved.sum);
    this.#before.set(saved.before);
    this.#inControl = saved.inControl;
    this.#carried.set(saved.carried);
  }
}
