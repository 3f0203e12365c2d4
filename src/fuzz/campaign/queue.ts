import { setTimeout } from 'node:timers/promises';
import { CounterpointError } from '../../bits/error.ts';
import type { Job } from './plan.ts';
import type { FiledJob, Part } from './report.ts';
import type { Executor } from './run.ts';

/** Jobs of a campaign that lie in the queue at a time. */
const AHEAD = 64;
/** Milliseconds between two looks at a job. */
const LOOK = 200;
/** Milliseconds for which a worker has a job unless it says that it still has; then another gets it. */
const LOCK = 5_000;
/** A worker that went away says nothing about the job: its child processes are what a job can take along. */
const ANY_NUMBER = 1_000_000;
/** Seconds for which the queue keeps what nobody has asked for. */
const KEEP = { age: 86_400 } as const;
/** Milliseconds after which a server that is not there keeps nobody from ending. */
const PATIENCE = 2_000;

const loaded = async () => {
  try {
    return { ...(await import('bullmq')), Redis: (await import('ioredis')).Redis };
  } catch {
    throw new CounterpointError(
      'no-bullmq',
      'a queue on Redis takes two packages that are not installed: npm install bullmq ioredis',
    );
  }
};

/** Where a server is, without the password. */
function placeOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new CounterpointError('bad-url', `'${url}' is no redis://host:port`);
  }
  return `${parsed.protocol}//${parsed.host}`;
}

/** A server that goes away comes back: commands wait for it. */
const connectionTo = (url: string) => ({
  url,
  maxRetriesPerRequest: null,
  retryStrategy: (times: number) => Math.min(100 * times, 1_000),
});

/** BullMQ, with a server there to be talked to. @throws CounterpointError `no-bullmq`, `bad-url`, `no-redis` */
async function reach(url: string) {
  const place = placeOf(url);
  const library = await loaded();
  const client = new library.Redis(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5_000,
  });
  let why: unknown;
  client.on('error', (error) => {
    why = error;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    const { code, message } = (why ?? error) as NodeJS.ErrnoException;
    throw new CounterpointError('no-redis', `${place}: no Redis answers (${code ?? message})`);
  } finally {
    client.disconnect();
  }
  return library;
}

/** Jobs of two versions come to different things. */
const queueName = (version: string) => `counterpoint-fuzz-${version}`;

export interface QueueOptions {
  /** `redis://host:port` */
  readonly url: string;
  /** Of counterpoint. */
  readonly version: string;
  /** Gives up what is not executed yet. */
  readonly signal: AbortSignal;
  /** Called when the queue is served. */
  readonly onReady?: () => void;
  /** Called when the server goes away or refuses something, which is waited for to end. */
  readonly onTrouble?: (why: string) => void;
}

/** Tells of a trouble once, until it is another one. */
function troubles({ url, onTrouble }: QueueOptions): (error: Error) => void {
  let told: string | undefined;
  return (error) => {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = `${placeOf(url)}: ${code ?? message}`;
    if (why !== told) onTrouble?.(why);
    told = why;
  };
}

/** Has jobs executed by whoever serves the queue. What the server forgets is put there again. */
export async function executeOverQueue(options: QueueOptions): Promise<Executor> {
  const { url, version, signal } = options;
  const { Queue } = await reach(url);
  const queue = new Queue<Job, Part | FiledJob>(queueName(version), {
    connection: connectionTo(url),
  });
  const trouble = troubles(options);
  queue.on('error', trouble);
  /** One look at a job: what it came to, if it has. */
  const look = async (job: Job): Promise<Part | FiledJob | undefined> => {
    const queued = await queue.getJob(job.id);
    if (!queued) {
      await queue.add('cases', job, { jobId: job.id, removeOnComplete: KEEP, removeOnFail: KEEP });
    } else if (queued.returnvalue || queued.failedReason) await queued.remove();
    return queued?.returnvalue ?? undefined;
  };
  const pending = new Map<string, (nothing: undefined) => void>();
  const outcome = async (job: Job): Promise<Part | FiledJob | undefined> => {
    while (!signal.aborted) {
      const came = await look(job).catch(trouble);
      if (came) return came;
      await setTimeout(LOOK);
    }
    return undefined;
  };
  const giveUp = () => {
    for (const resolve of pending.values()) resolve(undefined);
  };
  signal.addEventListener('abort', giveUp, { once: true });
  return {
    width: AHEAD,
    async execute(job) {
      const came = await new Promise<Part | FiledJob | undefined>((resolve) => {
        pending.set(job.id, resolve);
        void outcome(job).then(resolve);
      });
      if (came) pending.delete(job.id);
      return came;
    },
    async close() {
      const withdrawn = Promise.allSettled([...pending.keys()].map((id) => queue.remove(id)));
      await Promise.race([withdrawn, setTimeout(PATIENCE, undefined, { ref: false })]);
      await queue.disconnect();
    },
  };
}

/** Executes jobs of the queue until it is told to end; those under way are finished. */
export async function serveQueue(options: QueueOptions, executor: Executor): Promise<void> {
  const { url, version, signal } = options;
  const { Worker } = await reach(url);
  const worker = new Worker<Job, Part | FiledJob | undefined>(
    queueName(version),
    ({ data }) => executor.execute(data),
    {
      connection: connectionTo(url),
      concurrency: executor.width,
      lockDuration: LOCK,
      stalledInterval: LOCK / 2,
      maxStalledCount: ANY_NUMBER,
      runRetryDelay: 500,
    },
  );
  worker.on('error', troubles(options));
  await worker.waitUntilReady();
  options.onReady?.();
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
  await worker.close();
}
