import type { FuzzCase, ListedMsr } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { registerName } from '../registers.ts';
import type { Trace } from '../trace.ts';
import { msrVerdict } from './access-rules.ts';
import { hostShape, type Shape } from './shapes.ts';

/** IA32_SMM_MONITOR_CTL, which is SMM's; IA32_FS_BASE and IA32_GS_BASE, which VM entry and exit load otherwise. */
const SMM_ONLY = 0x9b;
const NEVER_LOADED: ReadonlySet<number> = new Set([0xc000_0100, 0xc000_0101]);

const NONE: ReadonlySet<number> = new Set();

/**
 * Whether VM entry or VM exit goes through with an entry, on a PMU of this shape. Vol. 3, "Loading MSRs", "Saving MSRs".
 * @param harmless addresses that whoever carries it out lets pass without a register
 */
export function listVerdict(shape: Shape, { list, address, value }: ListedMsr, harmless = NONE) {
  if (address > 0xffff_ffff || (address >= 0x800 && address <= 0x8ff)) return '#GP';
  if (address === SMM_ONLY || (list !== 'exit-store' && NEVER_LOADED.has(address))) return '#GP';
  if (harmless.has(address)) return 'done';
  return msrVerdict(shape, address, list === 'exit-store' ? undefined : BigInt(value));
}

/** The entry of the VM-entry list, from 1, that the first VM entry fails with. */
export function failingEntry(
  shape: Shape,
  lists: readonly ListedMsr[],
  harmless = NONE,
): number | undefined {
  const loads = lists.filter(({ list }) => list === 'entry-load');
  const at = loads.findIndex((each) => listVerdict(shape, each, harmless) === '#GP');
  return at < 0 ? undefined : at + 1;
}

const failure = (entry: number) => `VM entry failed with MSR_LOAD_FAIL, qualification ${entry}`;

/** How a run with lists ended: as the first entry that cannot be loaded says, or well, with all loaded and stored. */
export function checkLists(fuzzed: FuzzCase, { end, foreign }: Trace): Violation[] {
  const entry = failingEntry(hostShape(fuzzed.profile), fuzzed.lists ?? []);
  const failed = /MSR_LOAD_FAIL.* qualification (0x[0-9a-f]+)/.exec(end);
  const expected = entry === undefined ? 'end' : failure(entry);
  const actual = failed ? failure(Number(failed[1])) : end;
  const told = (what: Pick<Violation, 'expected' | 'actual'>, address?: number): Violation => ({
    ...atStep(fuzzed, 0, { oracle: 'lists', ...what, channel: 19 }),
    register: address === undefined ? 'MSR list' : registerName(address),
  });
  const wrong = foreign.filter(({ what }) => what.startsWith('is not what VM exit'));
  return [
    ...(expected === actual ? [] : [told({ expected, actual })]),
    ...wrong.map(({ what, address }) =>
      told({ expected: 'what the list says', actual: what }, address),
    ),
  ];
}
