import { CounterpointError } from '../bits/error.ts';
import type { Budget } from '../machine/budget.ts';
import { readEvents } from '../machine/event-list.ts';
import type { BootOptions } from '../machine/guest-image.ts';
import type { RunResult } from '../machine/outcome.ts';
import type { Deviations, Timing } from '../machine/profiles.ts';
import type { Counted } from './comparison.ts';
import type { StatLine } from './perf-stat.ts';
import { statOnBareMachine } from './stat-on-bare.ts';
import { statOnHost } from './stat-on-host.ts';

/** What `perf stat` on the host says of a guest's thread, and what was true. */
export interface Stat {
  readonly lines: readonly StatLine[];
  /** Exact counts in the guest alone, in the order of the lines; `undefined` where there is none (`EventTruth.count`). */
  readonly truth: readonly (bigint | undefined)[];
  /** Of the virtual clock. */
  readonly seconds: number;
  /** What perf refused, in perf's words. */
  readonly refused: readonly string[];
  /** How the guest ended; at the budget it did not. */
  readonly end: GuestEnd;
  readonly counted: Counted;
}

export type GuestEnd = Pick<RunResult, 'reason' | 'exitValue' | 'rip' | 'faults'>;

export interface StatOptions {
  readonly events?: string;
  readonly machine?: string;
  readonly profile?: string;
  /** Whose events: the vCPU's thread, a host program that takes turns with it, or all of the processor (`perf stat -a`). */
  readonly of?: Observed;
  readonly timing?: Timing;
  readonly deviations?: Deviations;
  /** Bytes of RAM for the guest. */
  readonly memory?: number;
  /** In a VM the guest has VMX and may be a hypervisor. */
  readonly nested?: boolean;
  readonly boot?: BootOptions;
}

/** What host perf can be asked to watch. */
export const OBSERVED = ['guest', 'program', 'cpu'] as const;
export type Observed = (typeof OBSERVED)[number];

export const DEFAULT_EVENTS = 'cycles,instructions,branches';
const DEFAULT_BUDGET: Budget = { maxInstructions: 2_000_000_000n };

/** A guest whose events are counted, advanced in steps; how it cuts its run changes nothing of it. */
export interface StatRun {
  readonly spent: { readonly instructions: bigint; readonly ticks: bigint };
  /** Runs until the guest ends or the budget is used up. Whether only the budget stopped it. */
  advance(budget: Budget): boolean;
  /** What was counted so far. @throws RangeError before the first advance */
  report(): Stat;
}

/**
 * Counts events of a guest as `perf stat` does: on the bare machine by the machine itself, else by host perf on the
 * vCPU's thread, on the counters that the vPMU design leaves it. @throws CounterpointError, EventSyntaxError
 */
export function startStat(image: Uint8Array, options: StatOptions = {}): StatRun {
  const { machine = 'bare', profile = 'sapphire-rapids', of = 'guest', boot = {} } = options;
  if (machine === 'bare' && of !== 'guest') {
    throw new CounterpointError(
      'no-host',
      `the bare machine has no host whose ${of} perf could watch`,
    );
  }
  const events = readEvents(options.events ?? DEFAULT_EVENTS, profile);
  const asked = { ...options, machine, profile, boot, of };
  return machine === 'bare'
    ? statOnBareMachine(image, events, asked)
    : statOnHost(image, events, asked);
}

/** The same, to the guest's end or its budget. */
export function stat(
  image: Uint8Array,
  { budget = DEFAULT_BUDGET, ...options }: StatOptions & { readonly budget?: Budget } = {},
): Stat {
  const run = startStat(image, options);
  run.advance(budget);
  return run.report();
}

/** The options with what is understood. */
export type Asked = StatOptions &
  Required<Pick<StatOptions, 'machine' | 'profile' | 'boot' | 'of'>>;
