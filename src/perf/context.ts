import { type PerfEvent, STATE } from './event.ts';
import type { SavedLbrStack } from './lbr-stack.ts';

/**
 * The parts of a context, those that are scheduled first in front. `priority` is the class that was proposed for
 * KVM's events in October 2023; Linux has the other two.
 */
export const HALVES = ['priority', 'pinned', 'flexible'] as const;
export type Half = (typeof HALVES)[number];

const each = <Value>(make: () => Value): Record<Half, Value> => ({
  priority: make(),
  pinned: make(),
  flexible: make(),
});

const mapHalves = <From, To>(
  from: Record<Half, From>,
  to: (value: From) => To,
): Record<Half, To> => ({
  priority: to(from.priority),
  pinned: to(from.pinned),
  flexible: to(from.flexible),
});

/** A context as plain data; events by id. */
export interface SavedContext {
  readonly groups: Readonly<Record<Half, readonly number[]>>;
  readonly active: Readonly<Record<Half, readonly number[]>>;
  readonly scheduled: Readonly<Record<Half, boolean>>;
  readonly rotateNecessary: boolean;
  readonly cpu: number | undefined;
  readonly time: bigint;
  readonly guestTime: bigint;
  readonly stamp: bigint;
  readonly running: boolean;
  readonly guest: boolean;
  readonly lbr: SavedLbrStack | undefined;
}

/** The events of one CPU, or of one task: group leaders in the order they take their turns. */
export class PerfEventContext {
  readonly kind: 'cpu' | 'task';
  /** Group leaders, first to be scheduled first. */
  readonly groups = each<PerfEvent[]>(() => []);
  /** Leaders that are on hardware, in the order they came. */
  readonly active = each<PerfEvent[]>(() => []);
  /** Halves that are scheduled in. */
  readonly scheduled = each(() => false);
  /** Some flexible group found no counter since the last rotation. */
  rotateNecessary = false;
  /** CPU on which the context is scheduled in, undefined while it is not. */
  cpu: number | undefined = undefined;
  /** The LBR stack of a guest whose thread does not run. */
  lbr: SavedLbrStack | undefined = undefined;
  /** Ticks in which the context was scheduled in, and of those the ticks that a mediated guest owned the PMU. */
  #time = 0n;
  #guestTime = 0n;
  #stamp = 0n;
  #running = false;
  #guest = false;

  constructor(kind: 'cpu' | 'task') {
    this.kind = kind;
  }

  half(leader: PerfEvent): Half {
    if (leader.attr.priority) return 'priority';
    return leader.attr.pinned ? 'pinned' : 'flexible';
  }

  add(leader: PerfEvent): void {
    const half = this.half(leader);
    this.groups[half].push(leader);
    if (leader.state === STATE.ACTIVE) this.active[half].push(leader);
  }

  remove(leader: PerfEvent): void {
    const half = this.half(leader);
    for (const list of [this.groups[half], this.active[half]]) {
      const at = list.indexOf(leader);
      if (at >= 0) list.splice(at, 1);
    }
  }

  /** Puts a flexible group behind all others. */
  rotate(leader: PerfEvent): void {
    this.remove(leader);
    this.groups.flexible.push(leader);
  }

  /** Time of the context as `event` is charged for it: what excludes guests does not age while one has the PMU. */
  timeFor(event: PerfEvent): bigint {
    return event.attr.excludeGuest ? this.#time - this.#guestTime : this.#time;
  }

  /** Brings the context's time up to `now`. */
  update(now: bigint): void {
    if (!this.#running) return;
    this.#time += now - this.#stamp;
    if (this.#guest) this.#guestTime += now - this.#stamp;
    this.#stamp = now;
  }

  start(now: bigint): void {
    if (this.#running) return;
    this.#running = true;
    this.#stamp = now;
  }

  stop(now: bigint): void {
    this.update(now);
    this.#running = false;
  }

  save(): SavedContext {
    const ids = (events: Record<Half, PerfEvent[]>) =>
      mapHalves(events, (list) => list.map(({ id }) => id));
    return {
      groups: ids(this.groups),
      active: ids(this.active),
      scheduled: { ...this.scheduled },
      rotateNecessary: this.rotateNecessary,
      cpu: this.cpu,
      time: this.#time,
      guestTime: this.#guestTime,
      stamp: this.#stamp,
      running: this.#running,
      guest: this.#guest,
      lbr: this.lbr,
    };
  }

  /** @param event the event of an id; all of them have been restored already */
  restore(saved: SavedContext, event: (id: number) => PerfEvent): void {
    for (const half of HALVES) {
      this.groups[half] = saved.groups[half].map(event);
      this.active[half] = saved.active[half].map(event);
      this.scheduled[half] = saved.scheduled[half];
    }
    this.rotateNecessary = saved.rotateNecessary;
    this.cpu = saved.cpu;
    this.#time = saved.time;
    this.#guestTime = saved.guestTime;
    this.#stamp = saved.stamp;
    this.#running = saved.running;
    this.#guest = saved.guest;
    this.lbr = saved.lbr;
  }

  /** From `now` on a mediated guest owns the PMU, or no longer does. */
  setGuest(now: bigint, guest: boolean): void {
    this.update(now);
    this.#guest = guest;
  }
}
