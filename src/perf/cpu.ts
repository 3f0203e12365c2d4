import type { HostCpu } from '../host/cpu.ts';
import { HALVES, type Half, PerfEventContext } from './context.ts';
import { type PerfEvent, STATE } from './event.ts';
import { LbrStack } from './lbr-stack.ts';
import { X86Pmu, type X86PmuOptions } from './x86-pmu.ts';

const FLEXIBLE_ONLY: readonly Half[] = ['flexible'];

type Kind = PerfEventContext['kind'];

/** The order in which everything gets counters: the CPU before the task in each half. */
const ORDER: readonly (readonly [Half, Kind])[] = HALVES.flatMap((half) => [
  [half, 'cpu'] as const,
  [half, 'task'] as const,
]);

/** What comes no sooner than `half` of a context, of the contexts of one kind: what has to stand back for it. */
const notBefore = (half: Half, kind: Kind, of: Kind): Half[] => {
  const place = ORDER.findIndex(([h, k]) => h === half && k === kind);
  return ORDER.slice(place)
    .filter(([, k]) => k === of)
    .map(([h]) => h);
};

/**
 * perf on one CPU: its own context, the context of the task that runs there, and the order in which the two
 * get counters: CPU pinned, task pinned, CPU flexible, task flexible.
 */
export class PerfCpu {
  readonly host: HostCpu;
  readonly pmu: X86Pmu;
  readonly lbrStack: LbrStack;
  readonly context = new PerfEventContext('cpu');
  /** Context of the running task, if it has one. */
  task: PerfEventContext | undefined = undefined;
  /** An exclusive group is on the PMU. */
  #exclusive = false;
  /** Called when some flexible group found no counter: the rotation timer must run. */
  readonly #needsRotation: (cpu: PerfCpu) => void;
  readonly #failed: (leader: PerfEvent) => void;

  /** @param options.failed called with the leader of a group that goes to ERROR */
  constructor(
    host: HostCpu,
    options: X86PmuOptions & {
      needsRotation: (cpu: PerfCpu) => void;
      failed: (leader: PerfEvent) => void;
    },
  ) {
    this.host = host;
    this.pmu = new X86Pmu(host, options);
    this.lbrStack = new LbrStack(host, this.pmu.shape.lbrStack);
    this.#needsRotation = options.needsRotation;
    this.#failed = options.failed;
    this.context.cpu = host.id;
  }

  /** Whether some flexible group waits for its turn. */
  get rotates(): boolean {
    return this.context.rotateNecessary || (this.task?.rotateNecessary ?? false);
  }

  /** perf_event_context_sched_in: the task that starts running brings its events. */
  taskIn(context: PerfEventContext): void {
    this.task = context;
    context.cpu = this.host.id;
    // A task without events reschedules nobody.
    if (HALVES.every((half) => context.groups[half].length === 0)) return;
    const { lbr } = context;
    this.#masked(() => {
      // Pinned events of the task come before flexible ones of the CPU, which therefore stand back first.
      const first = HALVES.find((half) => context.groups[half].length > 0);
      if (first) this.#out(this.context, notBefore(first, 'task', 'cpu'));
      this.#allIn();
    });
    if (lbr && this.pmu.hasGuestLbr) this.lbrStack.restore(lbr);
  }

  /** The task that stops running takes its events off the PMU. */
  taskOut(): void {
    const context = this.task;
    if (!context) return;
    if (this.pmu.hasGuestLbr) context.lbr = this.lbrStack.save();
    this.#masked(() => this.#out(context, HALVES));
    context.stop(this.host.now());
    context.cpu = undefined;
    this.task = undefined;
  }

  /** ctx_resched: something about the events of `halves` in `context` has changed. */
  resched(context: PerfEventContext, half: Half): void {
    this.#masked(() => {
      for (const other of this.#contexts()) {
        this.#out(other, notBefore(half, context.kind, other.kind));
      }
      this.#allIn();
    });
  }

  /** perf_rotate_context: the flexible groups that have had their turn make room. Answers whether there was need. */
  rotate(): boolean {
    if (!this.rotates) return false;
    const { context, task } = this;
    const cpuLeader = context.rotateNecessary ? firstToRotate(context) : undefined;
    const taskLeader = task?.rotateNecessary ? firstToRotate(task) : undefined;
    this.#masked(() => {
      const moveTask = task !== undefined && (taskLeader !== undefined || cpuLeader !== undefined);
      if (moveTask) this.#out(task, FLEXIBLE_ONLY);
      if (cpuLeader) {
        this.#out(context, FLEXIBLE_ONLY);
        context.rotate(cpuLeader);
        this.#in(context, 'flexible');
      }
      if (task && taskLeader) task.rotate(taskLeader);
      if (moveTask) this.#in(task, 'flexible');
    });
    return true;
  }

  /** Takes one group off the PMU. */
  groupOut(leader: PerfEvent): void {
    if (leader.state !== STATE.ACTIVE) return;
    this.#masked(() => this.#groupOut(leader));
  }

  /** Takes one event off the PMU, its group left as it is. */
  eventOut(event: PerfEvent): void {
    if (event.state !== STATE.ACTIVE) return;
    this.#masked(() => this.#eventOut(event));
  }

  /** Everything that excludes guests off the PMU until `resume`: a mediated guest takes it. */
  displace(): void {
    this.#displaced = true;
    if (this.#isEmpty) return;
    this.#masked(() => {
      for (const context of this.#contexts()) {
        for (const half of HALVES) {
          for (const leader of [...context.active[half]]) {
            if (leader.attr.excludeGuest) this.#groupOut(leader);
          }
        }
      }
    });
  }

  /** What does not exclude guests leaves the PMU for good: it is in ERROR until somebody enables it again. */
  fail(): void {
    if (this.#isEmpty) return;
    this.#masked(() => {
      for (const context of this.#contexts()) {
        context.update(this.host.now());
        for (const half of HALVES) {
          for (const leader of context.groups[half]) {
            if (leader.state < STATE.INACTIVE || !this.#isHere(leader) || leader.attr.excludeGuest)
              continue;
            this.#groupOut(leader);
            this.#fail(leader);
          }
        }
      }
    });
  }

  /** Events that were displaced may come back, in the usual order. */
  resume(): void {
    this.#displaced = false;
    if (this.#isEmpty) return;
    this.#masked(() => {
      for (const context of this.#contexts()) this.#out(context, HALVES);
      this.#allIn();
    });
  }

  #displaced = false;

  save() {
    return {
      pmu: this.pmu.save(),
      context: this.context.save(),
      exclusive: this.#exclusive,
      displaced: this.#displaced,
    };
  }

  /** @param task the restored context of the task that runs here */
  restore(
    saved: ReturnType<PerfCpu['save']>,
    event: (id: number) => PerfEvent,
    task: PerfEventContext | undefined,
  ): void {
    this.pmu.restore(saved.pmu, event);
    this.context.restore(saved.context, event);
    this.task = task;
    this.#exclusive = saved.exclusive;
    this.#displaced = saved.displaced;
  }

  /** Nobody has an event here: the PMU need not be touched. */
  get #isEmpty(): boolean {
    return this.#contexts().every(({ groups }) =>
      HALVES.every((half) => groups[half].length === 0),
    );
  }

  #contexts(): readonly PerfEventContext[] {
    return this.task ? [this.context, this.task] : [this.context];
  }

  #masked(body: () => void): void {
    this.pmu.disable();
    body();
    this.pmu.enable();
  }

  #allIn(): void {
    for (const [half, kind] of ORDER) {
      const context = kind === 'cpu' ? this.context : this.task;
      if (context) this.#in(context, half);
    }
  }

  /** ctx_sched_in of one half. */
  #in(context: PerfEventContext, half: Half): void {
    if (context.scheduled[half]) return;
    context.start(this.host.now());
    context.update(this.host.now());
    context.scheduled[half] = true;
    let canAdd = true;
    for (const leader of [...context.groups[half]]) {
      if (leader.state <= STATE.OFF || !this.#isHere(leader)) continue;
      if (this.#displaced && leader.attr.excludeGuest) continue;
      if (canAdd && this.#exclusivityAllows(leader) && this.#groupIn(leader)) {
        context.active[half].push(leader);
        if (leader.attr.exclusive) this.#exclusive = true;
        continue;
      }
      // Once one group of a half did not fit, none behind it is tried.
      canAdd = false;
      if (half !== 'flexible') this.#fail(leader);
      else {
        context.rotateNecessary = true;
        this.#needsRotation(this);
      }
    }
  }

  /** ctx_sched_out of some halves. */
  #out(context: PerfEventContext, halves: readonly Half[]): void {
    context.update(this.host.now());
    for (const half of halves) {
      if (!context.scheduled[half]) continue;
      context.scheduled[half] = false;
      for (const leader of [...context.active[half]]) this.#groupOut(leader);
      if (half === 'flexible') context.rotateNecessary = false;
    }
  }

  #isHere(event: PerfEvent): boolean {
    return event.cpu === -1 || event.cpu === this.host.id;
  }

  #exclusivityAllows(leader: PerfEvent): boolean {
    if (this.#exclusive) return false;
    return (
      !leader.attr.exclusive ||
      this.#contexts().every(({ active }) => HALVES.every((half) => active[half].length === 0))
    );
  }

  /** group_sched_in: all of the group, or none of it. */
  #groupIn(leader: PerfEvent): boolean {
    const wanted = leader.group.filter((event) => event.state > STATE.OFF);
    this.pmu.begin();
    const collected: PerfEvent[] = [];
    for (const event of wanted) {
      event.setState(STATE.ACTIVE);
      collected.push(event);
      if (!this.pmu.add(event)) break;
      if (collected.length === wanted.length && this.pmu.commit()) {
        // intel_pmu_lbr_add: a new user finds nothing of another's.
        if (
          wanted.some(
            ({ attr, timeRunning }) => attr.branchSelect !== undefined && timeRunning === 0n,
          )
        ) {
          this.lbrStack.reset();
        }
        return true;
      }
    }
    for (const event of collected) event.setState(STATE.INACTIVE);
    this.pmu.cancel();
    return false;
  }

  #groupOut(leader: PerfEvent): void {
    const { context } = leader;
    context.update(this.host.now());
    const active = context.active[context.half(leader)];
    const at = active.indexOf(leader);
    if (at >= 0) active.splice(at, 1);
    if (leader.attr.exclusive) this.#exclusive = false;
    for (const event of leader.group) this.#eventOut(event);
  }

  #fail(leader: PerfEvent): void {
    leader.setState(STATE.ERROR);
    this.#failed(leader);
  }

  #eventOut(event: PerfEvent): void {
    if (event.state !== STATE.ACTIVE) return;
    event.context.update(this.host.now());
    this.pmu.delete(event);
    event.setState(STATE.INACTIVE);
  }
}

/** ctx_event_to_rotate: the first flexible group that is on, else the first there is. */
function firstToRotate(context: PerfEventContext): PerfEvent | undefined {
  const leader = context.active.flexible[0] ?? context.groups.flexible[0];
  context.rotateNecessary = false;
  return leader;
}
