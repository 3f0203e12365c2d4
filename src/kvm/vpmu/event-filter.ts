import { bit, bits, extract, isSet } from '../../bits/bitfield.ts';
import { CounterpointError } from '../../bits/error.ts';
import { PERFEVTSEL } from '../../msr/pmu.ts';
import { FIXED_BASE, type Pmc } from './guest-pmu.ts';

/** KVM_SET_PMU_EVENT_FILTER, as user space passes it. */
export interface PmuEventFilter {
  readonly action: 'allow' | 'deny';
  /** Event and umask as in IA32_PERFEVTSELx, or with `masked` the encoding of masked entries. */
  readonly events: readonly bigint[];
  /** Bit i: fixed counter i is subject to the action. Alone decides about fixed counters. */
  readonly fixedCounterBitmap: number;
  readonly masked?: boolean;
}

/** A masked entry. */
const ENTRY = {
  EVENT: bits(7, 0) | bits(35, 32),
  UMASK_MATCH: bits(15, 8),
  EXCLUDE: bit(55),
  UMASK_MASK: bits(63, 56),
} as const;

const MAXIMUM_EVENTS = 300;

/** Checks a filter as the ioctl does. @throws CounterpointError `event-filter`. */
export function checkEventFilter({ events, masked }: PmuEventFilter): void {
  if (events.length > MAXIMUM_EVENTS) {
    throw new CounterpointError('event-filter', `${events.length} events, at most 300: -E2BIG`);
  }
  const valid = masked
    ? Object.values(ENTRY).reduce((mask, field) => mask | field, 0n)
    : PERFEVTSEL.EVENT | PERFEVTSEL.UMASK;
  for (const event of events) {
    if ((event & ~valid) !== 0n) {
      throw new CounterpointError('event-filter', `0x${event.toString(16)} is no entry: -EINVAL`);
    }
  }
}

/** Whether a filter lets a guest counter count what it is programmed for. */
export function isAllowed(
  filter: PmuEventFilter | undefined,
  { index, eventsel }: Pick<Pmc, 'index' | 'eventsel'>,
): boolean {
  if (!filter) return true;
  const allows = filter.action === 'allow';
  if (index >= FIXED_BASE) {
    return isSet(BigInt(filter.fixedCounterBitmap), bit(index - FIXED_BASE)) === allows;
  }
  const umask = extract(eventsel, PERFEVTSEL.UMASK);
  const matches = (entry: bigint): boolean => {
    if ((entry & ENTRY.EVENT) !== (eventsel & PERFEVTSEL.EVENT)) return false;
    if (!filter.masked) return extract(entry, ENTRY.UMASK_MATCH) === umask;
    return (umask & extract(entry, ENTRY.UMASK_MASK)) === extract(entry, ENTRY.UMASK_MATCH);
  };
  const excludes = (entry: bigint) => filter.masked === true && isSet(entry, ENTRY.EXCLUDE);
  const included = filter.events.some((entry) => !excludes(entry) && matches(entry));
  const excluded = filter.events.some((entry) => excludes(entry) && matches(entry));
  return (included && !excluded) === allows;
}
