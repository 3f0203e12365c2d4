import type { MsrBus } from '../msr/bus.ts';
import type { Slot } from './slot.ts';

/** Event-based sampling of either kind, as the counters see it. `Saved` is plain data. */
export interface Sampler<Saved = unknown> {
  /** The counters that sample, by their bits of the global registers. */
  readonly enabled: bigint;
  /** The bit of IA32_PERF_GLOBAL_STATUS that says that its buffer has reached the threshold. */
  readonly threshold: bigint;
  attach(bus: MsrBus): void;
  /** A sampling counter has moved: writes the record that is due. @returns whether the buffer has reached its threshold */
  moved(slot: Slot, wrapped: boolean): boolean;
  reset(): void;
  save(): Saved;
  restore(saved: Saved): void;
}

/**
 * Whether a counter that moved has a record due: with precise distribution the overflowing event is recorded,
 * otherwise the next one.
 */
export function isDue(slot: Slot, wrapped: boolean, precise: boolean): boolean {
  const later = wrapped && slot.counter.value > 0n;
  const due = slot.recordsNext || later || (wrapped && precise);
  slot.recordsNext = wrapped && !due;
  return due;
}

export function quadwords(values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setBigUint64(8 * i, value, true);
  });
  return bytes;
}
