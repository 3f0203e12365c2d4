import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Draw } from '../../../src/fuzz/draw.ts';
import { buildCommand, counterpoint, start } from '../../cli/command.ts';

const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
/** Workers that are killed, and times that the server is. */
const KILLS = { WORKER: 7, SERVER: 3 } as const;
const CASES = '400';
const CAMPAIGN = ['--seed', 'redis', '--design', 'passthrough', '-p', 'sapphire-rapids', '--cases'];

let folder: string;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'counterpoint-redis-'));
  await buildCommand();
}, 60_000);

afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

function keep(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

const ended = (child: ChildProcess): Promise<number | null> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve(child.exitCode)
    : new Promise((resolve) => child.once('exit', resolve));

const kill = async (child: ChildProcess): Promise<void> => {
  child.kill('SIGKILL');
  await ended(child);
};

/** A server that writes down everything it is told. */
const startServer = (port: number) =>
  keep(
    spawn(
      'redis-server',
      [
        '--port',
        `${port}`,
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--save',
        '',
        '--appendonly',
        'yes',
      ],
      { stdio: 'ignore' },
    ),
  );

/** Waits for a line of stderr that tells of this. */
const untilItSays = (child: ChildProcess, told: string): Promise<void> =>
  new Promise((resolve) =>
    child.stderr!.on('data', (text) => String(text).includes(told) && resolve()),
  );

async function untilItAnswers(port: number): Promise<void> {
  while (spawnSync('redis-cli', ['-p', `${port}`, 'ping']).stdout?.toString() !== 'PONG\n') {
    await setTimeout(50);
  }
}

it.skipIf(!hasRedis)(
  'a campaign over Redis whose workers and server are killed ten times has the report of the single run',
  async () => {
    const port = await freePort();
    const url = `redis://127.0.0.1:${port}`;
    let server = startServer(port);
    await untilItAnswers(port);
    const startWorker = async () => {
      const worker = keep(start('fuzz', 'worker', '--redis', url));
      await untilItSays(worker, 'serving');
      return worker;
    };
    const workers = [await startWorker(), await startWorker()];
    const report = join(folder, 'queue.json');
    const producer = keep(start('fuzz', ...CAMPAIGN, CASES, '--redis', url, '--output', report));
    let told = '';
    producer.stdout!.on('data', (text) => {
      told += text;
    });
    producer.stderr!.on('data', (text) => {
      told += text;
    });
    await untilItSays(producer, 'executed by');
    const draw = new Draw('kills');
    const kinds = [
      ...Array.from({ length: KILLS.WORKER }, () => 'worker'),
      ...Array.from({ length: KILLS.SERVER }, () => 'server'),
    ];
    let kills = 0;
    while (kinds.length > 0) {
      await setTimeout(draw.below(1000));
      const [kind] = kinds.splice(draw.below(kinds.length), 1);
      if (kind === 'worker') {
        const at = draw.below(workers.length);
        await kill(workers[at]!);
        workers[at] = await startWorker();
      } else {
        await kill(server);
        await setTimeout(draw.below(300));
        server = startServer(port);
        await untilItAnswers(port);
      }
      kills += 1;
    }
    expect(producer.exitCode).toBe(null);
    expect(await ended(producer), told).toBe(0);
    // A worker ends cleanly when it is asked to.
    for (const worker of workers) worker.kill('SIGINT');
    expect(await Promise.all(workers.map(ended))).toEqual([130, 130]);
    const single = join(folder, 'single.json');
    expect(counterpoint('fuzz', ...CAMPAIGN, CASES, '--output', single).status).toBe(0);
    expect(readFileSync(report, 'utf8')).toBe(readFileSync(single, 'utf8'));
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({
      complete: true,
      cases: Number(CASES),
    });
    expect(kills).toBe(10);
    await kill(server);
  },
  600_000,
);
