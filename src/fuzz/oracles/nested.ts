import { hex } from '../../bits/hex.ts';
import type { BareTrace } from '../bare-chamber.ts';
import { type FuzzCase, isAccess, type NestedCase } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { type ExitRecord, storedMsrs, UNTOUCHED } from '../guest/nested-tables.ts';
import { STUB } from '../guest/stub.ts';
import { NESTED_CHANNEL } from '../leaks/channel-of.ts';
import { placeOf, type RegisterClass, registerName } from '../registers.ts';
import { aborts, type FailedEntry, failedEntry } from './nested-entry.ts';
import { HLT, reasonToL1 } from './nested-policy.ts';
import { guestShape } from './shapes.ts';

/** Basic exit reason. */
const NMI = 0;

type Told = Pick<ExitRecord, 'step' | 'reason' | 'qualification' | 'length' | 'rip'>;

/** What L1 is to write down of a run that does not abort. */
function expectedExits(
  fuzzed: FuzzCase,
  nested: NestedCase,
  failed: FailedEntry | undefined,
): Told[] {
  // The information of an instruction is undefined then.
  if (failed) return [{ step: 0, length: 0, rip: 0n, ...failed }];
  const records = fuzzed.steps.flatMap((step, at): Told[] => {
    const reason = reasonToL1(fuzzed, nested, step);
    const rip = BigInt(STUB.instructions[step.do] ?? 0);
    return reason === undefined ? [] : [{ step: at, reason, qualification: 0n, length: 2, rip }];
  });
  const end = { step: fuzzed.steps.length, reason: HLT, qualification: 0n, length: 1 };
  return [...records, { ...end, rip: BigInt(STUB.endHandler) }];
}

const shown = (record: Told | undefined, failed: boolean): string => {
  if (!record) return 'no exit to L1';
  const { reason, qualification, length, rip } = record;
  const number = typeof reason === 'number' ? `reason ${hex(reason)}` : reason;
  const instruction = failed ? '' : `, length ${length} at ${hex(rip)}`;
  return `${number}, qualification ${qualification}${instruction}`;
};

/** A run of a case with a guest's guest, on whatever machine. */
export type NestedRun = Pick<BareTrace, 'steps' | 'end' | 'toL1' | 'stored'>;

/**
 * L2 exits to L1 where L1's bitmap, lists and controls say so, and nowhere else, with the information that the manual
 * gives; what L1 does about it is what L2 sees.
 */
export function checkNested(fuzzed: FuzzCase, run: NestedRun): Violation[] {
  const { nested } = fuzzed;
  if (!nested) return [];
  const told = (step: number, expected: string, actual: string): Violation =>
    atStep(fuzzed, Math.min(step, fuzzed.steps.length - 1), {
      ...{ oracle: 'nested', expected, actual, channel: NESTED_CHANNEL },
    });
  const failed = failedEntry(fuzzed, nested);
  if (aborts(fuzzed, nested, failed)) {
    return run.end === 'shutdown' ? [] : [told(0, 'a VMX abort', run.end)];
  }
  if (run.end !== 'end' || !run.toL1) {
    const at = run.steps.findIndex(({ outcome }) => outcome === 'unreached');
    const end = run.toL1 ? run.end : 'L1 at a loss';
    return [told(Math.max(at, 0), 'a guest’s guest that comes to its end', end)];
  }
  // When an NMI comes no table says.
  const seen = nested.nmiExiting ? run.toL1.filter(({ reason }) => reason !== NMI) : run.toL1;
  return [
    ...exits(expectedExits(fuzzed, nested, failed), failed !== undefined, seen, told),
    ...answered(fuzzed, nested, run, told),
    ...stored(fuzzed, failed !== undefined, run, told),
  ];
}

type Tell = (step: number, expected: string, actual: string) => Violation;

function exits(
  expected: readonly Told[],
  failed: boolean,
  seen: readonly ExitRecord[],
  told: Tell,
): Violation[] {
  const at = Array.from({ length: Math.max(expected.length, seen.length) }).findIndex((_, row) => {
    const [there, here] = [expected[row], seen[row]];
    return there?.step !== here?.step || shown(there, failed) !== shown(here, failed);
  });
  if (at < 0) return [];
  const [there, here] = [expected[at], seen[at]];
  // The earlier of the two is the step that went wrong.
  const step = Math.min(there?.step ?? Infinity, here?.step ?? Infinity);
  const of = (record: Told | undefined) =>
    shown(record?.step === step ? record : undefined, failed);
  return [told(step, of(there), of(here))];
}

/** L2 sees what L1 did about it: the registers as they were behind an instruction stepped over, or #GP. */
function answered(
  fuzzed: FuzzCase,
  nested: NestedCase,
  { steps }: NestedRun,
  told: Tell,
): Violation[] {
  return fuzzed.steps.flatMap((step, at) => {
    const { outcome, value } = steps[at]!;
    if (!isAccess(step) || outcome === 'unreached') return [];
    if (nested.onExit === 'carry-out' || reasonToL1(fuzzed, nested, step) === undefined) return [];
    const expected =
      nested.onExit === 'inject' ? '#GP' : `EDX:EAX ${hex(BigInt(step.value ?? '0x0'))}`;
    const actual = outcome === 'done' ? `EDX:EAX ${hex(value)}` : outcome;
    return expected === actual ? [] : [told(at, expected, actual)];
  });
}

/** VM exit stores every entry of its list, with bits that the register has; a VM entry that fails stores nothing. */
function stored(
  fuzzed: FuzzCase,
  failed: boolean,
  { stored: values }: NestedRun,
  told: Tell,
): Violation[] {
  const { width } = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  return storedMsrs(fuzzed).flatMap(({ address }, at) => {
    const value = values[at]!;
    const untouched = value === UNTOUCHED;
    const fits = !COUNTERS.has(placeOf(address).class) || value >> BigInt(width) === 0n;
    if (failed ? untouched : !untouched && fits) return [];
    const expected = failed ? 'nothing stored' : 'what the register holds';
    const last = fuzzed.steps.length - 1;
    return [{ ...told(last, expected, hex(value)), register: registerName(address) }];
  });
}

const COUNTERS: ReadonlySet<RegisterClass> = new Set(['PMC', 'A_PMC', 'FIXED_CTR']);
