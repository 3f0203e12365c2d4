import { type PerfEventAttr, perfEventAttr } from '../perf/attr.ts';
import { type EventRequest, parseEvents } from '../pmu/event-syntax.ts';
import { occurrences, readBy, type Source } from '../pmu/source.ts';
import { timed } from '../pmu/timing.ts';
import type { Total } from '../pmu/totals.ts';
import type { Hardware } from './hardware.ts';
import type { GuestLedger } from './ledger.ts';
import { profileNamed } from './profiles.ts';

/** An event as a user asked for it, read against a profile. */
export type RequestedEvent = EventRequest;

/** Reads an event list as `perf stat -e` takes it. @throws EventSyntaxError, CounterpointError */
export const readEvents = (text: string, profile: string): readonly RequestedEvent[] =>
  parseEvents(text, profileNamed(profile).pmu.events).flat();

/** The attributes perf makes of an event and its modifiers: what is named is counted, nothing is added. */
export function attributesOf({
  config,
  user,
  kernel,
  host,
  guest,
  pinned,
  precise,
}: RequestedEvent): PerfEventAttr {
  const levels = user || kernel;
  const sides = host || guest;
  return perfEventAttr({
    config,
    pinned,
    preciseIp: precise,
    excludeUser: levels && !user,
    excludeKernel: levels && !kernel,
    excludeHost: sides && !host,
    excludeGuest: sides && !guest,
  });
}

/** What requested events truly come to in a guest; the hardware keeps their totals from now on. */
export class EventTruth {
  readonly #hardware: Hardware;

  constructor(hardware: Hardware, events: readonly RequestedEvent[]) {
    this.#hardware = hardware;
    const totals = events.flatMap((event) => {
      const source = this.#source(event);
      return source ? readBy(source) : [];
    });
    for (const { instruments } of hardware.processors) instruments.keep([...new Set(totals)], this);
  }

  /**
   * How often it happened in the guests of the ledgers; `undefined` where the model has no such event, where it is of
   * one privilege level only, which ledgers do not tell apart, and where it excludes guests.
   */
  count(event: RequestedEvent, ledgers: readonly GuestLedger[]): bigint | undefined {
    const { excludeUser, excludeKernel, excludeGuest } = attributesOf(event);
    if (excludeUser || excludeKernel || excludeGuest) return undefined;
    return this.of(event, (name) => ledgers.reduce((sum, ledger) => sum + ledger.read(name), 0n));
  }

  /** What it comes to by given totals. */
  of(event: RequestedEvent, read: (name: Total) => bigint): bigint | undefined {
    const source = this.#source(event);
    return source && occurrences(source, { read });
  }

  #source({ row }: RequestedEvent): Source | undefined {
    return row && timed(row.source, this.#hardware.profile.timing ? 'modelled' : 'unit');
  }
}
