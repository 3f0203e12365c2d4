import type { PerfEventAttr } from './attr.ts';
import { PerfError } from './error.ts';
import type { PerfEvent } from './event.ts';
import type { X86Pmu } from './x86-pmu.ts';

/**
 * What perf_event_open refuses of the event itself. @throws PerfError EOPNOTSUPP for a precise event without PEBS,
 * EINVAL for one that does not sample.
 */
export function checkAttributes(
  { preciseIp, samplePeriod, sampleFreq }: PerfEventAttr,
  { shape }: X86Pmu,
): void {
  if (preciseIp === 0) return;
  if (!shape.pebs) throw new PerfError('EOPNOTSUPP', 'this PMU samples no event precisely');
  if (samplePeriod === 0n && sampleFreq === 0) {
    throw new PerfError('EINVAL', 'a precise event that does not sample has no sense');
  }
}

/** validate_event, validate_group: alone or with its group the event must fit an empty PMU. @throws PerfError */
export function checkFits(event: PerfEvent, leader: PerfEvent | undefined, pmu: X86Pmu): void {
  if (event.hw.constraint.weight === 0) {
    throw new PerfError('ENOENT', 'no counter of this PMU can count the event');
  }
  if (!leader) return;
  if (leader.leader !== leader) throw new PerfError('EINVAL', 'the group leader is no leader');
  if (leader.context !== event.context || leader.cpu !== event.cpu) {
    throw new PerfError('EINVAL', 'a group is in one context on one CPU');
  }
  if (event.attr.pinned || event.attr.exclusive) {
    throw new PerfError('EINVAL', 'only a leader can be pinned or exclusive');
  }
  if (!pmu.couldHold([...leader.group, event])) {
    throw new PerfError('EINVAL', 'the group has more events than the PMU has counters for');
  }
}
