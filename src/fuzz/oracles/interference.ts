import type { FuzzCase } from '../case.ts';
import { isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { LAYOUT } from '../guest/layout.ts';
import { channelOf } from '../leaks/channel-of.ts';
import { placeOf } from '../registers.ts';
import type { StepTrace, Trace } from '../trace.ts';

/** What the guest sees of a step: nothing of how it came about. */
const view = ({ outcome, value, rip, errorCode }: StepTrace): string =>
  `${outcome}${outcome === 'done' ? ` 0x${value.toString(16)}` : ` at 0x${rip.toString(16)} (${errorCode})`}`;

/** Time passes as the host's work takes it, which is no secret here: what it reads of clocks is left out. */
const tellsTime = (fuzzed: FuzzCase, at: number): boolean => {
  const step = fuzzed.steps[at]!;
  return isAccess(step) && placeOf(step.register).class === 'CLOCK' && !step.do.endsWith('rdpmc');
};

/** Where two memories first differ, from an offset on; -1 if they do not. */
function firstDifference(one: Uint8Array, other: Uint8Array, from: number): number {
  let at = from;
  while (at < one.length && one[at] === other[at]) at++;
  return at < one.length ? at : -1;
}

/**
 * Non-interference: the same guest on two hosts that differ only in what they keep to themselves sees the same.
 * @param one @param other runs of one case under opposite secrets
 */
export function checkInterference(fuzzed: FuzzCase, one: Trace, other: Trace): Violation[] {
  const differing = one.steps.findIndex(
    (seen, at) => !tellsTime(fuzzed, at) && view(seen) !== view(other.steps[at]!),
  );
  const expected = 'the same whatever the host keeps to itself';
  if (differing >= 0) {
    return [
      atStep(fuzzed, differing, {
        oracle: 'non-interference',
        rip: one.steps[differing]!.rip,
        expected,
        actual: `${view(one.steps[differing]!)} or ${view(other.steps[differing]!)}`,
        channel: channelOf(fuzzed, fuzzed.steps[differing]!),
      }),
    ];
  }
  const last = fuzzed.steps.length - 1;
  const at = firstDifference(one.memory, other.memory, LAYOUT.NMIS - LAYOUT.DIRTY);
  if (at < 0 && one.nmis === other.nmis) return [];
  const what = at < 0 ? 'NMIs' : `memory at 0x${(LAYOUT.DIRTY + at).toString(16)}`;
  return [
    atStep(fuzzed, last, {
      oracle: 'non-interference',
      expected,
      actual: `${what} differs`,
      channel: at < LAYOUT.OPERANDS - LAYOUT.DIRTY ? 13 : 16,
    }),
  ];
}
