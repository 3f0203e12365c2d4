import type { PerfEventAttr } from './attr.ts';
import type { Constraint } from './constraints.ts';
import type { PerfEventContext } from './context.ts';

/** States of an event, in Linux's order: what is above OFF wants a counter. */
export const STATE = {
  DEAD: -4,
  EXIT: -3,
  ERROR: -2,
  OFF: -1,
  INACTIVE: 0,
  ACTIVE: 1,
} as const;
export type PerfEventState = (typeof STATE)[keyof typeof STATE];

/** Called on every overflow that completes a period; the NMI of the host's PMU is its context. */
export type OverflowHandler = (event: PerfEvent) => void;

/** hw_perf_event: the event as the x86 driver sees it. */
export interface HardwareEvent {
  /** Counter: GP from 0, fixed from 32; -1 before the first assignment. Kept while the event is off. */
  index: number;
  lastCpu: number;
  lastTag: number;
  /** IA32_PERFEVTSELx without EN. */
  readonly config: bigint;
  readonly constraint: Constraint;
  /** Raw counter value that `count` already includes. */
  previous: bigint;
  samplePeriod: bigint;
  lastPeriod: bigint;
  periodLeft: bigint;
  stopped: boolean;
  upToDate: boolean;
  /** Was stopped when the PMU moved it: not to be started. */
  keepStopped: boolean;
  /** Overflows in the current tick, and which tick; for throttling. */
  interrupts: number;
  interruptsTick: number;
  throttled: boolean;
  freqTimeStamp: bigint;
  freqCountStamp: bigint;
}

/** An event as plain data; others by id. */
export interface SavedEvent {
  readonly id: number;
  readonly attr: PerfEventAttr;
  readonly cpu: number;
  readonly hw: Omit<HardwareEvent, 'constraint'>;
  readonly leader: number;
  readonly siblings: readonly number[];
  readonly state: PerfEventState;
  readonly count: bigint;
  readonly timeEnabled: bigint;
  readonly timeRunning: bigint;
  readonly stamp: bigint;
}

/** One perf event: an attribute, a context, a state, a count and its times. */
export class PerfEvent {
  readonly id: number;
  readonly attr: PerfEventAttr;
  /** CPU it is bound to, -1 for any. */
  readonly cpu: number;
  readonly hw: HardwareEvent;
  /** Called on overflow; whoever owns the event sets it again after a restore. */
  overflowHandler: OverflowHandler | undefined;
  context: PerfEventContext;
  /** Itself, or the leader of the group it belongs to. */
  leader: PerfEvent = this;
  /** Of a leader, the rest of the group. */
  siblings: PerfEvent[] = [];
  state: PerfEventState = STATE.OFF;
  count = 0n;
  /** Ticks in which it was enabled with its context active, and in which it had a counter. */
  timeEnabled = 0n;
  timeRunning = 0n;
  /** Context time up to which the two are accounted. */
  stamp = 0n;

  constructor(parts: {
    id: number;
    attr: PerfEventAttr;
    cpu: number;
    hw: HardwareEvent;
    context: PerfEventContext;
    overflowHandler?: OverflowHandler | undefined;
  }) {
    this.id = parts.id;
    this.attr = parts.attr;
    this.cpu = parts.cpu;
    this.hw = parts.hw;
    this.context = parts.context;
    this.overflowHandler = parts.overflowHandler;
  }

  get isSampling(): boolean {
    return this.attr.samplePeriod !== 0n || this.attr.sampleFreq !== 0;
  }

  /** The leader and its siblings. */
  get group(): readonly PerfEvent[] {
    return [this.leader, ...this.leader.siblings];
  }

  /** Accounts context time up to now to the state the event has been in. */
  updateTime(): void {
    const now = this.context.timeFor(this);
    const delta = now - this.stamp;
    this.stamp = now;
    if (this.#effectiveState() >= STATE.INACTIVE) this.timeEnabled += delta;
    if (this.#effectiveState() >= STATE.ACTIVE) this.timeRunning += delta;
  }

  setState(state: PerfEventState): void {
    if (this.state === state) return;
    this.updateTime();
    const enables = this.state < STATE.INACTIVE !== state < STATE.INACTIVE;
    // Siblings count as enabled only while their leader is.
    if (this.leader === this && enables) for (const sibling of this.siblings) sibling.updateTime();
    this.state = state;
  }

  save(): SavedEvent {
    const { constraint: _, ...hw } = this.hw;
    return {
      id: this.id,
      attr: this.attr,
      cpu: this.cpu,
      hw,
      leader: this.leader.id,
      siblings: this.siblings.map(({ id }) => id),
      state: this.state,
      count: this.count,
      timeEnabled: this.timeEnabled,
      timeRunning: this.timeRunning,
      stamp: this.stamp,
    };
  }

  /** All but its group, which needs the other events. */
  restore(saved: SavedEvent): void {
    Object.assign(this.hw, saved.hw);
    this.state = saved.state;
    this.count = saved.count;
    this.timeEnabled = saved.timeEnabled;
    this.timeRunning = saved.timeRunning;
    this.stamp = saved.stamp;
  }

  #effectiveState(): PerfEventState {
    return this.leader.state <= STATE.OFF ? this.leader.state : this.state;
  }
}
