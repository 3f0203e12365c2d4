import { Command } from 'commander';
import { CounterpointError } from '../../../bits/error.ts';
import { executeInPool, serveJobs, type WorkerCommand } from '../../../fuzz/campaign/pool.ts';
import { serveQueue } from '../../../fuzz/campaign/queue.ts';
import { Worker } from '../../../fuzz/campaign/work.ts';
import { VERSION } from '../../version.ts';
import { ending } from './ending.ts';
import type { Options } from './options.ts';

/** A child process is this command again. */
export const CHILD: WorkerCommand = { module: process.argv[1] ?? '', args: ['fuzz', 'worker'] };

export const tellTrouble = (why: string): void =>
  void process.stderr.write(`counterpoint: ${why}; waiting\n`);

/** Serves a queue until Ctrl-C. Child processes execute the jobs, so that one which dies takes nothing along. */
async function serve(url: string, { jobs, quiet }: Options): Promise<void> {
  const end = ending();
  const executor = executeInPool(CHILD, jobs);
  const onReady = () =>
    void (
      quiet ||
      process.stderr.write(`counterpoint: serving with ${jobs} jobs at a time; Ctrl-C ends\n`)
    );
  const queue = { url, version: VERSION, signal: end.signal, onReady, onTrouble: tellTrouble };
  try {
    await serveQueue(queue, executor);
  } finally {
    await executor.close();
  }
  process.exitCode = end.done() ?? 0;
}

export const workerCommand = new Command('worker')
  .description('execute jobs that fuzz --redis puts into a queue, until Ctrl-C')
  .option('--redis <url>', 'the Redis server that has the queue')
  .action(async (_: unknown, command: Command) => {
    const options = command.optsWithGlobals<Options>();
    if (options.redis !== undefined) return serve(options.redis, options);
    if (!process.send) {
      throw new CounterpointError('usage', 'fuzz worker is told where the queue is by --redis');
    }
    const worker = new Worker();
    return serveJobs((job) => worker.execute(job));
  });
