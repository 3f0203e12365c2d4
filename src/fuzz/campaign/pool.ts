import { type ChildProcess, fork } from 'node:child_process';
import type { Job } from './plan.ts';
import type { FiledJob, Part } from './report.ts';
import type { Executor } from './run.ts';

/** A worker that goes away three times over one job will go away again. */
const MOST_TRIES = 3;
/** A job takes some tenths of a second, with findings to shrink some seconds: one that takes so long never ends. */
const MOST_MILLISECONDS = 600_000;

/** The module that a child process runs, and what it is told on its command line. */
export interface WorkerCommand {
  readonly module: string;
  readonly args: readonly string[];
}

/** A child process, and the job it has. */
class Child {
  readonly #process: ChildProcess;
  #settle: ((part: Part | undefined) => void) | undefined;
  #alive = true;

  constructor({ module, args }: WorkerCommand) {
    this.#process = fork(module, [...args], {
      // Signals of the terminal are the parent's to answer.
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#process.on('message', (part) => this.#done(part as Part));
    this.#process.on('exit', () => this.#gone());
    this.#process.on('error', () => this.#gone());
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** What the job came to; undefined if the process went away over it, or did not come to its end in time. */
  execute(job: Job, milliseconds: number): Promise<Part | undefined> {
    return new Promise((resolve) => {
      const watchdog = setTimeout(() => this.end(), milliseconds);
      this.#settle = (part) => {
        clearTimeout(watchdog);
        resolve(part);
      };
      if (this.#alive) this.#process.send(job, (error) => error && this.#gone());
      else this.#done(undefined);
    });
  }

  end(): void {
    this.#process.kill('SIGKILL');
  }

  #gone(): void {
    this.#alive = false;
    this.#done(undefined);
  }

  #done(part: Part | undefined): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(part);
  }
}

/**
 * Executes jobs in so many child processes. One that dies, or does not come to an end, loses nothing: its job is tried
 * again in a new one.
 */
export function executeInPool(
  command: WorkerCommand,
  width: number,
  milliseconds = MOST_MILLISECONDS,
): Executor {
  const idle: Child[] = [];
  const all = new Set<Child>();
  const take = (): Child => {
    for (let child = idle.pop(); child; child = idle.pop()) {
      if (child.alive) return child;
      all.delete(child);
    }
    const made = new Child(command);
    all.add(made);
    return made;
  };
  return {
    width,
    async execute(job): Promise<Part | FiledJob> {
      for (let tries = 0; tries < MOST_TRIES; tries++) {
        const child = take();
        const part = await child.execute(job, milliseconds);
        if (part) {
          idle.push(child);
          return part;
        }
        all.delete(child);
      }
      const { first, step, count, campaign } = job;
      const why = `its worker went away ${MOST_TRIES} times`;
      return { seed: campaign.seed, first, step, count, why };
    },
    async close() {
      for (const child of all) child.end();
    },
  };
}

/** What a child process does: executes the jobs it is sent, one after the other, until its parent goes. */
export function serveJobs(execute: (job: Job) => Part): void {
  process.on('message', (job) => process.send?.(execute(job as Job)));
  process.on('disconnect', () => process.exit());
}
