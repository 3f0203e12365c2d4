import { CounterpointError } from '../bits/error.ts';
import { exitsByReason, PmuAccesses } from '../machine/accesses.ts';
import { costs } from '../machine/costs.ts';
import { type CreateOptions, createMachine, MACHINES } from '../machine/create.ts';
import { GroundTruth } from '../machine/ground-truth.ts';
import { switching } from '../machine/switching.ts';
import { ChromeTrace } from './chrome-trace.ts';
import type { Comparison, EventComparison, MachineReport } from './comparison.ts';
import { GUEST_EVENTS, readingOf } from './guest-events.ts';
import { type Reading, readings, verdicts } from './readings.ts';

/** What a comparison is made of. */
export interface CompareOptions extends Omit<CreateOptions, 'machine' | 'observer' | 'onOutput'> {
  /** The guest's name, for the report. */
  readonly name: string;
  readonly machines?: readonly string[];
  /** Instructions after which a guest that has not ended is stopped. */
  readonly maxInstructions?: bigint;
  /** Hears which machine is about to run. */
  readonly onMachine?: (machine: string) => void;
  /** Gets the trace of each virtual machine. */
  readonly onTrace?: (trace: ChromeTrace) => void;
}

export const COMPARED = ['bare', 'emulated', 'passthrough'] as const;
export const DEFAULT_BUDGET = 2_000_000_000n;

/** Runs the same image on each machine and sets side by side what it read and what was true. */
export function compare(image: Uint8Array, options: CompareOptions): Comparison {
  const {
    name,
    machines = COMPARED,
    onMachine,
    onTrace,
    maxInstructions = DEFAULT_BUDGET,
    ...create
  } = options;
  if (machines.length === 0)
    throw new CounterpointError('no-machine', 'there is no machine to compare on');
  const reports = machines.map((machine, pid) => {
    onMachine?.(machine);
    const trace =
      onTrace && machine !== 'bare'
        ? new ChromeTrace({ pid, name: `${name} on ${machine}` })
        : undefined;
    const report = runOn(image, machine, maxInstructions, create, trace);
    if (trace) onTrace?.(trace);
    return report;
  });
  return {
    guest: name,
    profile: options.profile ?? 'sapphire-rapids',
    counting: 'ideal',
    machines: reports,
  };
}

/** One guest on one machine, with everything there is to tell of the run. */
export function runOn(
  image: Uint8Array,
  machine: string,
  maxInstructions: bigint,
  options: Omit<CreateOptions, 'machine'>,
  trace?: ChromeTrace,
): MachineReport {
  const built = createMachine(image, {
    ...options,
    machine,
    ...(trace && { observer: trace.observer }),
  });
  trace?.start(() => built.hardware.current.state.total('ticks'));
  const truth = new GroundTruth(built, Object.values(GUEST_EVENTS));
  const accesses = new PmuAccesses(built);
  const result = built.run({ maxInstructions });
  const { console } = built.board;
  const said = verdicts(console);
  const { state, pmu } = built.hardware.current;
  const account = costs(built);
  return {
    machine,
    title: MACHINES[machine] ?? MACHINES['mediated']!,
    reason: result.reason,
    exitValue: result.exitValue,
    rip: result.rip,
    faults: result.faults,
    console,
    events: events(
      readings(console),
      built.regions.map((region) => region.name),
      truth,
    ),
    verdicts: {
      passed: said.passed.length,
      failed: said.failed.length,
      skipped: said.skipped.length,
    },
    exits: exitsByReason(built),
    accesses: accesses.list(),
    costs: account,
    switching: switching(built),
    guestInstructions: result.instructions,
    rootInstructions:
      state.total('instructions') - built.ledger.read('instructions') + built.ledger.retired,
    ticks: result.ticks,
    rootTicks: BigInt(account.reduce((sum, { cycles }) => sum + cycles, 0)),
    unsupported: pmu
      .unsupportedEvents()
      .map(({ event, umask }) => `event ${event.toString(16)}H umask ${umask.toString(16)}H`),
    digest: result.digest,
  };
}

/** What the guest finally made of each event: its estimate where it scaled, otherwise the counter as read. */
function events(
  all: readonly Reading[],
  regions: readonly string[],
  truth: GroundTruth,
): EventComparison[] {
  const told = all.filter(({ kind }) => kind === 'read' || kind === 'scaled');
  return told.flatMap(({ kind, name, value }) => {
    const reading = readingOf(name, regions);
    if (!reading) return [];
    const { region, event, umask } = reading;
    const known = truth.count(region, event, umask);
    return [
      {
        name,
        read: value,
        scaled: kind === 'scaled',
        truth: known?.count,
        standing: known?.exactness ?? 'exact',
      },
    ];
  });
}
