import { perfOptionsOf } from '../kvm/vpmu/designs.ts';
import { isUsedUp, leftOf, runningLeft, Stillness } from '../machine/budget.ts';
import { designNamed, memoryFor } from '../machine/create.ts';
import { attributesOf, EventTruth, type RequestedEvent } from '../machine/event-list.ts';
import { readGuestImage } from '../machine/guest-image.ts';
import { type HostedProgram, HostMachine } from '../machine/host-machine.ts';
import type { RunReason } from '../machine/outcome.ts';
import { profileNamed, shaped } from '../machine/profiles.ts';
import { PerfError } from '../perf/error.ts';
import { type PerfTarget, scaled } from '../perf/perf.ts';
import { counted } from './comparison.ts';
import { nanoseconds, type StatLine, seconds, withMetrics } from './perf-stat.ts';
import type { Asked, GuestEnd, StatRun } from './stat.ts';

/** A host program of two cycles an instruction, as root-mode work is. */
const PROGRAM = { ticks: 2_000, instructions: 1_000 } as const;

/** A guest in a VM: host perf counts, on the counters that the vPMU design leaves it. @throws CounterpointError, ImageError */
export function statOnHost(
  image: Uint8Array,
  events: readonly RequestedEvent[],
  { machine, profile, timing, deviations, memory: size, nested = false, boot, of }: Asked,
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
    nested,
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
        seconds: seconds(host.hosts[0]!.now()),
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
