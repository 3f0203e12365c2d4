import { type HostCpu, RESCHEDULE_VECTOR } from './cpu.ts';
import type { Task } from './task.ts';
import { HostTimers } from './timers.ts';

/** Ticks of one second. */
export const TICKS_PER_SECOND = 3_000_000_000;

export interface KernelOptions {
  /** Timer ticks per second on each CPU; 0 is a host without a tick. */
  readonly hz?: number;
  /** Ticks a task runs before others that are ready get their turn: 3 ms unless told. */
  readonly slice?: number;
  /** Ticks one CPU may be ahead of another. */
  readonly quantum?: number;
}

/** One CPU's share of the scheduler. */
interface RunQueue {
  readonly host: HostCpu;
  readonly timers: HostTimers;
  current: Task | undefined;
  readonly ready: Task[];
  readonly blocked: Task[];
}

const TICK = 'tick';
const SLICE = 'slice';

/**
 * The host's scheduler: each CPU runs its tasks in turns, and the CPUs advance together, the one that is furthest
 * behind first. Nothing in it depends on anything but what it was given.
 */
export class HostKernel {
  readonly #queues: readonly RunQueue[];
  readonly #options: Required<KernelOptions>;
  readonly #onTick: ((cpu: number) => void)[] = [];
  /** Every task that was ever spawned, by name. */
  readonly #tasks = new Map<string, Task>();

  constructor(
    hosts: readonly HostCpu[],
    { hz = 0, slice = 9_000_000, quantum = 30_000 }: KernelOptions = {},
  ) {
    this.#options = { hz, slice, quantum };
    this.#queues = hosts.map((host) => ({
      host,
      timers: new HostTimers(host),
      current: undefined,
      ready: [],
      blocked: [],
    }));
    for (const queue of this.#queues) {
      queue.timers.register(TICK, (at) => this.#tick(queue, at));
      queue.timers.register(SLICE, () => {
        if (queue.ready.length > 0) queue.host.needResched = true;
      });
      if (hz > 0) queue.timers.arm(TICK, queue.host.now() + BigInt(this.tickLength));
    }
  }

  /** Whether this host has a timer tick. */
  get ticks(): boolean {
    return this.#options.hz > 0;
  }

  /** Ticks of the TSC between two timer ticks. */
  get tickLength(): number {
    return Math.floor(TICKS_PER_SECOND / Math.max(1, this.#options.hz));
  }

  timers(cpu: number): HostTimers {
    return this.#queue(cpu).timers;
  }

  /** Calls `handler` at each timer tick of each CPU. */
  onTick(handler: (cpu: number) => void): void {
    this.#onTick.push(handler);
  }

  /** The task that runs on a CPU. */
  current(cpu: number): Task | undefined {
    return this.#queue(cpu).current;
  }

  /** A new task, ready to run on a CPU. */
  spawn(task: Task, cpu = 0): void {
    this.#tasks.set(task.name, task);
    this.#makeReady(this.#queue(cpu), task);
  }

  /** Moves a task to another CPU. One that runs is interrupted first. */
  migrate(task: Task, to: number): void {
    for (const queue of this.#queues) {
      if (queue.current === task) {
        this.#interrupt(queue);
        this.#switchOut(queue);
        queue.host.needResched = false;
        this.spawn(task, to);
        return;
      }
      for (const list of [queue.ready, queue.blocked]) {
        const at = list.indexOf(task);
        if (at < 0) continue;
        list.splice(at, 1);
        if (list === queue.blocked) this.#cancelWake(queue, task);
        this.spawn(task, to);
        return;
      }
    }
  }

  /** Runs `body` as root-mode software of a CPU: if a guest is running there, it is interrupted first. */
  onCpu<Result>(cpu: number, body: (host: HostCpu) => Result): Result {
    const queue = this.#queue(cpu);
    const { needResched } = queue.host;
    this.#interrupt(queue);
    queue.host.needResched = needResched;
    return body(queue.host);
  }

  /** Runs all CPUs until each has reached `until`, or until `stop` says so. */
  run(until: bigint, stop: () => boolean = () => false): void {
    while (!stop()) {
      const queue = this.#queues.reduce((a, b) => (b.host.now() < a.host.now() ? b : a));
      if (queue.host.now() >= until) return;
      const others = this.#queues.filter((other) => other !== queue);
      const limits = others.map((other) => other.host.now() + BigInt(this.#options.quantum));
      this.#runCpu(queue, earliest([until, ...limits]));
    }
  }

  save() {
    const names = (tasks: readonly Task[]) => tasks.map(({ name }) => name);
    return {
      tasks: [...this.#tasks.values()].map((task) => [task.name, task.save()] as const),
      queues: this.#queues.map(({ timers, current, ready, blocked, host }) => ({
        host: host.save(),
        timers: timers.save(),
        current: current?.name,
        ready: names(ready),
        blocked: names(blocked),
      })),
    };
  }

  /** For a kernel with the same tasks; processors have been restored already. */
  restore(saved: ReturnType<HostKernel['save']>): void {
    const task = (name: string) => this.#tasks.get(name)!;
    for (const [name, state] of saved.tasks) task(name).restore(state);
    for (const [at, queue] of this.#queues.entries()) {
      const from = saved.queues[at]!;
      queue.host.restore(from.host);
      queue.timers.restore(from.timers);
      queue.current = from.current === undefined ? undefined : task(from.current);
      queue.current?.resumeOn?.(queue.host);
      queue.ready.splice(0, Infinity, ...from.ready.map(task));
      queue.blocked.splice(0, Infinity, ...from.blocked.map(task));
      for (const blocked of queue.blocked) queue.timers.register(wakeTimer(blocked), () => {});
    }
  }

  /** Whether every task is blocked for ever, or there is none. */
  get isIdle(): boolean {
    return this.#queues.every(
      ({ current, ready, blocked }) =>
        !current &&
        ready.length === 0 &&
        blocked.every((task) => !Number.isFinite(task.nextDeadline())),
    );
  }

  #runCpu(queue: RunQueue, until: bigint): void {
    const { host } = queue;
    this.#wake(queue);
    if (!queue.current) this.#switchIn(queue);
    const task = queue.current;
    if (!task) {
      host.halt(Math.max(1, Number(until - host.now())));
      return;
    }
    const stop = task.step(until);
    if (stop === 'budget') return;
    host.needResched = false;
    this.#switchOut(queue);
    if (stop === 'preempted') queue.ready.push(task);
    if (stop === 'blocked') this.#block(queue, task);
  }

  /** An IPI: whatever runs there comes back to root mode. */
  #interrupt(queue: RunQueue): void {
    const task = queue.current;
    if (!task?.inGuest) return;
    queue.host.needResched = true;
    queue.host.receiveIpi(RESCHEDULE_VECTOR);
    while (task.inGuest) task.step(queue.host.now() + 1n);
  }

  #block(queue: RunQueue, task: Task): void {
    queue.blocked.push(task);
    const deadline = task.nextDeadline();
    if (!Number.isFinite(deadline)) return;
    const name = wakeTimer(task);
    queue.timers.register(name, () => {});
    queue.timers.arm(name, BigInt(Math.ceil(deadline)));
  }

  #wake(queue: RunQueue): void {
    for (const task of [...queue.blocked]) {
      if (!task.wakes) continue;
      queue.blocked.splice(queue.blocked.indexOf(task), 1);
      this.#cancelWake(queue, task);
      this.#makeReady(queue, task);
    }
  }

  /** Whoever makes a task ready interrupts the CPU it is to run on: its timers are root mode's. */
  #makeReady(queue: RunQueue, task: Task): void {
    this.onCpu(queue.host.id, () => {
      queue.ready.push(task);
      this.#armSlice(queue);
    });
  }

  #cancelWake(queue: RunQueue, task: Task): void {
    this.onCpu(queue.host.id, () => queue.timers.cancel(wakeTimer(task)));
  }

  #switchIn(queue: RunQueue): void {
    const task = queue.ready.shift();
    if (!task) return;
    queue.host.spend('context-switch');
    queue.current = task;
    task.schedIn(queue.host);
    this.#armSlice(queue);
  }

  #switchOut(queue: RunQueue): void {
    queue.current?.schedOut();
    queue.current = undefined;
  }

  /** Only a task that somebody waits for has a slice that ends. */
  #armSlice(queue: RunQueue): void {
    if (!queue.current || queue.ready.length === 0 || queue.timers.isArmed(SLICE)) return;
    queue.timers.arm(SLICE, queue.host.now() + BigInt(this.#options.slice));
  }

  #tick(queue: RunQueue, at: bigint): void {
    queue.timers.arm(TICK, at + BigInt(this.tickLength));
    for (const handler of this.#onTick) handler(queue.host.id);
  }

  #queue(cpu: number): RunQueue {
    const found = this.#queues.find(({ host }) => host.id === cpu);
    if (!found) throw new RangeError(`there is no CPU ${cpu}`);
    return found;
  }
}

const wakeTimer = (task: Task): string => `wake ${task.name}`;

function earliest(times: readonly bigint[]): bigint {
  let least = times[0]!;
  for (const at of times) if (at < least) least = at;
  return least;
}
