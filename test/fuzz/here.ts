import { setImmediate } from 'node:timers/promises';
import type { Executor } from '../../src/fuzz/campaign/run.ts';
import { Worker } from '../../src/fuzz/campaign/work.ts';

/** Executes jobs in this process, one after the other; signals arrive in between. */
export function executeHere(): Executor {
  const worker = new Worker();
  return {
    width: 1,
    execute: async (job) => {
      await setImmediate();
      return worker.execute(job);
    },
    close: async () => {},
  };
}
