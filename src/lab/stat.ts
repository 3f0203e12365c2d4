import { CounterpointError } from '../bits/error.ts';
import { perfOptionsOf } from '../kvm/vpmu/designs.ts';
import { type Budget, isUsedUp, leftOf, runningLeft, Stillness } from '../machine/budget.ts';
import { createMachine, designNamed, memoryFor } from '../machine/create.ts';
import {
  attributesOf,
  EventTruth,
  type RequestedEvent,
  readEvents,
} from '../machine/event-list.ts';
import { type BootOptions, readGuestImage } from '../machine/guest-image.ts';
import { type HostedProgram, HostMachine } from '../machine/host-machine.ts';
import type { RunReason, RunResult } from '../machine/outcome.ts';
import type { Deviations, Timing } from '../machine/profiles.ts';
import { profileNamed, shaped } from '../machine/profiles.ts';
import { PerfError } from '../perf/error.ts';
import { type PerfTarget, scaled } from '../perf/perf.ts';
import { type Counted, counted } from './comparison.ts';
import type { StatLine } from './perf-stat.ts';

/** What `perf stat` on the host says of a guest's thread, and what was true. */
export interface Stat {
  readonly lines: readonly StatLine[];
  /** Exact counts in the guest alone, in the order of the lines; `undefined` where the model has no such event. */
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
  readonly boot?: BootOptions;
}

/** What host perf can be asked to watch. */
export const OBSERVED = ['guest', 'program', 'cpu'] as const;
export type Observed = (typeof OBSERVED)[number];

export const DEFAULT_EVENTS = 'cycles,instructions,branches';
const DEFAULT_BUDGET: Budget = { maxInstructions: 2_000_000_000n };
const TICKS_PER_SECOND = 3_000_000_000;

/** A host program of two cycles an instruction, as root-mode work is. */
const PROGRAM = { ticks: 2_000, instructions: 1_000 } as const;

/** Ticks in nanoseconds of the virtual clock. */
const nanoseconds = (ticks: bigint): bigint => (ticks * 1_000_000_000n) / BigInt(TICKS_PER_SECOND);

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
  return machine === 'bare' ? onBareMachine(image, events, asked) : onHost(image, events, asked);
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
type Asked = StatOptions & Required<Pick<StatOptions, 'machine' | 'profile' | 'boot' | 'of'>>;

function onBareMachine(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { profile, timing, deviations, memory, boot }: Asked,
): StatRun {
  const machine = createMachine(image, {
    profile,
    ...(timing && { timing }),
    ...(deviations && { deviations }),
    ...(memory !== undefined && { memory }),
    boot,
  });
  const truths = new EventTruth(machine.hardware, events);
  let end: RunResult | undefined;
  return {
    get spent() {
      return machine.spent;
    },
    advance(budget) {
      end = machine.run(budget);
      return end.reason === 'budget';
    },
    report() {
      if (!end) throw new RangeError('nothing has run yet');
      const truth = events.map((event) => truths.count(event, [machine.ledger]));
      const time = nanoseconds(end.ticks);
      const lines = events.map(({ name }, i) => ({
        event: name,
        value: truth[i] ?? ('unsupported' as const),
        enabled: time,
        running: time,
      }));
      return {
        lines: withMetrics(lines),
        truth,
        seconds: Number(end.ticks) / TICKS_PER_SECOND,
        refused: [],
        end,
        counted: counted(machine.hardware),
      };
    },
  };
}

function onHost(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { machine, profile, timing, deviations, memory: size, boot, of }: Asked,
): StatRun {
  const design = designNamed(machine);
  const code = readGuestImage(image, boot);
  const memory = memoryFor(code, size);
  const host = new HostMachine({
    guestsMemory: memory,
    profile: shaped(profileNamed(profile), { timing, deviations }),
    perf: perfOptionsOf(design),
  });
  const truths = new EventTruth(host.hardware, events);
  const guest = host.start({
    code,
    memory,
    design,
    name: 'guest',
  });
  const target: PerfTarget =
    of === 'cpu'
      ? { cpu: 0 }
      : {
          task: of === 'guest' ? guest.vcpu.task : host.startProgram('host program', PROGRAM).task,
        };
  const refused: string[] = [];
  const opened = events.map((event) => {
    if (!event.row) return undefined;
    try {
      return host.perf.create(attributesOf(event), target);
    } catch (error) {
      if (!(error instanceof PerfError)) throw error;
      refused.push(`${event.name}: ${error.message}`);
      return undefined;
    }
  });
  const line = ({ name }: RequestedEvent, i: number): StatLine => {
    const event = opened[i];
    if (!event) return { event: name, value: 'unsupported', enabled: 0n, running: 0n };
    const reading = host.perf.read(event);
    if (!reading) return { event: name, value: undefined, enabled: 0n, running: 0n };
    return {
      event: name,
      value: reading.running === 0n ? undefined : scaled(reading),
      enabled: nanoseconds(reading.enabled),
      running: nanoseconds(reading.running),
    };
  };
  const stillness = new Stillness();
  let end: GuestEnd | undefined;
  const run: StatRun = {
    get spent() {
      return { instructions: guest.truth('instructions'), ticks: host.hosts[0]!.now() };
    },
    advance(budget) {
      for (;;) {
        const left = leftOf(budget, run.spent);
        const reason =
          guest.end ??
          (isUsedUp(left) ? 'budget' : stillness.lasts(run.spent) ? 'halted-forever' : undefined);
        if (reason) {
          end = endOf(host, guest, reason);
          return reason === 'budget';
        }
        host.run(Number(runningLeft(left)), () => guest.end !== undefined);
      }
    },
    report() {
      if (!end) throw new RangeError('nothing has run yet');
      return {
        // Where a budget ends the guest is still running: who reads interrupts it.
        lines: withMetrics(host.kernel.onCpu(0, () => events.map(line))),
        truth: events.map((event) => truths.count(event, guest.ledgers)),
        seconds: Number(host.hosts[0]!.now()) / TICKS_PER_SECOND,
        refused,
        end,
        counted: counted(host.hardware),
      };
    },
  };
  return run;
}

function endOf(host: HostMachine, guest: HostedProgram, reason: RunReason): GuestEnd {
  const { rip, host: on } = guest.vcpu;
  const { tripleFault } = host.hardware.processors[on.id]!.cpu;
  const faults = reason === 'triple-fault' ? tripleFault : [];
  return { reason, exitValue: guest.board.exitValue, rip, faults };
}

/** perf's own ratio: instructions per cycle, where both were counted. */
function withMetrics(lines: readonly StatLine[]): StatLine[] {
  const base = (event: string) => event.replace(/:.*$/, '');
  return lines.map((line) => {
    const cycles = lines.find(({ event }) => /^(cpu-)?cycles$/.test(base(event)))?.value;
    const counted = typeof line.value === 'bigint' && typeof cycles === 'bigint' && cycles > 0n;
    if (base(line.event) !== 'instructions' || !counted) return line;
    const value = Number(((line.value as bigint) * 10_000n) / cycles) / 10_000;
    return { ...line, metric: { value, name: 'insn per cycle' } };
  });
}
