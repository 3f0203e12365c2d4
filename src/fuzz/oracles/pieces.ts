import { type FuzzCase, isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { channelOf } from '../leaks/channel-of.ts';
import { placeOf } from '../registers.ts';
import type { StepTrace, Trace } from '../trace.ts';
import { promisesEquality } from './bare.ts';
import { counterOf, inexactCounters } from './counters.ts';

/** The same case with nobody taking the guest out; undefined where it is in one piece, or where pieces may differ. */
export function inOnePiece(fuzzed: FuzzCase): FuzzCase | undefined {
  const { interruptions = [] } = fuzzed;
  if (interruptions.length === 0 || !promisesEquality(fuzzed)) return undefined;
  return { ...fuzzed, interruptions: [] };
}

const view = ({ outcome, value }: StepTrace) =>
  outcome === 'done' ? `0x${value.toString(16)}` : outcome;

/** The sum of the pieces equals the whole: a guest that interrupts of the host take out again and again counts the same. */
export function checkPieces(fuzzed: FuzzCase, pieces: Trace, whole: Trace): Violation[] {
  const inexact = inexactCounters(fuzzed);
  const compares = (at: number): boolean => {
    const step = fuzzed.steps[at]!;
    if (!isAccess(step)) return false;
    const counter = counterOf(step);
    if (counter !== undefined) return !inexact.has(counter);
    return placeOf(step.register).class !== 'CLOCK';
  };
  const at = pieces.steps.findIndex(
    (seen, step) => compares(step) && view(seen) !== view(whole.steps[step]!),
  );
  if (at < 0) return [];
  const step = fuzzed.steps[at]!;
  return [
    atStep(fuzzed, at, {
      oracle: 'pieces',
      rip: pieces.steps[at]!.rip,
      expected: `${view(whole.steps[at]!)}, as without interruptions`,
      actual: view(pieces.steps[at]!),
      channel: counterOf(step) === undefined || fuzzed.nested ? channelOf(fuzzed, step) : 24,
    }),
  ];
}
