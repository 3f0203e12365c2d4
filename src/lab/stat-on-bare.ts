import { createMachine } from '../machine/create.ts';
import { EventTruth, type RequestedEvent } from '../machine/event-list.ts';
import type { RunResult } from '../machine/outcome.ts';
import { counted } from './comparison.ts';
import { nanoseconds, seconds, withMetrics } from './perf-stat.ts';
import type { Asked, StatRun } from './stat.ts';

/** A guest on the bare machine: the machine itself counts. @throws CounterpointError, ImageError */
export function statOnBareMachine(
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
        seconds: seconds(end.ticks),
        refused: [],
        end,
        counted: counted(machine.hardware),
      };
    },
  };
}
