/*
 * The scheduling rules of perf, small and independent of src/perf: written from the rules (order of the four halves,
 * groups whole or not at all, pinned to ERROR, flexible wait, who makes room for whom), not from the code.
 */

export type Counters = readonly number[];
export type ModelState = 'off' | 'waiting' | 'on' | 'error';

export interface ModelEvent {
  readonly id: number;
  /** Counters it may live on. */
  readonly counters: Counters;
  readonly pinned: boolean;
  /** The one CPU it counts on, if it is bound to one. */
  readonly only: number | undefined;
  state: ModelState;
}

/** A leader and its siblings. */
interface Group {
  readonly members: ModelEvent[];
}

type Half = 'pinned' | 'flexible';

/** The events of a CPU or of a task. */
interface Context {
  readonly kind: 'cpu' | 'task';
  readonly groups: Record<Half, Group[]>;
  /** Halves that have been gone through since they were last taken off. */
  readonly done: Set<Half>;
  /** Some flexible group found no counter since its last turn. */
  short: boolean;
  /** The CPU it is on. */
  cpu: number | undefined;
}

const newContext = (kind: 'cpu' | 'task', cpu?: number): Context => ({
  kind,
  groups: { pinned: [], flexible: [] },
  done: new Set(),
  short: false,
  cpu,
});

/** Whether every event can have a counter of its own: a bipartite matching by augmenting paths. */
export function fits(events: readonly ModelEvent[]): boolean {
  const owner = new Map<number, ModelEvent>();
  const place = (event: ModelEvent, seen: Set<number>): boolean =>
    event.counters.some((counter) => {
      if (seen.has(counter)) return false;
      seen.add(counter);
      const other = owner.get(counter);
      if (other && !place(other, seen)) return false;
      owner.set(counter, event);
      return true;
    });
  return events.every((event) => place(event, new Set()));
}

const leaderOf = ({ members }: Group): ModelEvent => members[0]!;
const halfOf = (group: Group): Half => (leaderOf(group).pinned ? 'pinned' : 'flexible');

export class SchedulingModel {
  readonly #cpus: readonly Context[];
  readonly #tasks: readonly Context[];

  constructor(cpus: number, tasks: number) {
    this.#cpus = Array.from({ length: cpus }, (_, cpu) => newContext('cpu', cpu));
    this.#tasks = Array.from({ length: tasks }, () => newContext('task'));
  }

  /** The CPU a task runs on. */
  cpuOf(task: number): number | undefined {
    return this.#tasks[task]!.cpu;
  }

  /** The task that runs on a CPU. */
  taskOn(cpu: number): number | undefined {
    const at = this.#tasks.findIndex((task) => task.cpu === cpu);
    return at < 0 ? undefined : at;
  }

  /** Whether a group with one more event could ever be on. */
  couldGrow(leader: ModelEvent, event: ModelEvent): boolean {
    const [, group] = this.#find(leader);
    return leaderOf(group) === leader && fits([...group.members, event]);
  }

  /** A new event: a group of its own in a context, or a sibling. */
  add(event: ModelEvent, where: { cpu: number } | { task: number } | { leader: ModelEvent }): void {
    if ('leader' in where) {
      const [context, group] = this.#find(where.leader);
      group.members.push(event);
      if (event.state !== 'off' && leaderOf(group).state !== 'off') this.#changed(context, group);
      return;
    }
    const context = 'cpu' in where ? this.#cpus[where.cpu]! : this.#tasks[where.task]!;
    const group = { members: [event] };
    context.groups[halfOf(group)].push(group);
    if (event.state !== 'off') this.#changed(context, group);
  }

  enable(event: ModelEvent): void {
    if (event.state === 'on' || event.state === 'waiting') return;
    event.state = 'waiting';
    const [context, group] = this.#find(event);
    if (leaderOf(group) === event || leaderOf(group).state === 'on') this.#changed(context, group);
  }

  disable(event: ModelEvent): void {
    if (event.state === 'off' || event.state === 'error') return;
    const [, group] = this.#find(event);
    if (leaderOf(group) === event) for (const member of group.members) takeOff(member);
    event.state = 'off';
  }

  /** An event goes. What it led goes on alone, each where it is. */
  remove(event: ModelEvent): void {
    const [context, group] = this.#find(event);
    const { members } = group;
    if (leaderOf(group) !== event) {
      members.splice(members.indexOf(event), 1);
      return;
    }
    const half = context.groups[halfOf(group)];
    half.splice(half.indexOf(group), 1);
    for (const sibling of members.slice(1)) context.groups.flexible.push({ members: [sibling] });
  }

  taskIn(task: number, cpu: number): void {
    const context = this.#tasks[task]!;
    context.cpu = cpu;
    const { pinned, flexible } = context.groups;
    if (pinned.length + flexible.length === 0) return;
    if (pinned.length > 0) this.#out(this.#cpus[cpu]!, 'flexible');
    this.#in(cpu);
  }

  taskOut(task: number): void {
    const context = this.#tasks[task]!;
    this.#out(context, 'pinned');
    this.#out(context, 'flexible');
    context.cpu = undefined;
  }

  rotate(cpu: number): void {
    const contexts = this.#on(cpu);
    const turns = contexts.map((context) => {
      if (!context.short) return undefined;
      context.short = false;
      const list = context.groups.flexible;
      return list.find((group) => leaderOf(group).state === 'on') ?? list[0];
    });
    const [own, task] = turns;
    if (!own && !task) return;
    const [cpuContext, taskContext] = contexts as [Context, Context | undefined];
    const behind = (context: Context, group: Group) => {
      const list = context.groups.flexible;
      list.push(...list.splice(list.indexOf(group), 1));
    };
    if (taskContext) this.#out(taskContext, 'flexible');
    if (own) {
      this.#out(cpuContext, 'flexible');
      behind(cpuContext, own);
      this.#enterHalf(cpu, cpuContext, 'flexible');
    }
    if (taskContext && task) behind(taskContext, task);
    if (taskContext) this.#enterHalf(cpu, taskContext, 'flexible');
  }

  #find(event: ModelEvent): [Context, Group] {
    for (const context of [...this.#cpus, ...this.#tasks]) {
      for (const half of ['pinned', 'flexible'] as const) {
        const group = context.groups[half].find(({ members }) => members.includes(event));
        if (group) return [context, group];
      }
    }
    throw new Error(`event ${event.id} is in no group`);
  }

  /** The contexts on a CPU: its own, and that of the task that runs there. */
  #on(cpu: number): Context[] {
    return [this.#cpus[cpu]!, ...this.#tasks.filter((task) => task.cpu === cpu)];
  }

  /** Something about a group changed: it and all that comes after it make room, and everything is tried again. */
  #changed(context: Context, group: Group): void {
    const { cpu } = context;
    if (cpu === undefined) return;
    const order: [Half, Context][] = (['pinned', 'flexible'] as const).flatMap((half) =>
      this.#on(cpu).map((each): [Half, Context] => [half, each]),
    );
    const from = order.findIndex(([half, each]) => half === halfOf(group) && each === context);
    for (const [half, each] of order.slice(from)) this.#out(each, half);
    this.#in(cpu);
  }

  #out(context: Context, half: Half): void {
    if (!context.done.has(half)) return;
    context.done.delete(half);
    for (const { members } of context.groups[half]) for (const member of members) takeOff(member);
    if (half === 'flexible') context.short = false;
  }

  #in(cpu: number): void {
    for (const half of ['pinned', 'flexible'] as const) {
      for (const context of this.#on(cpu)) this.#enterHalf(cpu, context, half);
    }
  }

  #enterHalf(cpu: number, context: Context, half: Half): void {
    if (context.done.has(half)) return;
    context.done.add(half);
    let open = true;
    for (const group of context.groups[half]) {
      const leader = leaderOf(group);
      if (leader.state !== 'waiting') continue;
      if (leader.only !== undefined && leader.only !== cpu) continue;
      const wanted = group.members.filter(({ state }) => state === 'waiting');
      if (open && fits([...this.#running(cpu), ...wanted])) {
        for (const member of wanted) member.state = 'on';
        continue;
      }
      open = false;
      if (leader.pinned) leader.state = 'error';
      else context.short = true;
    }
  }

  #running(cpu: number): ModelEvent[] {
    return this.#on(cpu)
      .flatMap(({ groups }) => [...groups.pinned, ...groups.flexible])
      .flatMap(({ members }) => members)
      .filter(({ state }) => state === 'on');
  }
}

function takeOff(event: ModelEvent): void {
  if (event.state === 'on') event.state = 'waiting';
}
