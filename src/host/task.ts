import type { HostCpu } from './cpu.ts';

/** How far a task came. */
export type TaskStop =
  /** The time it was given is over. */
  | 'budget'
  /** It gave way because `needResched` was set. */
  | 'preempted'
  /** It waits, until `wakes` or `nextDeadline`. */
  | 'blocked'
  | 'exited';

/** A thread of the host. All its state is data: it can be stopped between any two steps, and saved. */
export interface Task {
  readonly name: string;
  /** It gets a CPU; and gives it up again. */
  schedIn(host: HostCpu): void;
  schedOut(): void;
  /** Runs until `until` ticks of its CPU's time at most. */
  step(until: bigint): TaskStop;
  /** Whether a blocked task can go on. */
  readonly wakes: boolean;
  /** Ticks at which a blocked task wakes by itself; Infinity if never. */
  nextDeadline(): number;
  /** After a restore: the CPU the task is on, if any, without scheduling anything. */
  resumeOn?(host: HostCpu | undefined): void;
  /** It is in the middle of something that must end before `schedOut`. */
  readonly inGuest?: boolean;
  /** What of the task is nobody else's to save, as plain data. */
  save(): unknown;
  restore(saved: unknown): void;
}

/** An instruction mix that a host program runs at CPL 3 or 0, over and over. */
export interface Mix {
  readonly ticks: number;
  readonly instructions: number;
}

/** A host program: it does nothing but work, in root operation. */
export class HostProgram implements Task {
  readonly name: string;
  readonly wakes = true;
  readonly #mix: Mix;
  readonly #onSchedule: { in?: (host: HostCpu) => void; out?: () => void };
  #host: HostCpu | undefined;
  /** Rounds of the mix that are left; Infinity never ends. */
  #rounds: number;

  constructor(
    name: string,
    mix: Mix,
    {
      rounds = Number.POSITIVE_INFINITY,
      onSchedule = {},
    }: { rounds?: number; onSchedule?: { in?: (host: HostCpu) => void; out?: () => void } } = {},
  ) {
    this.name = name;
    this.#mix = mix;
    this.#rounds = rounds;
    this.#onSchedule = onSchedule;
  }

  schedIn(host: HostCpu): void {
    this.#host = host;
    this.#onSchedule.in?.(host);
  }

  schedOut(): void {
    this.#onSchedule.out?.();
    this.#host = undefined;
  }

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  save(): { readonly rounds: number | 'for ever'; readonly host: HostCpu['id'] | undefined } {
    const rounds = Number.isFinite(this.#rounds) ? this.#rounds : 'for ever';
    return { rounds, host: this.#host?.id };
  }

  /** The scheduler gives a program that runs its CPU back. */
  restore(saved: unknown): void {
    const { rounds } = saved as ReturnType<HostProgram['save']>;
    this.#rounds = rounds === 'for ever' ? Number.POSITIVE_INFINITY : rounds;
  }

  /** Says on which CPU the program is, without scheduling anything: after a restore. */
  resumeOn(host: HostCpu | undefined): void {
    this.#host = host;
  }

  step(until: bigint): TaskStop {
    const host = this.#host!;
    while (this.#rounds > 0) {
      if (host.needResched) return 'preempted';
      if (host.now() >= until) return 'budget';
      host.work(this.#mix.ticks, this.#mix.instructions);
      this.#rounds -= 1;
    }
    return 'exited';
  }
}
