import { isSet } from '../bits/bitfield.ts';
import { INUSE_PMI, selectMask } from '../msr/pmu.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import type { EventChoice } from './event-choice.ts';
import type { Totals } from './ports.ts';
import { type Slot, slots } from './slot.ts';

/** What the counters need to resume; plain data. */
export type SavedCounters = readonly {
  readonly value: bigint;
  readonly control: bigint;
  readonly causes: bigint;
  readonly config: bigint;
  readonly recordsNext: boolean;
}[];

/** What of the counters' controls lies 32 bits above their four in IA32_FIXED_CTR_CTRL. */
const FIXED_PART = 0xf_0000_000fn;

/** The counters of a PMU with what their own registers tell them to do; whether they count is not theirs to say. */
export class CounterBank {
  readonly gp: ReadonlyMap<number, Slot>;
  readonly fixed: ReadonlyMap<number, Slot>;
  readonly all: readonly Slot[];
  /** Bits that IA32_PERFEVTSELx has, by counter. */
  readonly #selectable: ReadonlyMap<Slot, bigint>;
  readonly #choice: EventChoice;

  constructor(shape: PmuShape, totals: Totals, choice: EventChoice) {
    const { gp, fixed } = slots(shape, totals);
    this.gp = gp;
    this.fixed = fixed;
    this.all = [...gp.values(), ...fixed.values()];
    this.#selectable = new Map(
      [...gp.values()].map((slot) => [slot, selectMask(shape, slot.index)]),
    );
    this.#choice = choice;
  }

  load(slot: Slot, value: bigint): void {
    slot.counter.load(value);
    slot.recordsNext = false;
  }

  /** Whether IA32_PERFEVTSELx of this counter has all of these bits. */
  maySelect(slot: Slot, value: bigint): boolean {
    return (value & ~this.#selectable.get(slot)!) === 0n;
  }

  select(slot: Slot, control: bigint): void {
    slot.control = control;
    this.#choice.choose(slot);
  }

  /** IA32_FIXED_CTR_CTRL: four bits for each counter, and those that lie 32 above them. */
  get fixedControl(): bigint {
    let control = 0n;
    for (const { index, control: part } of this.fixed.values()) {
      control |= part << BigInt(4 * index);
    }
    return control;
  }

  set fixedControl(control: bigint) {
    for (const slot of this.fixed.values()) {
      this.select(slot, (control >> BigInt(4 * slot.index)) & FIXED_PART);
    }
  }

  /** What fixed counter 3 holds: the slots that MSR_PERF_METRICS are fractions of. */
  get slotsCounted(): bigint {
    return this.fixed.get(3)?.counter.value ?? 0n;
  }

  /** IA32_PERF_GLOBAL_INUSE, given the counters that sample. */
  inUse(sampling: bigint): bigint {
    return this.all.reduce((inUse, slot) => {
      const used = slot.inUse ? slot.mask : 0n;
      const asks = slot.asksForPmi || isSet(sampling, slot.mask);
      return inUse | used | (asks ? INUSE_PMI : 0n);
    }, 0n);
  }

  clear(): void {
    for (const slot of this.all) {
      this.load(slot, 0n);
      this.select(slot, 0n);
      slot.causes = 0n;
      slot.config = 0n;
    }
  }

  save(): SavedCounters {
    return this.all.map(({ counter, control, causes, config, recordsNext }) => ({
      value: counter.value,
      control,
      causes,
      config,
      recordsNext,
    }));
  }

  restore(saved: SavedCounters): void {
    this.all.forEach((slot, i) => {
      const { value, control, causes, config, recordsNext } = saved[i]!;
      slot.counter.load(value);
      slot.recordsNext = recordsNext;
      slot.causes = causes;
      slot.config = config;
      if (slot.control !== control) this.select(slot, control);
    });
  }
}
