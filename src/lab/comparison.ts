import type { PmuAccess } from '../machine/accesses.ts';
import type { Cost } from '../machine/costs.ts';
import type { Hardware } from '../machine/hardware.ts';
import type { HostEventsReport } from '../machine/host-events.ts';
import type { LossReport } from '../machine/lost-windows.ts';
import type { FaultRecord, RunReason } from '../machine/outcome.ts';
import type { PmiReport } from '../machine/pmi-latency.ts';
import type { Timing } from '../machine/profiles.ts';
import type { Switching } from '../machine/switching.ts';
import type { HostRights } from './host-rights.ts';
import type { LeakReport } from './leak-probe.ts';

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

/** What stands behind every count of a report. */
export interface Counted {
  readonly profile: string;
  /** `ideal`, or `silicon` and what it departs in. */
  readonly counting: string;
  /** Where cycles come from. */
  readonly timing: Timing;
}

/** One guest on one machine. */
export interface MachineReport {
  readonly machine: string;
  readonly title: string;
  readonly counted: Counted;
  readonly reason: RunReason;
  /** What the guest wrote to the debug-exit port. */
  readonly exitValue: number | undefined;
  readonly rip: bigint;
  readonly faults: readonly FaultRecord[];
  readonly console: string;
  readonly events: readonly EventComparison[];
  readonly verdicts: { readonly passed: number; readonly failed: number; readonly skipped: number };
  /** VM exits by reason; empty on the bare machine. */
  readonly exits: Readonly<Record<string, number>>;
  /** Cycles of root mode by the VM exit that led to them; the rest of `rootTicks` lies before the first entry and after the last exit. */
  readonly exitCycles: Readonly<Record<string, number>>;
  readonly accesses: readonly PmuAccess[];
  readonly pmis: PmiReport;
  readonly lost: LossReport;
  /** Events of the host beside the guest, where they were asked for and there is a host. */
  readonly hostEvents?: HostEventsReport;
  /** Ticks of root mode in which no host event could count. */
  readonly blindTicks: bigint;
  /** What small runs of their own found out about the design; absent on the bare machine, and for single runs. */
  readonly probes?: { readonly host: HostRights; readonly leaks: LeakReport };
  readonly costs: readonly Cost[];
  /** What the run loop did; absent on the bare machine. */
  readonly switching: Switching | undefined;
  /** Instructions the guest retired, and those root-mode software retired on the same CPU. */
  readonly guestInstructions: bigint;
  readonly rootInstructions: bigint;
  /** Ticks of the whole run, and those that passed in root mode. */
  readonly ticks: bigint;
  readonly rootTicks: bigint;
  /** Events the guest selected that the model does not know; they counted 0. */
  readonly unsupported: readonly string[];
  /** Of the machine's state when this is first asked for: hashing all its memory takes a while. */
  readonly digest: string;
}

/** One guest on several machines. */
export interface Comparison extends Counted {
  readonly guest: string;
  readonly machines: readonly MachineReport[];
}

/** Error of a reading in parts per million of the truth, rounded to nearest; `undefined` without a truth above 0. */
export function errorPpm({
  read,
  truth,
}: Pick<EventComparison, 'read' | 'truth'>): bigint | undefined {
  if (read === undefined || truth === undefined || truth === 0n) return undefined;
  const twice = ((read - truth) * 2_000_000n) / truth;
  return (twice + (twice < 0n ? -1n : 1n)) / 2n;
}

/** Cycles in root mode if every operation cost the low end, the default and the high end of its row's range. */
export function sensitivity({ costs }: MachineReport): {
  low: number;
  default: number;
  high: number;
} {
  const sum = (each: (cost: Cost) => number) =>
    costs.reduce((cycles, cost) => cycles + each(cost) * cost.times, 0);
  return {
    low: sum(({ low }) => low),
    default: sum((cost) => cost.each),
    high: sum(({ high }) => high),
  };
}

/** What stands behind the counts, as every report says it. */
export const countedText = ({ profile, counting, timing }: Counted): string =>
  `profile ${profile}, ${counting} counting, ${timing} timing`;

export const counted = ({ profile, current: { pmu } }: Hardware): Counted => ({
  profile: profile.name,
  counting: pmu.counting,
  timing: pmu.timing,
});
