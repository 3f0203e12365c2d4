import type { Campaign, Job, Shard } from './plan.ts';
import { jobsOf } from './plan.ts';
import { type FiledJob, type Part, type Report, Tally } from './report.ts';

/** Cases in one job: some tenths of a second of work. */
const JOB_SIZE = 50;

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
  /** Ends the run early: what is under way is finished, nothing new begun. */
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
  const lane = async (): Promise<void> => {
    for (;;) {
      if (signal?.aborted) {
        complete = false;
        return;
      }
      const next = jobs.next();
      if (next.done) return;
      const came = await executor.execute(next.value);
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
    await executor.close();
  }
  return tally.report(campaign, [shard], complete && tally.cases === of);
}
