import type { Campaign, Job, Shard } from './plan.ts';
import { jobsOf } from './plan.ts';
import { type FiledJob, type Part, type Report, Tally } from './report.ts';

/** Cases in one job: some tenths of a second of work. */
const JOB_SIZE = 50;

/** How long a job that is under way may go on after the signal. */
const LAST_MILLISECONDS = 2_000;

/** How far a run is. */
export interface Progress {
  readonly cases: number;
  readonly of: number;
  readonly accesses: number;
  readonly findings: number;
}

/** Somebody who executes jobs; what a job comes to is the same whoever does it. */
export interface Executor {
  /** How many jobs it takes at a time. */
  readonly width: number;
  /** A job that cannot be executed is filed; undefined if it was given up, for the run ends early. */
  execute(job: Job): Promise<Part | FiledJob | undefined>;
  close(): Promise<void>;
}

export interface RunOptions {
  readonly shard: Shard;
  readonly executor: Executor;
  /** Ends the run early: nothing new is begun, and what is under way has two seconds to come to its end. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** Runs a shard of a campaign. Its report does not depend on who executed what, nor in which order. */
export async function runCampaign(campaign: Campaign, options: RunOptions): Promise<Report> {
  const { shard, executor, signal, onProgress } = options;
  const tally = new Tally();
  const jobs = jobsOf(campaign, shard, JOB_SIZE);
  const of = Math.max(0, Math.ceil((campaign.cases - shard.part + 1) / shard.of));
  let complete = true;
  const tooLate = afterAbort(signal, LAST_MILLISECONDS);
  const lane = async (): Promise<void> => {
    for (;;) {
      if (signal?.aborted) {
        complete = false;
        return;
      }
      const next = jobs.next();
      if (next.done) return;
      const came = await Promise.race([executor.execute(next.value), tooLate.promise]);
      if (!came) {
        complete = false;
        return;
      }
      if ('why' in came) {
        tally.file(came);
        complete = false;
      } else tally.add(came);
      onProgress?.({
        cases: tally.cases,
        of,
        accesses: tally.accesses,
        findings: tally.findings,
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: executor.width }, lane));
  } finally {
    tooLate.forget();
    await executor.close();
  }
  return tally.report(campaign, [shard], complete && tally.cases === of);
}

/** A promise that resolves some time after a signal. */
function afterAbort(signal: AbortSignal | undefined, milliseconds: number) {
  let timer: NodeJS.Timeout | undefined;
  let onAbort = () => {};
  const promise = new Promise<undefined>((resolve) => {
    onAbort = () => {
      timer = setTimeout(() => resolve(undefined), milliseconds);
    };
  });
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  return {
    promise,
    forget: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}
