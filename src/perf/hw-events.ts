import { bit } from '../bits/bitfield.ts';
import { assignCounters } from './constraints.ts';
import type { PerfEvent } from './event.ts';

export const isGuestOnly = ({ attr }: PerfEvent): boolean => attr.excludeHost && !attr.excludeGuest;
const isHostOnly = ({ attr }: PerfEvent): boolean => attr.excludeGuest && !attr.excludeHost;

/** There is one LBR_SELECT: all who want a branch stack must want the same (the shared register of intel_shared_regs). */
const agreeOnBranches = (events: readonly PerfEvent[]): boolean =>
  new Set(events.flatMap(({ attr }) => attr.branchSelect ?? [])).size <= 1;

/** Which events a CPU's PMU has and which counter each is to have (struct cpu_hw_events). No register is touched here. */
export class HardwareEvents {
  readonly #counters: number;
  readonly #sharesSides: boolean;
  /** Events that have or are getting a counter, in the order they were added. */
  #events: PerfEvent[] = [];
  #assigned: number[] = [];
  /** Events at the end of the list that were added since the PMU was last enabled. */
  #added = 0;
  /** Length of the list before the group under way was begun; undefined outside a transaction. */
  #transaction: { events: number; added: number } | undefined;

  /** @param counters how many there are. */
  constructor({ counters, sharesSides }: { counters: number; sharesSides: boolean }) {
    this.#counters = counters;
    this.#sharesSides = sharesSides;
  }

  get all(): readonly PerfEvent[] {
    return this.#events;
  }

  /** How many at the start of the list were there when the PMU was last enabled. */
  get old(): number {
    return this.#events.length - this.#added;
  }

  get inTransaction(): boolean {
    return this.#transaction !== undefined;
  }

  /** The counter that the event at this place of the list is to have. */
  assigned(place: number): number {
    return this.#assigned[place]!;
  }

  /** The PMU is enabled, or disabled: from now on what is there is old. */
  settled(): void {
    this.#added = 0;
  }

  begin(): void {
    this.#transaction = { events: this.#events.length, added: this.#added };
  }

  /** Gives everything there a counter; false if it does not all fit, and `cancel` must follow. */
  commit(): boolean {
    const assigned = this.#schedule(this.#events);
    if (!assigned) return false;
    this.#assigned = assigned;
    this.#transaction = undefined;
    return true;
  }

  cancel(): void {
    const { events, added } = this.#transaction!;
    this.#events.length = events;
    this.#added = added;
    this.#transaction = undefined;
  }

  /** Whether there are no more events than counters with this one. */
  hasRoomFor(event: PerfEvent): boolean {
    if (!this.#sharesSides) return this.#events.length < this.#counters;
    const side = isGuestOnly(event) ? isHostOnly : isGuestOnly;
    return this.#events.filter((other) => !side(other)).length < this.#counters;
  }

  add(event: PerfEvent): void {
    this.#events.push(event);
    this.#added += 1;
  }

  remove(event: PerfEvent): void {
    const at = this.#events.indexOf(event);
    if (at < 0) return;
    if (at >= this.old) this.#added -= 1;
    this.#events.splice(at, 1);
    this.#assigned.splice(at, 1);
  }

  /** Whether the events would fit a PMU that has nothing else to do. */
  couldHold(events: readonly PerfEvent[]): boolean {
    const fresh = events.map(({ hw }) => ({ constraint: hw.constraint, previous: -1 }));
    return events.length <= this.#counters && assignCounters(fresh) !== undefined;
  }

  save() {
    return { events: this.#events.map(({ id }) => id), assigned: [...this.#assigned] };
  }

  restore(saved: ReturnType<HardwareEvents['save']>, event: (id: number) => PerfEvent): void {
    this.#events = saved.events.map(event);
    this.#assigned = [...saved.assigned];
    this.#added = 0;
  }

  #schedule(events: readonly PerfEvent[]): number[] | undefined {
    if (!agreeOnBranches(events)) return undefined;
    const wanted = ({ hw }: PerfEvent) => ({ constraint: hw.constraint, previous: hw.index });
    if (!this.#sharesSides) return assignCounters(events.map(wanted));
    // Sides apart: the guest's own events avoid only what counts on both sides.
    const rest = events.filter((event) => !isGuestOnly(event));
    const assigned = assignCounters(rest.map(wanted));
    if (!assigned) return undefined;
    let taken = 0n;
    rest.forEach((event, at) => {
      if (!isHostOnly(event)) taken |= bit(assigned[at]!);
    });
    const own = events.filter(isGuestOnly);
    const theirs = assignCounters(own.map(wanted), taken);
    if (!theirs) return undefined;
    return events.map((event) =>
      isGuestOnly(event) ? theirs[own.indexOf(event)]! : assigned[rest.indexOf(event)]!,
    );
  }
}
