/** The library: machines, guests, comparisons. 64-bit values are `bigint`; images are `Uint8Array`. */
export { CounterpointError } from './bits/error.ts';
export { type CompareOptions, compare, runOn } from './lab/compare.ts';
export type { Comparison, EventComparison, MachineReport } from './lab/comparison.ts';
export { GUESTS, openGuest } from './lab/guests.ts';
export { readings, verdicts } from './lab/readings.ts';
export { type CreateOptions, createMachine, ENGINES, MACHINES } from './machine/create.ts';
export { GroundTruth, type Truth } from './machine/ground-truth.ts';
export type { Machine } from './machine/machine.ts';
export type { RunReason, RunResult } from './machine/outcome.ts';
export { PROFILES } from './machine/profiles.ts';
