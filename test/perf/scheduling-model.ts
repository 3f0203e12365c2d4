/*
 * The scheduling rules of perf, small and independent of src/perf: written from the rules (order of the four halves,
 * pinned to ERROR, flexible wait, who makes room for whom), not from the code. Groups here are single events.
 */

export type Counters = readonly number[];
export type ModelState = 'off' | 'waiting' | 'on' | 'error';

export interface ModelEvent {
  readonly id: number;
  readonly owner: 'cpu' | 'task';
  readonly pinned: boolean;
  /** Counters it may live on. */
  readonly counters: Counters;
  state: ModelState;
}

type Half = `${'cpu' | 'task'}-${'pinned' | 'flexible'}`;
const ORDER: readonly Half[] = ['cpu-pinned', 'task-pinned', 'cpu-flexible', 'task-flexible'];

const halfOf = ({ owner, pinned }: ModelEvent): Half =>
  `${owner}-${pinned ? 'pinned' : 'flexible'}`;

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

export class SchedulingModel {
  /** In the order in which they take their turns, per half. */
  readonly #halves: Record<Half, ModelEvent[]> = {
    'cpu-pinned': [],
    'task-pinned': [],
    'cpu-flexible': [],
    'task-flexible': [],
  };
  #taskRuns = false;
  /** Halves that have been gone through since they were last taken off. */
  readonly #done = new Set<Half>();
  readonly #short = { cpu: false, task: false };

  get events(): readonly ModelEvent[] {
    return ORDER.flatMap((half) => this.#halves[half]);
  }

  add(event: ModelEvent): void {
    this.#halves[halfOf(event)].push(event);
    if (event.state === 'waiting') this.#changed(event);
  }

  enable(event: ModelEvent): void {
    if (event.state === 'on' || event.state === 'waiting') return;
    event.state = 'waiting';
    this.#changed(event);
  }

  disable(event: ModelEvent): void {
    if (event.state === 'on' || event.state === 'waiting') event.state = 'off';
  }

  remove(event: ModelEvent): void {
    const list = this.#halves[halfOf(event)];
    list.splice(list.indexOf(event), 1);
  }

  taskIn(): void {
    this.#taskRuns = true;
    if (this.#halves['task-pinned'].length > 0) this.#out(['cpu-flexible']);
    this.#in();
  }

  taskOut(): void {
    this.#out(['task-pinned', 'task-flexible']);
    this.#taskRuns = false;
  }

  rotate(): void {
    const first = (owner: 'cpu' | 'task'): ModelEvent | undefined => {
      if (!this.#short[owner] || (owner === 'task' && !this.#taskRuns)) return undefined;
      this.#short[owner] = false;
      const list = this.#halves[`${owner}-flexible`];
      return list.find(({ state }) => state === 'on') ?? list[0];
    };
    const cpu = first('cpu');
    const task = first('task');
    if (!cpu && !task) return;
    const behind = (event: ModelEvent) => {
      const list = this.#halves[halfOf(event)];
      list.push(...list.splice(list.indexOf(event), 1));
    };
    if (this.#taskRuns) this.#out(['task-flexible']);
    if (cpu) {
      this.#out(['cpu-flexible']);
      behind(cpu);
      this.#enterHalf('cpu-flexible');
    }
    if (task) behind(task);
    if (this.#taskRuns) this.#enterHalf('task-flexible');
  }

  /** Something about an event changed: what may have to make room for it does. */
  #changed(event: ModelEvent): void {
    if (event.owner === 'task' && !this.#taskRuns) return;
    const mine: Half[] = [`${event.owner}-flexible`];
    if (event.pinned) mine.push(`${event.owner}-pinned`, 'cpu-flexible', 'task-flexible');
    // The task comes after the CPU in each half, so it always makes room.
    mine.push('task-flexible');
    if (event.pinned) mine.push('task-pinned');
    this.#out(mine);
    this.#in();
  }

  #out(halves: readonly Half[]): void {
    for (const half of halves) {
      if (!this.#done.has(half)) continue;
      this.#done.delete(half);
      for (const event of this.#halves[half]) if (event.state === 'on') event.state = 'waiting';
      if (half === 'cpu-flexible') this.#short.cpu = false;
      if (half === 'task-flexible') this.#short.task = false;
    }
  }

  #in(): void {
    for (const half of ORDER) this.#enterHalf(half);
  }

  #enterHalf(half: Half): void {
    const owner = half.startsWith('cpu') ? 'cpu' : 'task';
    if (this.#done.has(half) || (owner === 'task' && !this.#taskRuns)) return;
    this.#done.add(half);
    let open = true;
    for (const event of this.#halves[half]) {
      if (event.state !== 'waiting') continue;
      const on = this.events.filter(({ state }) => state === 'on');
      if (open && fits([...on, event])) event.state = 'on';
      else {
        open = false;
        if (event.pinned) event.state = 'error';
        else this.#short[owner] = true;
      }
    }
  }
}
