import { hex } from '../../bits/hex.ts';
import type { BareTrace } from '../bare-chamber.ts';
import {
  type FuzzCase,
  isAccess,
  type ListedMsr,
  type NestedCase,
  type StrayPointer,
} from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { type ExitRecord, UNTOUCHED } from '../guest/nested-tables.ts';
import { STUB } from '../guest/stub.ts';
import { NESTED_CHANNEL } from '../leaks/channel-of.ts';
import { placeOf, type RegisterClass, registerName } from '../registers.ts';
import { counterBits, KVM_ALWAYS } from './access-rules.ts';
import { failingEntry, listVerdict } from './lists.ts';
import { HLT, reasonToL1 } from './nested-policy.ts';
import { guestShape } from './shapes.ts';

const FAILED = 0x8000_0000;
/** Basic exit reasons. */
const NMI = 0;
const INVALID_GUEST_STATE = 33;
const MSR_LOAD_FAIL = 34;
/** VM-instruction errors. */
const BAD_CONTROLS = 7;
const BAD_HOST_STATE = 8;

/** What L1 is to write down first if VM entry to L2 fails, with the qualification; undefined if it does not. */
export function failedEntry(
  fuzzed: FuzzCase,
  { bitmap, stray, globalCtrl = {}, lists = [] }: NestedCase,
): Pick<ExitRecord, 'reason' | 'qualification'> | undefined {
  const shape = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const reserved = (value: string) => (BigInt(value) & ~counterBits(shape)) !== 0n;
  const { entry, exit, save } = globalCtrl;
  const loads = entry !== undefined || exit !== undefined;
  const unsupported = (loads && shape.version < 2) || (save && !savesGlobalCtrl(fuzzed));
  const looksAt = (list: StrayPointer['of']) =>
    list === 'bitmap' ? bitmap !== undefined : lists.some((each) => each.list === list);
  // Vol. 3, "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields" of the checks on VMX controls.
  const invalid = stray && stray.to !== 'no-memory' && looksAt(stray.of);
  if (unsupported || invalid) return { reason: `VMfail ${BAD_CONTROLS}`, qualification: 0n };
  // Vol. 3, "Checks on Host Control Registers, MSRs, and SSP", "Checks on Guest Control Registers, Debug Registers, and MSRs".
  if (exit !== undefined && reserved(exit)) {
    return { reason: `VMfail ${BAD_HOST_STATE}`, qualification: 0n };
  }
  if (entry !== undefined && reserved(entry)) {
    return { reason: FAILED + INVALID_GUEST_STATE, qualification: 0n };
  }
  const nowhere = stray?.of === 'entry-load' && looksAt('entry-load');
  const at = nowhere ? 1 : failingEntry(shape, lists, KVM_ALWAYS);
  return at === undefined
    ? undefined
    : { reason: FAILED + MSR_LOAD_FAIL, qualification: BigInt(at) };
}

/** Processors whose VM exits can save IA32_PERF_GLOBAL_CTRL. */
const SAVING: ReadonlySet<string> = new Set([
  ...['sapphire-rapids', 'sapphire-rapids-whole', 'perfmon-v5', 'perfmon-v6'],
]);

export const savesGlobalCtrl = ({ profile }: Pick<FuzzCase, 'profile'>): boolean =>
  SAVING.has(profile);

/**
 * Whether the first exit to L1 ends in a VMX abort: a list of VM exit has an entry that cannot be stored or loaded.
 * A VM entry that fails stores nothing, and loads as a VM exit does.
 */
export function aborts(fuzzed: FuzzCase, nested: NestedCase): boolean {
  const { lists = [], stray } = nested;
  const shape = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const failed = failedEntry(fuzzed, nested);
  if (typeof failed?.reason === 'string') return false;
  return lists.some(
    (each) =>
      (each.list === 'exit-load' || (each.list === 'exit-store' && !failed)) &&
      (each.list === stray?.of || listVerdict(shape, each, KVM_ALWAYS) === '#GP'),
  );
}

type Told = Pick<ExitRecord, 'step' | 'reason' | 'qualification' | 'length' | 'rip'>;

/** What L1 is to write down of a run that does not abort. */
function expectedExits(fuzzed: FuzzCase, nested: NestedCase): Told[] {
  const failed = failedEntry(fuzzed, nested);
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
  if (aborts(fuzzed, nested)) {
    return run.end === 'shutdown' ? [] : [told(0, 'a VMX abort', run.end)];
  }
  if (run.end !== 'end' || !run.toL1) {
    const at = run.steps.findIndex(({ outcome }) => outcome === 'unreached');
    const end = run.toL1 ? run.end : 'L1 at a loss';
    return [told(Math.max(at, 0), 'a guest’s guest that comes to its end', end)];
  }
  return [
    ...exits(fuzzed, nested, run.toL1, told),
    ...answered(fuzzed, nested, run, told),
    ...stored(fuzzed, nested, run, told),
  ];
}

type Tell = (step: number, expected: string, actual: string) => Violation;

function exits(
  fuzzed: FuzzCase,
  nested: NestedCase,
  all: readonly ExitRecord[],
  told: Tell,
): Violation[] {
  const expected = expectedExits(fuzzed, nested);
  // When an NMI comes no table says.
  const seen = nested.nmiExiting ? all.filter(({ reason }) => reason !== NMI) : all;
  const failed = failedEntry(fuzzed, nested) !== undefined;
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
  nested: NestedCase,
  { stored: values }: NestedRun,
  told: Tell,
): Violation[] {
  const { width } = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const failed = failedEntry(fuzzed, nested) !== undefined;
  return storedMsrs(nested).flatMap(({ address }, at) => {
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

/** The entries of L1's exit MSR-store list. */
export const storedMsrs = ({ lists = [] }: NestedCase): readonly ListedMsr[] =>
  lists.filter(({ list }) => list === 'exit-store');
