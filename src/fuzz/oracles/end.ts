import type { FuzzCase } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import type { Trace } from '../trace.ts';

/** Whatever a guest does to its PMU, it comes to its end, and its hypervisor lives. */
export function checkEnd(fuzzed: FuzzCase, { end, steps }: Trace): Violation[] {
  if (end === 'end') return [];
  const reached = steps.findIndex(({ outcome }) => outcome === 'unreached');
  const at = reached < 0 ? fuzzed.steps.length - 1 : reached;
  const expected = 'a guest that comes to its end';
  return [atStep(fuzzed, at, { oracle: 'end', expected, actual: end, channel: undefined })];
}
