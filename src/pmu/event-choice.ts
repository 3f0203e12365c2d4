import { isSet } from '../bits/bitfield.ts';
import { PERFEVTSEL } from '../msr/pmu.ts';
import { type EventRow, FIXED_EVENTS } from './events.ts';
import { encoding, fixedSelection, generalSelection, OFF, selectedEncoding } from './select.ts';
import { type Deviations, deviating } from './silicon.ts';
import type { Slot } from './slot.ts';
import { NOTHING, type Source } from './source.ts';
import { type Timing, timed } from './timing.ts';

/** An event that software enabled and this model cannot count: it counts 0. */
export interface UnsupportedEvent {
  readonly event: number;
  readonly umask: number;
  /**
   * `'unknown'`, or the event is known but nothing of it in single cycles, which CMASK or EDGE asks for, or only the
   * micro-architecture model could count it and unit timing is on.
   */
  readonly why: 'unknown' | 'cycles unmodelled' | 'needs the timing model';
}

/** Finds what counters count from what their controls say, and remembers what it could not find. */
export class EventChoice {
  readonly #rows: ReadonlyMap<number, EventRow>;
  readonly #deviations: Deviations;
  readonly #timing: Timing;
  /** Sources of events as they are counted here; undefined where only the timing model could. */
  readonly #counted = new WeakMap<Source, Source | undefined>();
  readonly #unsupported = new Map<string, UnsupportedEvent>();

  constructor(parts: {
    events: readonly EventRow[];
    deviations: Deviations;
    timing: Timing;
  }) {
    const plain = parts.events.filter(({ select }) => select === undefined);
    this.#rows = new Map(plain.map((row) => [encoding(row.event, row.umask), row]));
    this.#deviations = parts.deviations;
    this.#timing = parts.timing;
  }

  /** Reads a counter's control anew. What cannot be obeyed leaves the counter off, and is noted once it is enabled. */
  choose(slot: Slot): void {
    const { control, fixed, index } = slot;
    const row = fixed ? FIXED_EVENTS[index] : this.#rows.get(selectedEncoding(control));
    const selection = fixed
      ? fixedSelection(control, row?.source ?? NOTHING)
      : generalSelection(control, row);
    const source = selection && this.#source(selection.source);
    slot.selection = source ? { ...selection, source } : OFF;
    const wanted = fixed ? selection?.enabled : isSet(control, PERFEVTSEL.EN);
    if (source || !wanted) return;
    const named = row ? encoding(row.event, row.umask) : selectedEncoding(control);
    this.#note({
      event: named & 0xff,
      umask: named >> 8,
      why: selection ? 'needs the timing model' : row ? 'cycles unmodelled' : 'unknown',
    });
  }

  /** In the order in which they were first met. */
  unsupported(): readonly UnsupportedEvent[] {
    return [...this.#unsupported.values()];
  }

  restore(unsupported: readonly UnsupportedEvent[]): void {
    this.#unsupported.clear();
    for (const each of unsupported) this.#note(each);
  }

  #source(of: Source): Source | undefined {
    if (!this.#counted.has(of)) {
      this.#counted.set(of, timed(deviating(of, this.#deviations), this.#timing));
    }
    return this.#counted.get(of);
  }

  #note(missing: UnsupportedEvent): void {
    const { event, umask, why } = missing;
    const key = `${event} ${umask} ${why}`;
    if (!this.#unsupported.has(key)) this.#unsupported.set(key, missing);
  }
}
