import type { FuzzCase } from '../case.ts';
import { isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { channelOf, NESTED_CHANNEL } from '../leaks/channel-of.ts';
import { placeOf, rdpmcName, registerName } from '../registers.ts';
import type { ForeignAccess, Trace } from '../trace.ts';

/** Leak channel of what VM entry or VM exit left as it was not to be. */
function boundaryChannel({ what, address }: ForeignAccess): number {
  if (address === 0 || what.startsWith('lets')) return NESTED_CHANNEL;
  switch (placeOf(address).class) {
    case 'LVTPC':
      return what.startsWith('took') ? 13 : 14;
    case 'PEBS':
      return 16;
    default:
      return what.startsWith('ran') ? 26 : 12;
  }
}

function nameOf({ kind, address }: ForeignAccess): string {
  if (kind === 'RDPMC') return rdpmcName(address);
  return address === 0 ? 'MSR list' : registerName(address);
}

/** What the registers' owners did not allow, and interrupts that came to the wrong one. */
export function checkOwnership(fuzzed: FuzzCase, { foreign }: Trace): Violation[] {
  return foreign.map((access): Violation => {
    const { kind, what, step, rip } = access;
    const at = Math.min(Math.max(step, 0), fuzzed.steps.length - 1);
    const accessed = fuzzed.steps[at]!;
    const channel =
      kind && isAccess(accessed) ? channelOf(fuzzed, accessed) : boundaryChannel(access);
    const expected = 'nothing of the other side';
    return {
      ...atStep(fuzzed, at, { oracle: 'provenance', rip, expected, actual: what, channel }),
      register: nameOf(access),
    };
  });
}
