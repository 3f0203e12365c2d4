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
import type { RunResult } from '../machine/outcome.ts';
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
  /** Where a guest that has not ended is left. */
  readonly budget?: Budget;
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

/**
 * Counts events of a guest as `perf stat` does: on the bare machine by the machine itself, else by host perf on the
 * vCPU's thread, on the counters that the vPMU design leaves it. @throws CounterpointError, EventSyntaxError
 */
export function stat(image: Uint8Array, options: StatOptions = {}): Stat {
  const { machine = 'bare', profile = 'sapphire-rapids', of = 'guest' } = options;
  const { budget = DEFAULT_BUDGET, boot = {} } = options;
  if (machine === 'bare' && of !== 'guest') {
    throw new CounterpointError(
      'no-host',
      `the bare machine has no host whose ${of} perf could watch`,
    );
  }
  const events = readEvents(options.events ?? DEFAULT_EVENTS, profile);
  const asked = { ...options, machine, profile, budget, boot, of };
  return machine === 'bare' ? onBareMachine(image, events, asked) : onHost(image, events, asked);
}

/** The options with what is understood. */
type Asked = StatOptions &
  Required<Pick<StatOptions, 'machine' | 'profile' | 'budget' | 'boot' | 'of'>>;

function onBareMachine(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { profile, timing, deviations, memory, budget, boot }: Asked,
): Stat {
  const machine = createMachine(image, {
    profile,
    ...(timing && { timing }),
    ...(deviations && { deviations }),
    ...(memory !== undefined && { memory }),
    boot,
  });
  const truths = new EventTruth(machine.hardware, events);
  const end = machine.run(budget);
  const { ticks } = end;
  const truth = events.map((event) => truths.count(event, [machine.ledger]));
  const time = nanoseconds(ticks);
  const lines = events.map(({ name }, i) => ({
    event: name,
    value: truth[i] ?? ('unsupported' as const),
    enabled: time,
    running: time,
  }));
  const seconds = Number(ticks) / TICKS_PER_SECOND;
  return {
    lines: withMetrics(lines),
    truth,
    seconds,
    refused: [],
    end,
    counted: counted(machine.hardware),
  };
}

function onHost(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { machine, profile, timing, deviations, memory: size, budget, boot, of }: Asked,
): Stat {
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
  const end = runGuest(host, guest, budget);
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
  // Where the budget ends the guest is still running: who reads interrupts it.
  const lines = host.kernel.onCpu(0, () => events.map(line));
  return {
    lines: withMetrics(lines),
    truth: events.map((event) => truths.count(event, guest.ledgers)),
    seconds: Number(host.hosts[0]!.now()) / TICKS_PER_SECOND,
    refused,
    end,
    counted: counted(host.hardware),
  };
}

/** Lets the host run until its guest has ended or the budget is used up. */
function runGuest(host: HostMachine, guest: HostedProgram, budget: Budget): GuestEnd {
  const stillness = new Stillness();
  for (;;) {
    const reason = guest.end;
    const spent = { instructions: guest.truth('instructions'), ticks: host.hosts[0]!.now() };
    const left = leftOf(budget, spent);
    const over = isUsedUp(left) ? 'budget' : stillness.lasts(spent) ? 'halted-forever' : undefined;
    if (reason ?? over) {
      const { exitValue } = guest.board;
      const { rip, host: on } = guest.vcpu;
      const { tripleFault } = host.hardware.processors[on.id]!.cpu;
      const faults = reason === 'triple-fault' ? tripleFault : [];
      return { reason: (reason ?? over)!, exitValue, rip, faults };
    }
    host.run(Number(runningLeft(left)), () => guest.end !== undefined);
  }
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
