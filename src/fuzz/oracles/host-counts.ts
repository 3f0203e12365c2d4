import type { FuzzCase } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import type { Trace } from '../trace.ts';
import { RIGHTS } from './rights.ts';

const INSTRUCTIONS = 0xc0;
/** What of its work perf itself does with the PMU shut, as it schedules the events of a guest: a part of all, and some at the ends. */
const SHUT = { part: 0.25, instructions: 1_000 } as const;
/** What it does of a turn before it has shut the PMU, and after it has opened it again (`perf-load-guest` and two writes). */
const MOST_A_TURN = 200;

/**
 * Events of the host that exclude guests count what the host does while the guest has not the PMU, no more and not
 * much less. Where a count cannot be told: events that share counters or sample, and whoever follows GLOBAL_CTRL of
 * the guest (docs/host-and-kvm.md).
 */
export function checkHostCounts(fuzzed: FuzzCase, { hostCounts, hostWork }: Trace): Violation[] {
  const { host, bitmap, design } = fuzzed;
  const { counters, globalCtrl } = RIGHTS[design]!;
  const tells = counters === 'direct' || globalCtrl === 'exit';
  if (!tells || bitmap.length > 0 || host.events.some(({ period }) => period > 0)) return [];
  const work = Number(hostWork.instructions);
  const least = work * (1 - SHUT.part) - SHUT.instructions;
  const most = work + hostWork.turns * MOST_A_TURN + SHUT.instructions;
  return host.events.flatMap(({ config, pinned }, at) => {
    const count = Number(hostCounts[at] ?? -1n);
    if (!pinned || Number(config) !== INSTRUCTIONS || count === -1) return [];
    if (count >= least && count <= most) return [];
    return [
      {
        ...atStep(fuzzed, fuzzed.steps.length - 1, {
          oracle: 'host',
          expected: `${work} instructions of the host`,
          actual: `${count}`,
          channel: 26,
        }),
        register: `host event ${config}`,
      },
    ];
  });
}
