import type { FuzzCase } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import type { Trace } from '../trace.ts';
import { RIGHTS } from './rights.ts';

/** Rounds of work by which the busy guest does more. */
const MORE = 5_000;
/** CPU_CLK_UNHALTED.REF_XCLK. */
const REF_XCLK = 0x013cn;

/** The same case with more work between its exits; undefined where it has none that is free to grow. */
export function busier(fuzzed: FuzzCase): FuzzCase | undefined {
  const { steps, host, registers } = fuzzed;
  // The price of the identity map: events on the guest's counters follow its GLOBAL_CTRL (docs/host-and-kvm.md).
  const { counters, globalCtrl } = RIGHTS[fuzzed.design]!;
  if (counters === 'exit' && globalCtrl !== 'exit') return undefined;
  // A guest whose counters run overflows sooner: the host then works for it.
  if (host.events.length === 0 || registers.length > 0) return undefined;
  // What a divided clock adds to a count depends on when it is looked at.
  if (host.events.some(({ config }) => BigInt(config) === REF_XCLK)) return undefined;
  if (!steps.some((step) => step.do === 'work') || steps.some((step) => step.do === 'wrmsr')) {
    return undefined;
  }
  return {
    ...fuzzed,
    steps: steps.map((step) => (step.do === 'work' ? { ...step, count: step.count + MORE } : step)),
  };
}

/** The mirror of non-interference: events of the host that exclude guests count the same, guest idle or busy. */
export function checkMirror(fuzzed: FuzzCase, idle: Trace, busy: Trace): Violation[] {
  const exits = ({ steps }: Trace) => JSON.stringify(steps.map(({ exits: taken }) => taken));
  if (exits(idle) !== exits(busy)) return [];
  const event = idle.hostCounts.findIndex((count, at) => count !== busy.hostCounts[at]);
  if (event < 0) return [];
  const at = fuzzed.steps.findIndex((step) => step.do === 'work');
  return [
    {
      ...atStep(fuzzed, at, {
        oracle: 'host',
        expected: 'a host whose counts do not depend on its guest',
        actual: `${idle.hostCounts[event]} idle, ${busy.hostCounts[event]} busy`,
        channel: 26,
      }),
      register: `host event ${fuzzed.host.events[event]!.config}`,
    },
  ];
}
