import { type EventRequest, parseEvents } from '../pmu/event-syntax.ts';
import { occurrences, readBy, type Source } from '../pmu/source.ts';
import { timed } from '../pmu/timing.ts';
import type { Hardware } from './hardware.ts';
import type { GuestLedger } from './ledger.ts';
import { profileNamed } from './profiles.ts';

/** An event as a user asked for it, read against a profile. */
export type RequestedEvent = EventRequest;

/** Reads an event list as `perf stat -e` takes it. @throws EventSyntaxError, CounterpointError */
export const readEvents = (text: string, profile: string): readonly RequestedEvent[] =>
  parseEvents(text, profileNamed(profile).pmu.events).flat();

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

  /** How often it happened in the guests of the ledgers; `undefined` where the model has no such event. */
  count(event: RequestedEvent, ledgers: readonly GuestLedger[]): bigint | undefined {
    const source = this.#source(event);
    if (!source) return undefined;
    return occurrences(source, {
      read: (name) => ledgers.reduce((sum, ledger) => sum + ledger.read(name), 0n),
    });
  }

  #source({ row }: RequestedEvent): Source | undefined {
    return row && timed(row.source, this.#hardware.profile.timing ? 'modelled' : 'unit');
  }
}
