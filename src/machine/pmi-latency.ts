import type { LocalApic } from '../apic/local-apic.ts';
import { DELIVERY } from '../apic/message.ts';
import type { Machine } from './machine.ts';
import { VirtualMachine } from './virtual.ts';

/** Smallest, middle and largest of some numbers; of an even number of them the lower middle. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** PMIs from the wrap of a counter to the guest's handler. Exact, but for the ticks that root mode is supposed to take. */
export interface PmiReport {
  /** Wraps that had to interrupt: INT set, LVTPC unmasked, none on its way yet. */
  readonly due: number;
  readonly delivered: number;
  /** Delivered without a wrap of the guest's own. */
  readonly unexpected: number;
  /** Guest instructions retired, and ticks passed, between wrap and handler; absent without a PMI. */
  readonly instructions: Spread | undefined;
  readonly ticks: Spread | undefined;
}

const VECTOR = 0xff;
const MASKED = 0x1_0000;
const VALID = 0x8000_0000;
const NMI_TYPE = 2;

const modeOf = (lvt: number): number => (lvt >> 8) & 7;

/** Watches PMIs of the guest's first processor come due and arrive. */
export class PmiLatency {
  readonly #machine: Machine;
  readonly #apic: LocalApic;
  #pending: { instructions: bigint; ticks: bigint } | undefined;
  #due = 0;
  #unexpected = 0;
  #instructions: number[] = [];
  #ticks: number[] = [];

  /** Attach before the guest runs. */
  constructor(machine: Machine) {
    this.#machine = machine;
    if (machine instanceof VirtualMachine) {
      this.#apic = machine.vcpu.apic;
      machine.watch({
        entry: ({ vcpu, interruption }) => {
          if (vcpu === 0) this.#entered(interruption);
        },
        // A guest hypervisor takes it by an exit of its guest.
        nestedReflection: ({ vcpu, interruption }) => {
          if (vcpu === 0) this.#entered(interruption);
        },
      });
    } else {
      this.#apic = machine.hardware.processors[0]!.apic;
      machine.hardware.processors[0]!.onInterrupt = (interrupt) => this.#taken(interrupt);
    }
  }

  /** A counter that is to interrupt has wrapped just now. */
  due(): void {
    if (this.#pending || (this.#apic.lvtPmi & MASKED) !== 0) return;
    this.#due += 1;
    this.#pending = this.#now();
  }

  report(): PmiReport {
    return {
      due: this.#due,
      delivered: this.#instructions.length + this.#unexpected,
      unexpected: this.#unexpected,
      instructions: spread(this.#instructions),
      ticks: spread(this.#ticks),
    };
  }

  save() {
    return {
      pending: this.#pending,
      due: this.#due,
      unexpected: this.#unexpected,
      instructions: [...this.#instructions],
      ticks: [...this.#ticks],
    };
  }

  restore(saved: ReturnType<PmiLatency['save']>): void {
    this.#pending = saved.pending;
    this.#due = saved.due;
    this.#unexpected = saved.unexpected;
    this.#instructions = [...saved.instructions];
    this.#ticks = [...saved.ticks];
  }

  #now() {
    const { ledger, hardware } = this.#machine;
    return {
      instructions: ledger.read('instructions'),
      ticks: hardware.processors[0]!.state.total('ticks'),
    };
  }

  #entered(interruption: number): void {
    if ((interruption & VALID) === 0) return;
    const type = (interruption >> 8) & 7;
    if (type === NMI_TYPE) this.#taken('NMI');
    else if (type === 0) this.#taken(interruption & VECTOR);
  }

  /** LVTPC was masked when it sent what now arrives. */
  #taken(interrupt: number | 'NMI'): void {
    const lvt = this.#apic.lvtPmi;
    const wanted = modeOf(lvt) === DELIVERY.NMI ? 'NMI' : lvt & VECTOR;
    if (interrupt !== wanted || (lvt & MASKED) === 0) return;
    const from = this.#pending;
    this.#pending = undefined;
    if (!from) {
      this.#unexpected += 1;
      return;
    }
    const to = this.#now();
    this.#instructions.push(Number(to.instructions - from.instructions));
    this.#ticks.push(Number(to.ticks - from.ticks));
  }
}

function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return {
    min: sorted[0]!,
    median: sorted[(sorted.length - 1) >> 1]!,
    max: sorted[sorted.length - 1]!,
  };
}
