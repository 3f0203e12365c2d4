import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planCampaign } from '../../src/fuzz/campaign/plan.ts';
import { executeInPool } from '../../src/fuzz/campaign/pool.ts';
import { type Progress, runCampaign } from '../../src/fuzz/campaign/run.ts';

/**
 * A worker that dies over the job it is told, or stands still if its last argument says so, so often, and counts cases
 * of the others. Each death leaves a file.
 */
const WORKER = `
import { readdirSync, writeFileSync } from 'node:fs';
const [folder, first, deaths, how] = process.argv.slice(2);
process.on('message', (job) => {
  const died = readdirSync(folder).length;
  if (job.first === Number(first) && died < Number(deaths)) {
    writeFileSync(folder + '/' + died, '');
    if (how === 'dies') process.kill(process.pid, 'SIGKILL');
    return;
  }
  process.send({ cases: job.count, accesses: job.first, findings: [], coverage: [] });
});
process.on('disconnect', () => process.exit());
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'counterpoint-pool-'));
  writeFileSync(join(folder, 'worker.mjs'), WORKER);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CAMPAIGN = planCampaign({ seed: 'pool', cases: 400 });

interface Troubles {
  readonly how?: 'dies' | 'stands still';
  /** When a worker is taken to stand still. */
  readonly milliseconds?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

async function run(
  deaths: number,
  jobs: number,
  { how = 'dies', milliseconds, ...told }: Troubles = {},
) {
  const graves = mkdtempSync(join(folder, 'graves-'));
  const args = [graves, '150', String(deaths), how];
  const command = { module: join(folder, 'worker.mjs'), args };
  const report = await runCampaign(CAMPAIGN, {
    shard: { part: 1, of: 1 },
    executor: executeInPool(command, jobs, milliseconds),
    ...told,
  });
  return { report, died: readdirSync(graves).length };
}

describe('child processes that share a campaign', () => {
  it('give the same report one or three at a time', async () => {
    const [one, three] = [await run(0, 1), await run(0, 3)];
    expect(JSON.stringify(three.report)).toBe(JSON.stringify(one.report));
    expect(one.report).toMatchObject({ complete: true, cases: 400 });
  });

  it('lose nothing when one is killed twice over a job', async () => {
    const { report, died } = await run(2, 2);
    expect(died).toBe(2);
    expect(JSON.stringify(report)).toBe(JSON.stringify((await run(0, 2)).report));
  });

  it('file the seed of a job that kills three, and finish the rest', async () => {
    const { report, died } = await run(9, 2);
    expect(died).toBe(3);
    expect(report).toMatchObject({
      complete: false,
      cases: 350,
      filed: [
        { seed: 'pool', first: 150, step: 1, count: 50, why: 'its worker went away 3 times' },
      ],
    });
  });

  it('file the seed of a job that three never come back from, and finish the rest', async () => {
    const { report, died } = await run(9, 2, { how: 'stands still', milliseconds: 3_000 });
    expect(died).toBe(3);
    expect(report).toMatchObject({ complete: false, cases: 350, filed: [{ first: 150 }] });
  });

  it('end at a signal although one never comes back', async () => {
    const controller = new AbortController();
    const onProgress = ({ cases }: Progress) => cases === 350 && controller.abort();
    const { signal } = controller;
    const { report } = await run(9, 2, { how: 'stands still', signal, onProgress });
    expect(report).toMatchObject({ complete: false, cases: 350, filed: [] });
  });
});
