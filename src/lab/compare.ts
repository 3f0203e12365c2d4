import { CounterpointError } from '../bits/error.ts';
import { cyclesByReason, exitsByReason, PmuAccesses } from '../machine/accesses.ts';
import { BlindTime } from '../machine/blind-time.ts';
import type { Budget } from '../machine/budget.ts';
import { costs } from '../machine/costs.ts';
import {
  type CreateOptions,
  createMachine,
  designNamed,
  MACHINES,
  type ResumeOptions,
  resumeMachine,
} from '../machine/create.ts';
import { type RequestedEvent, readEvents } from '../machine/event-list.ts';
import { GroundTruth } from '../machine/ground-truth.ts';
import { HostEvents } from '../machine/host-events.ts';
import { LostWindows } from '../machine/lost-windows.ts';
import type { Machine } from '../machine/machine.ts';
import type { RunResult } from '../machine/outcome.ts';
import { PmiLatency } from '../machine/pmi-latency.ts';
import { ReferencePmu } from '../machine/reference-pmu.ts';
import { readSnapshot, saveSnapshot } from '../machine/snapshot.ts';
import { switching } from '../machine/switching.ts';
import { VirtualMachine } from '../machine/virtual.ts';
import { ChromeTrace } from './chrome-trace.ts';
import {
  type Comparison,
  counted,
  type EventComparison,
  type MachineReport,
} from './comparison.ts';
import { GUEST_EVENTS, readingOf } from './guest-events.ts';
import { hostRights } from './host-rights.ts';
import { findLeaks } from './leak-probe.ts';
import { type Reading, readings, verdicts } from './readings.ts';

/** What a comparison is made of. */
export interface CompareOptions extends Omit<CreateOptions, 'machine' | 'observer' | 'onOutput'> {
  /** The guest's name, for the report. */
  readonly name: string;
  readonly machines?: readonly string[];
  /** Events of the host on all processors, opened beside each VM: a list as perf takes it. */
  readonly hostEvents?: string;
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
    hostEvents: events,
    maxInstructions = DEFAULT_BUDGET,
    ...create
  } = options;
  const hostEvents = events === undefined ? [] : readEvents(events, create.profile ?? PROFILE);
  if (machines.length === 0)
    throw new CounterpointError('no-machine', 'there is no machine to compare on');
  const reports = machines.map((machine, pid) => {
    onMachine?.(machine);
    const trace =
      onTrace && machine !== 'bare'
        ? new ChromeTrace({ pid, name: `${name} on ${machine}` })
        : undefined;
    const report = runOn(image, machine, maxInstructions, create, { trace, hostEvents });
    if (trace) onTrace?.(trace);
    return machine === 'bare' ? report : { ...report, probes: probes(machine, create.profile) };
  });
  return { guest: name, ...reports[0]!.counted, machines: reports };
}

/** The processor unless told. */
const PROFILE = 'sapphire-rapids';

function probes(machine: string, profile = PROFILE) {
  const design = designNamed(machine);
  return { host: hostRights(design, profile), leaks: findLeaks(design, profile) };
}

/** One guest on one machine, run to its end or its budget, with everything there is to tell of it. */
export function runOn(
  image: Uint8Array,
  machine: string,
  maxInstructions: bigint,
  options: Omit<CreateOptions, 'machine'>,
  beside: Beside = {},
): MachineReport {
  const run = GuestRun.start(image, machine, options, beside);
  run.advance({ maxInstructions });
  return run.report();
}

/** What goes on beside the guest. */
interface Beside {
  readonly trace?: ChromeTrace | undefined;
  /** Events of the host, on a machine that has one. */
  readonly hostEvents?: readonly RequestedEvent[];
}

/** What a run has observed so far. */
interface Watched {
  readonly truth: ReturnType<GroundTruth['save']>;
  readonly accesses: ReturnType<PmuAccesses['save']>;
  readonly pmis: ReturnType<PmiLatency['save']>;
  readonly lost: ReturnType<LostWindows['save']>;
  readonly blind: ReturnType<BlindTime['save']>;
  readonly reference: ReturnType<ReferencePmu['save']>;
}

/** One guest on one machine, advanced in steps; a report can be had after each. */
export class GuestRun {
  readonly #name: string;
  readonly #machine: Machine;
  readonly #truth: GroundTruth;
  readonly #accesses: PmuAccesses;
  readonly #pmis: PmiLatency;
  readonly #lost: LostWindows;
  readonly #blind: BlindTime;
  readonly #reference: ReferencePmu;
  readonly #host: HostEvents | undefined;
  #result: RunResult | undefined;

  private constructor(machine: Machine, name: string, hostEvents: readonly RequestedEvent[] = []) {
    this.#name = name;
    this.#machine = machine;
    this.#truth = new GroundTruth(machine, Object.values(GUEST_EVENTS));
    this.#accesses = new PmuAccesses(machine);
    this.#pmis = new PmiLatency(machine);
    this.#lost = new LostWindows(machine);
    this.#blind = new BlindTime(machine);
    this.#reference = new ReferencePmu(machine, {
      tell: (access) => this.#lost.access(access),
      pmi: () => this.#pmis.due(),
    });
    const beside = machine instanceof VirtualMachine && hostEvents.length > 0;
    this.#host = beside ? new HostEvents(machine, hostEvents) : undefined;
  }

  /** @throws CounterpointError, ImageError */
  static start(
    image: Uint8Array,
    machine: string,
    options: Omit<CreateOptions, 'machine'>,
    { trace, hostEvents = [] }: Beside = {},
  ): GuestRun {
    const observer = trace && { observer: trace.observer };
    const made = createMachine(image, { ...options, machine, ...observer });
    const { hardware } = made;
    trace?.start(() => hardware.current.state.total('ticks'));
    return new GuestRun(made, machine, hostEvents);
  }

  /** Goes on from a snapshot file. @throws CounterpointError `snapshot-…` */
  static resume(bytes: Uint8Array, options: ResumeOptions = {}): GuestRun {
    const snapshot = readSnapshot(bytes);
    const run = new GuestRun(resumeMachine(snapshot, options), snapshot.recipe.machine);
    if (snapshot.extra) run.#watchOn(snapshot.extra as Watched);
    return run;
  }

  /** The run as it stands, as a snapshot file. */
  snapshot(): Uint8Array {
    const watched: Watched = {
      truth: this.#truth.save(),
      accesses: this.#accesses.save(),
      pmis: this.#pmis.save(),
      lost: this.#lost.save(),
      blind: this.#blind.save(),
      reference: this.#reference.save(),
    };
    return saveSnapshot(this.#machine, watched);
  }

  #watchOn({ truth, accesses, pmis, lost, blind, reference }: Watched): void {
    this.#truth.restore(truth);
    this.#accesses.restore(accesses);
    this.#pmis.restore(pmis);
    this.#lost.restore(lost);
    this.#blind.restore(blind);
    this.#reference.restore(reference);
  }

  get spent(): Machine['spent'] {
    return this.#machine.spent;
  }

  get machine(): Machine {
    return this.#machine;
  }

  /** Runs until the guest ends or the budget is used up. Whether only the budget stopped it. */
  advance(budget: Budget): boolean {
    this.#result = this.#machine.run(budget);
    return this.#result.reason === 'budget';
  }

  /** Everything there is to tell so far. @throws RangeError before the first advance */
  report(): MachineReport {
    const machine = this.#machine;
    const result = this.#result;
    if (!result) throw new RangeError('nothing has run yet');
    const { console } = machine.board;
    const said = verdicts(console);
    const { pmu } = machine.hardware.current;
    const account = costs(machine);
    let digest: string | undefined;
    return {
      machine: this.#name,
      title: MACHINES[this.#name] ?? MACHINES['mediated']!,
      counted: counted(machine.hardware),
      reason: result.reason,
      exitValue: result.exitValue,
      rip: result.rip,
      faults: result.faults,
      console,
      events: events(
        readings(console),
        machine.regions.map((region) => region.name),
        this.#truth,
      ),
      verdicts: {
        passed: said.passed.length,
        failed: said.failed.length,
        skipped: said.skipped.length,
      },
      exits: exitsByReason(machine),
      exitCycles: cyclesByReason(machine),
      accesses: this.#accesses.list(),
      pmis: this.#pmis.report(),
      lost: this.#lost.report(),
      blindTicks: this.#blind.ticks,
      costs: account,
      switching: switching(machine),
      guestInstructions: result.instructions,
      rootInstructions: machine.hardware.processors.reduce(
        (sum, { state }, id) =>
          sum + state.total('instructions') - machine.ledgers[id]!.inPerson('instructions'),
        0n,
      ),
      ticks: result.ticks,
      rootTicks: BigInt(account.reduce((sum, { cycles }) => sum + cycles, 0)),
      unsupported: pmu
        .unsupportedEvents()
        .map(({ event, umask }) => `event ${event.toString(16)}H umask ${umask.toString(16)}H`),
      // Reading them is work of the host's own, which comes last.
      ...(this.#host && { hostEvents: this.#host.read() }),
      get digest() {
        digest ??= result.digest();
        return digest;
      },
    };
  }
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
