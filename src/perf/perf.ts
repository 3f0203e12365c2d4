import type { HostCpu } from '../host/cpu.ts';
import type { PerfEventAttr } from './attr.ts';
import { GuestClaims } from './claims.ts';
import { HALVES, PerfEventContext, type SavedContext } from './context.ts';
import { PerfCpu } from './cpu.ts';
import { PerfError } from './error.ts';
import { type OverflowHandler, PerfEvent, STATE } from './event.ts';
import { FrequencyMode } from './frequency.ts';
import type { GuestMsr, GuestPebs } from './guest-msrs.ts';
import { checkAttributes, checkFits } from './open-checks.ts';
import type { X86PmuOptions } from './x86-pmu.ts';

/** A thread that events can follow. */
export interface PerfTask {
  readonly name: string;
  perf: PerfEventContext | undefined;
}

/** Whom an event watches: one CPU, a task wherever it runs, or a task on one CPU. */
export type PerfTarget =
  | { readonly cpu: number; readonly task?: undefined }
  | { readonly task: PerfTask; readonly cpu?: number };

/** What reading an event answers; times in ticks. */
export interface PerfReading {
  readonly count: bigint;
  readonly enabled: bigint;
  readonly running: bigint;
}

export interface PerfOptions extends X86PmuOptions {
  /** false: the host's PMU was given up at boot, there is none for anybody here. */
  readonly hasHardware?: boolean;
}

/** Vector of PMIs while a mediated guest owns the PMU. */
export const PERF_GUEST_MEDIATED_PMI_VECTOR = 0xf5;
const LVTPC = 0x834;
const LVT_MASKED = 1n << 16n;

/** count × enabled ÷ running, the estimate of what a counter that was there all the time would have read. */
export const scaled = ({ count, enabled, running }: PerfReading): bigint =>
  running === 0n ? 0n : (count * enabled + running / 2n) / running;

/** The perf subsystem of the host kernel: events, their contexts, and who gets a counter. */
export class Perf {
  readonly #cpus: readonly PerfCpu[];
  /** Called with a CPU whose flexible events need turns: `rotate` it after the multiplexing interval. */
  onRotationNeeded: ((cpu: number) => void) | undefined;
  /** Called with the leader of a group that goes to ERROR. */
  onError: ((leader: PerfEvent) => void) | undefined;
  /** Whether this host has a PMU to give. */
  readonly hasHardware: boolean;
  /** By CPU, what makes a guest give the PMU back that keeps it beyond its exits. Called when an event is programmed. */
  readonly reclaim = new Map<number, () => void>();
  /** Sampling rates: frequency mode and throttling. */
  readonly rates = new FrequencyMode();
  #nextId = 1;
  /** Live events, in the order of creation. */
  readonly #events = new Set<PerfEvent>();
  /** Who may not open an event that does not exclude guests, while VMs of some design exist. */
  readonly claims = new GuestClaims();
  /** CPUs on which a mediated guest owns the PMU. */
  readonly #guestOwned = new Set<number>();
  /** CPU of each task that runs, so that its first event finds it there. */
  readonly #running = new Map<PerfTask, number>();
  readonly #tasks = new Map<string, PerfTask>();

  constructor(hosts: readonly HostCpu[], options: PerfOptions = {}) {
    this.hasHardware = options.hasHardware ?? true;
    this.#cpus = hosts.map(
      (host) =>
        new PerfCpu(host, {
          ...options,
          needsRotation: (cpu) => this.onRotationNeeded?.(cpu.host.id),
          failed: (leader) => this.onError?.(leader),
        }),
    );
    for (const cpu of this.#cpus) cpu.host.onNmi(() => this.#nmi(cpu));
  }

  /** perf's view of a CPU. @throws RangeError on a CPU that does not exist. */
  cpu(id: number): PerfCpu {
    const found = this.#cpus.find(({ host }) => host.id === id);
    if (!found) throw new RangeError(`there is no CPU ${id}`);
    return found;
  }

  get events(): Iterable<PerfEvent> {
    return this.#events;
  }

  /**
   * perf_event_open and perf_event_create_kernel_counter. A pinned event that finds no counter is created all
   * the same, in ERROR. @throws PerfError EOPNOTSUPP while a mediated VM exists, unless the event excludes guests;
   * or for a precise event on a PMU without PEBS; EINVAL for a group that could never be scheduled, or a precise event
   * that does not sample.
   */
  create(
    attr: PerfEventAttr,
    target: PerfTarget,
    { leader, overflow }: { leader?: PerfEvent; overflow?: OverflowHandler } = {},
  ): PerfEvent {
    if (!this.hasHardware) throw new PerfError('ENOENT', 'this host has given its PMU up');
    if (!attr.excludeGuest) this.claims.check(target);
    const { pmu } = this.#cpus[0]!;
    checkAttributes(attr, pmu);
    const context = this.#contextOf(target);
    const event = new PerfEvent({
      id: this.#nextId++,
      attr,
      cpu: target.cpu ?? -1,
      hw: pmu.newHardwareEvent(attr),
      context,
      overflowHandler: overflow,
    });
    checkFits(event, leader, pmu);
    if (leader) event.leader = leader;
    const on = this.#cpuOf(context);
    if (on) context.update(on.host.now());
    event.stamp = context.timeFor(event);
    if (!attr.disabled) event.state = STATE.INACTIVE;
    if (leader) leader.siblings.push(event);
    else context.add(event);
    this.#events.add(event);
    // What does not run anyway reschedules nobody (perf_install_in_context).
    if (on && !attr.disabled && event.leader.state !== STATE.OFF) this.#reschedule(event, on);
    return event;
  }

  /** perf_event_enable; an event in ERROR gets another chance. */
  enable(event: PerfEvent): void {
    if (event.state >= STATE.INACTIVE || event.state < STATE.ERROR) return;
    const { leader } = event;
    const on = this.#cpuOf(event.context);
    if (on) event.context.update(on.host.now());
    if (event.state === STATE.ERROR) event.setState(STATE.OFF);
    event.setState(STATE.INACTIVE);
    if (on && (leader === event || leader.state === STATE.ACTIVE)) this.#reschedule(event, on);
  }

  /** perf_event_disable. An event in ERROR stays there. */
  disable(event: PerfEvent): void {
    if (event.state <= STATE.OFF) return;
    const on = this.#cpuOf(event.context);
    if (on) {
      event.context.update(on.host.now());
      if (event.leader === event) on.groupOut(event);
      else on.eventOut(event);
    }
    event.setState(STATE.OFF);
  }

  /** perf_event_pause: disables, and answers the count; `reset` sets it to 0. */
  pause(event: PerfEvent, reset: boolean): bigint {
    this.disable(event);
    const { count } = event;
    if (reset) event.count = 0n;
    return count;
  }

  /** perf_event_period: a new sampling period, from now on. */
  setPeriod(event: PerfEvent, period: bigint): void {
    event.hw.samplePeriod = period;
    const on = event.state === STATE.ACTIVE ? this.#cpuOf(event.context) : undefined;
    if (!on) {
      event.hw.periodLeft = 0n;
      return;
    }
    on.pmu.disable();
    on.pmu.stop(event, true);
    event.hw.periodLeft = 0n;
    on.pmu.start(event, true);
    on.pmu.enable();
  }

  /** perf_event_read_value. A pinned event in ERROR reads as end of file: `undefined`. */
  read(event: PerfEvent): PerfReading | undefined {
    if (event.state === STATE.ERROR) return undefined;
    const on = this.#cpuOf(event.context);
    if (on) {
      event.context.update(on.host.now());
      if (event.state === STATE.ACTIVE) on.pmu.update(event);
    }
    event.updateTime();
    return { count: event.count, enabled: event.timeEnabled, running: event.timeRunning };
  }

  /** perf_event_release_kernel. Siblings of a leader that goes become groups of their own. */
  release(event: PerfEvent): void {
    if (event.state === STATE.DEAD) return;
    const on = this.#cpuOf(event.context);
    if (on) {
      event.context.update(on.host.now());
      on.eventOut(event);
    }
    if (event.leader === event) {
      event.context.remove(event);
      // perf_group_detach: those that are on hardware stay there.
      for (const sibling of event.siblings) {
        sibling.leader = sibling;
        event.context.add(sibling);
      }
      event.siblings = [];
    } else {
      const { siblings } = event.leader;
      siblings.splice(siblings.indexOf(event), 1);
    }
    event.setState(STATE.DEAD);
    this.#events.delete(event);
  }

  /** A task starts running on a CPU. */
  taskIn(id: number, task: PerfTask): void {
    this.register(task);
    this.#running.set(task, id);
    if (task.perf) this.cpu(id).taskIn(task.perf);
  }

  /** The task that runs on a CPU stops running. */
  taskOut(id: number): void {
    for (const [task, cpu] of this.#running) if (cpu === id) this.#running.delete(task);
    this.cpu(id).taskOut();
  }

  /** The rotation timer of a CPU fires. Answers whether it is still needed. */
  rotate(id: number): boolean {
    const cpu = this.cpu(id);
    cpu.rotate();
    return cpu.rotates;
  }

  /** perf_event_task_tick: periods of events in frequency mode are adjusted, throttled events go on. */
  tick(id: number): void {
    const cpu = this.cpu(id);
    this.rates.tick(cpu, [...cpu.pmu.events]);
  }

  /** perf_guest_get_msrs: what to load at VM entry and what to restore at VM exit on this CPU. */
  guestMsrs(id: number, guest?: GuestPebs): GuestMsr[] {
    return this.cpu(id).pmu.guestMsrs(guest);
  }

  /** A guest is about to run on a CPU: where events share counters by side, the guest's take their place. */
  enterGuest(id: number): void {
    this.cpu(id).pmu.enterGuest();
  }

  exitGuest(id: number): void {
    this.cpu(id).pmu.exitGuest();
  }

  /**
   * perf_create_mediated_pmu. From now on no event may be opened that does not exclude guests.
   * @throws PerfError EBUSY if such an event lives.
   */
  createMediatedPmu(): void {
    for (const event of this.#events) {
      if (event.attr.excludeGuest) continue;
      throw new PerfError('EBUSY', 'an event that does not exclude guests is open');
    }
    this.claims.add('refuse');
  }

  releaseMediatedPmu(): void {
    this.claims.remove('refuse');
  }

  /** Whether anything of a CPU or of its task waits for a counter or has one. */
  hasEvents(id: number): boolean {
    const { context, task } = this.cpu(id);
    return [context, task].some((each) =>
      HALVES.some((half) => each?.groups[half].some(({ state }) => state >= STATE.INACTIVE)),
    );
  }

  /**
   * perf_load_guest_context: every event that excludes guests makes room, interrupts off. What does not exclude
   * them, where designs allow it to be there at all, goes to ERROR.
   */
  loadGuestContext(id: number, meeting: 'displace' | 'error' = 'displace'): void {
    const cpu = this.cpu(id);
    cpu.host.spend('perf-load-guest');
    // One time for all of it, as in Linux: an event ages neither without a counter nor beyond it.
    this.#setGuest(cpu, true);
    if (meeting === 'error') cpu.fail();
    cpu.displace();
    this.#guestOwned.add(id);
  }

  /** perf_put_guest_context. */
  putGuestContext(id: number): void {
    const cpu = this.cpu(id);
    cpu.host.spend('perf-put-guest');
    this.#guestOwned.delete(id);
    cpu.resume();
    this.#setGuest(cpu, false);
  }

  /** perf_load_guest_lvtpc: PMIs take a vector of their own, masked as the guest's LVTPC is. */
  loadGuestLvtpc(id: number, masked: boolean): void {
    const lvtpc = BigInt(PERF_GUEST_MEDIATED_PMI_VECTOR) | (masked ? LVT_MASKED : 0n);
    this.cpu(id).host.wrmsr(LVTPC, lvtpc);
  }

  putGuestLvtpc(id: number): void {
    this.cpu(id).pmu.armLvtpc();
  }

  /** An event by its number, if it lives. */
  event(id: number): PerfEvent | undefined {
    for (const event of this.#events) if (event.id === id) return event;
    return undefined;
  }

  /** Makes a thread known, so that its context can be restored. Names are its identity. */
  register(task: PerfTask): void {
    this.#tasks.set(task.name, task);
  }

  save() {
    return {
      nextId: this.#nextId,
      events: [...this.#events].map((event) => event.save()),
      cpus: this.#cpus.map((cpu) => cpu.save()),
      tasks: [...this.#tasks.values()].map(({ name, perf }) => ({ name, context: perf?.save() })),
      running: [...this.#running].map(([{ name }, cpu]) => [name, cpu] as const),
      guestOwned: [...this.#guestOwned],
      claims: this.claims.save(),
      rates: this.rates.save(),
    };
  }

  /**
   * Resumes from what a perf on the same CPUs with the same threads saved. Events that still live stay the same
   * objects; of the others, whoever owns them sets the overflow handler again.
   */
  restore(saved: ReturnType<Perf['save']>): void {
    const old = new Map([...this.#events].map((event) => [event.id, event]));
    const contexts = new Map<number, PerfEventContext>();
    const collect = (context: PerfEventContext, { groups }: SavedContext) => {
      for (const half of HALVES) for (const id of groups[half]) contexts.set(id, context);
    };
    for (const [at, cpu] of this.#cpus.entries()) collect(cpu.context, saved.cpus[at]!.context);
    for (const { name, context } of saved.tasks) {
      const task = this.#tasks.get(name)!;
      task.perf = context && (task.perf ?? new PerfEventContext('task'));
      if (task.perf && context) collect(task.perf, context);
    }
    this.#events.clear();
    for (const each of saved.events) {
      const context = contexts.get(each.leader)!;
      const event =
        old.get(each.id) ??
        new PerfEvent({
          id: each.id,
          attr: each.attr,
          cpu: each.cpu,
          hw: this.#cpus[0]!.pmu.newHardwareEvent(each.attr),
          context,
        });
      event.context = context;
      event.restore(each);
      this.#events.add(event);
    }
    const byId = new Map([...this.#events].map((event) => [event.id, event]));
    const event = (id: number) => byId.get(id)!;
    for (const { id, leader, siblings } of saved.events) {
      event(id).leader = event(leader);
      event(id).siblings = siblings.map(event);
    }
    for (const { name, context } of saved.tasks) {
      if (context) this.#tasks.get(name)!.perf!.restore(context, event);
    }
    this.#running.clear();
    for (const [name, cpu] of saved.running) this.#running.set(this.#tasks.get(name)!, cpu);
    this.#cpus.forEach((cpu, at) => {
      const running = saved.running.find(([, id]) => id === cpu.host.id)?.[0];
      const task = running === undefined ? undefined : this.#tasks.get(running)?.perf;
      cpu.restore(saved.cpus[at]!, event, task);
    });
    this.#guestOwned.clear();
    for (const id of saved.guestOwned) this.#guestOwned.add(id);
    this.#nextId = saved.nextId;
    this.claims.restore(saved.claims, (name) => this.#tasks.get(name)!);
    this.rates.restore(saved.rates);
  }

  #nmi(cpu: PerfCpu): number {
    // While a mediated guest's LVTPC is loaded no NMI is perf's.
    if (this.#events.size === 0 || this.#guestOwned.has(cpu.host.id)) return 0;
    return cpu.host.within('host-pmi', () =>
      cpu.pmu.handleIrq((event) => {
        if (!event.isSampling) return;
        this.rates.overflow(cpu, event);
        event.overflowHandler?.(event);
      }),
    );
  }

  #reschedule({ leader, context }: PerfEvent, on: PerfCpu): void {
    if (this.#guestOwned.has(on.host.id)) this.reclaim.get(on.host.id)?.();
    on.resched(context, context.half(leader));
  }

  #setGuest({ host, context, task }: PerfCpu, guest: boolean): void {
    const now = host.now();
    context.setGuest(now, guest);
    task?.setGuest(now, guest);
  }

  #contextOf(target: PerfTarget): PerfEventContext {
    if (!target.task) return this.cpu(target.cpu).context;
    const { task } = target;
    this.register(task);
    if (!task.perf) {
      task.perf = new PerfEventContext('task');
      const running = this.#running.get(task);
      if (running !== undefined) this.cpu(running).taskIn(task.perf);
    }
    return task.perf;
  }

  #cpuOf(context: PerfEventContext): PerfCpu | undefined {
    return context.cpu === undefined ? undefined : this.cpu(context.cpu);
  }
}
