import type { FuzzCase, NestedCase, StrayPointer } from '../case.ts';
import type { ExitRecord } from '../guest/nested-tables.ts';
import { counterBits, KVM_ALWAYS } from './access-rules.ts';
import { failingEntry, listVerdict } from './lists.ts';
import { guestShape } from './shapes.ts';

const FAILED = 0x8000_0000;
/** Basic exit reasons. */
const INVALID_GUEST_STATE = 33;
const MSR_LOAD_FAIL = 34;
/** VM-instruction errors. */
const BAD_CONTROLS = 7;
const NO_SUCH_FIELD = 12;
const BAD_HOST_STATE = 8;

/** What L1 is told of a VM entry that fails. */
export type FailedEntry = Pick<ExitRecord, 'reason' | 'qualification'>;

/** What L1 is to write down first if VM entry to L2 fails, with the qualification; undefined if it does not. */
export function failedEntry(
  fuzzed: FuzzCase,
  { bitmap, stray, globalCtrl = {}, lists = [] }: NestedCase,
): FailedEntry | undefined {
  const shape = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const reserved = (value: string) => (BigInt(value) & ~counterBits(shape)) !== 0n;
  const { entry, exit, save } = globalCtrl;
  // Without the control there is no field: VMWRITE fails.
  if ((entry !== undefined || exit !== undefined) && shape.version < 2) {
    return { reason: `VMfail ${NO_SUCH_FIELD}`, qualification: 0n };
  }
  const unsupported = save && !(shape.version >= 2 && savesGlobalCtrl(fuzzed));
  const looksAt = (list: StrayPointer['of']) =>
    list === 'bitmap' ? bitmap !== undefined : lists.some((each) => each.list === list);
  // Vol. 3, "Checks on VMX Controls".
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
  'sapphire-rapids',
  'sapphire-rapids-whole',
  'perfmon-v5',
  'perfmon-v6',
]);

export const savesGlobalCtrl = ({ profile }: Pick<FuzzCase, 'profile'>): boolean =>
  SAVING.has(profile);

/**
 * Whether the first exit to L1 ends in a VMX abort: a list of VM exit has an entry that cannot be stored or loaded.
 * A VM entry that fails stores nothing, and loads as a VM exit does.
 */
export function aborts(
  fuzzed: FuzzCase,
  { lists = [], stray }: NestedCase,
  failed: FailedEntry | undefined,
): boolean {
  const shape = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  if (typeof failed?.reason === 'string') return false;
  return lists.some(
    (each) =>
      (each.list === 'exit-load' || (each.list === 'exit-store' && !failed)) &&
      (each.list === stray?.of || listVerdict(shape, each, KVM_ALWAYS) === '#GP'),
  );
}
