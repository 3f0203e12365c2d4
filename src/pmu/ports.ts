import type { Total } from './totals.ts';

/** The monotone event totals of the CPU the PMU belongs to, without the instruction that is executing. */
export interface Totals {
  read(name: Total): bigint;
}

/** What a PMU asks of the core it counts for. */
export interface PmuCore {
  /** What counts, or until when, has changed: ask for the horizon again. */
  changed(): void;
  /** These totals, and of the dynamic ones no others, must be kept from the current instruction's retirement on. */
  arm(names: readonly Total[]): void;
}
