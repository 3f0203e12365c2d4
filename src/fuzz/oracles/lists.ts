import type { FuzzCase, ListedMsr } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { registerName } from '../registers.ts';
import type { Trace } from '../trace.ts';
import { msrVerdict } from './access-rules.ts';
import { hostShape } from './shapes.ts';

const NEVER_LOADED: ReadonlySet<number> = new Set([0x9b, 0xc000_0100, 0xc000_0101]);

/** Whether VM entry or VM exit goes through with an entry. Vol. 3, "Loading MSRs", "Saving MSRs". */
export function listVerdict(profile: string, { list, address, value }: ListedMsr) {
  if (address > 0xffff_ffff || (address >= 0x800 && address <= 0x8ff)) return '#GP';
  if (NEVER_LOADED.has(address)) return '#GP';
  return msrVerdict(hostShape(profile), address, list === 'exit-store' ? undefined : BigInt(value));
}

/** The entry of the VM-entry list, from 1, that the first VM entry fails with. */
export function failingEntry({ profile, lists = [] }: FuzzCase): number | undefined {
  const loads = lists.filter(({ list }) => list === 'entry-load');
  const at = loads.findIndex((each) => listVerdict(profile, each) === '#GP');
  return at < 0 ? undefined : at + 1;
}

const failure = (entry: number) => `VM entry failed with MSR_LOAD_FAIL, qualification ${entry}`;

/** How a run with lists ended: as the first entry that cannot be loaded says, or well, with all loaded and stored. */
export function checkLists(fuzzed: FuzzCase, { end, foreign }: Trace): Violation[] {
  const entry = failingEntry(fuzzed);
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
