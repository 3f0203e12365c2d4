/** Which promise stands behind a number: counted on the model with no error, computed from a model, or published by others. */
export type Standing = 'exact' | 'model' | 'cited';

/** An event as the guest saw it and as it was. */
export interface EventComparison {
  /** The guest's own name for it, region first where it has several. */
  readonly name: string;
  /** What the guest read; absent when it never had a counter for it. */
  readonly read: bigint | undefined;
  /** Whether the guest scaled it up from a part of the time. */
  readonly scaled: boolean;
  /** What happened in the guest between the region's ends; absent where the region did not run. */
  readonly truth: bigint | undefined;
  readonly standing: 'exact' | 'model';
}

/** How often registers of the PMU were reached. */
export interface AccessCount {
  readonly register: string;
  /** By a VM exit. */
  intercepted: number;
  /** By the instruction itself. */
  direct: number;
}

export interface CostLine {
  readonly row: string;
  readonly times: number;
  readonly cycles: number;
  readonly low: number;
  readonly high: number;
  readonly provenance: string;
  readonly source: string;
}

/** One guest on one machine. */
export interface MachineReport {
  readonly machine: string;
  readonly title: string;
  readonly reason: string;
  readonly exitCode: number;
  readonly rip: bigint;
  readonly console: string;
  readonly events: readonly EventComparison[];
  readonly verdicts: { readonly passed: number; readonly failed: number; readonly skipped: number };
  /** VM exits by reason; empty on the bare machine. */
  readonly exits: Readonly<Record<string, number>>;
  readonly accesses: readonly AccessCount[];
  readonly costs: readonly CostLine[];
  /** Instructions the guest retired, and those root-mode software retired on the same CPU. */
  readonly guestInstructions: bigint;
  readonly rootInstructions: bigint;
  /** Ticks of the whole run, and those that passed in root mode. */
  readonly ticks: bigint;
  readonly rootTicks: bigint;
  /** Events the guest selected that the model does not know; they counted 0. */
  readonly unsupported: readonly string[];
  readonly digest: string;
}

/** One guest on several machines. */
export interface Comparison {
  readonly guest: string;
  readonly profile: string;
  readonly counting: 'ideal' | 'silicon';
  readonly machines: readonly MachineReport[];
}

/** Error of a reading in parts per million of the truth, rounded to nearest; `undefined` without a truth above 0. */
export function errorPpm({ read, truth }: EventComparison): bigint | undefined {
  if (read === undefined || truth === undefined || truth === 0n) return undefined;
  const twice = ((read - truth) * 2_000_000n) / truth;
  return (twice + (twice < 0n ? -1n : 1n)) / 2n;
}
