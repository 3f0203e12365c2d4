import { CounterpointError } from '../bits/error.ts';
import { perfOptionsOf } from '../kvm/vpmu/designs.ts';
import { createMachine, designNamed } from '../machine/create.ts';
import {
  attributesOf,
  EventTruth,
  type RequestedEvent,
  readEvents,
} from '../machine/event-list.ts';
import { readGuestImage } from '../machine/guest-image.ts';
import { HostMachine } from '../machine/host-machine.ts';
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
  readonly exitValue: number | undefined;
  readonly counted: Counted;
}

export interface StatOptions {
  readonly events?: string;
  readonly machine?: string;
  readonly profile?: string;
  /** Whose events: the vCPU's thread, a host program that takes turns with it, or all of the processor (`perf stat -a`). */
  readonly of?: Observed;
  readonly timing?: Timing;
  readonly deviations?: Deviations;
  /** Ticks after which a guest that has not ended is given up. */
  readonly maxTicks?: number;
}

/** What host perf can be asked to watch. */
export const OBSERVED = ['guest', 'program', 'cpu'] as const;
export type Observed = (typeof OBSERVED)[number];

export const DEFAULT_EVENTS = 'cycles,instructions,branches';
const DEFAULT_TICKS = 4_000_000_000;
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
  const { machine = 'bare', profile = 'sapphire-rapids', maxTicks = DEFAULT_TICKS } = options;
  const { of = 'guest' } = options;
  if (machine === 'bare' && of !== 'guest') {
    throw new CounterpointError(
      'no-host',
      `the bare machine has no host whose ${of} perf could watch`,
    );
  }
  const events = readEvents(options.events ?? DEFAULT_EVENTS, profile);
  const asked = { ...options, machine, profile, maxTicks, of };
  return machine === 'bare' ? onBareMachine(image, events, asked) : onHost(image, events, asked);
}

/** The options with what is understood. */
type Asked = StatOptions & Required<Pick<StatOptions, 'machine' | 'profile' | 'maxTicks' | 'of'>>;

function onBareMachine(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { profile, timing, deviations, maxTicks }: Asked,
): Stat {
  const machine = createMachine(image, {
    profile,
    ...(timing && { timing }),
    ...(deviations && { deviations }),
  });
  const truths = new EventTruth(machine.hardware, events);
  const { ticks, exitValue } = machine.run({ maxInstructions: BigInt(maxTicks) });
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
    exitValue,
    counted: counted(machine.hardware),
  };
}

function onHost(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { machine, profile, timing, deviations, maxTicks, of }: Asked,
): Stat {
  const design = designNamed(machine);
  const host = new HostMachine({
    profile: shaped(profileNamed(profile), { timing, deviations }),
    perf: perfOptionsOf(design),
  });
  const truths = new EventTruth(host.hardware, events);
  const guest = host.start({
    code: readGuestImage(image),
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
  host.run(maxTicks, () => guest.ended);
  if (!guest.ended) {
    throw new CounterpointError('budget', `the guest did not end within ${maxTicks} ticks`);
  }
  const lines = events.map(({ name }, i): StatLine => {
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
  });
  return {
    lines: withMetrics(lines),
    truth: events.map((event) => truths.count(event, guest.ledgers)),
    seconds: Number(host.hosts[0]!.now()) / TICKS_PER_SECOND,
    refused,
    exitValue: guest.board.exitValue,
    counted: counted(host.hardware),
  };
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
