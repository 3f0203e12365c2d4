import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { FAULTS, type Fault } from './faults.ts';
import { planted } from './planted.ts';

/** The tests that are to notice, quickest first. */
const WATCHERS = [
  'test/kvm/policy.test.ts',
  'test/kvm/mediated-vpmu.test.ts',
  'test/kvm/emulated-vpmu.test.ts',
  'test/kvm/run-loop.test.ts',
  'test/kvm/fastpath.test.ts',
  'test/kvm/pmi-exits.test.ts',
  'test/kvm/handover.test.ts',
  'test/kvm/extras.test.ts',
  'test/kvm/guest-lbr.test.ts',
  'test/perf/perf.test.ts',
  'test/lab/probes.test.ts',
  'test/kvm/guests.test.ts',
  'test/machine/host-machine.test.ts',
  'test/kvm/overflow-placement.test.ts',
  'test/kvm/random-exits.test.ts',
  'test/lab/scenarios/scenarios.test.ts',
];

/** Faults looked at side by side. */
const ABREAST = Math.max(1, Math.min(4, availableParallelism()));
const PATIENCE_MS = 180_000;
/** Only the faults of these numbers, with commas between. */
const ONLY = process.env['COUNTERPOINT_FAULTS']?.split(',').map(Number);

/** Bundles every watcher with one fault in the sources, or none. */
async function plant(fault: Fault | undefined, directory: string): Promise<void> {
  await build({
    entryPoints: WATCHERS.map((watcher) => ({ in: watcher, out: basename(watcher, '.ts') })),
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    outdir: directory,
    outExtension: { '.js': '.mjs' },
    logLevel: 'silent',
    alias: { vitest: resolve('test/judges/kvm/plain-runner.ts') },
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    plugins: [planted(fault)],
  });
}

/** Runs one bundled watcher; a fault that hangs it is noticed, too. */
const passes = (watcher: string, directory: string): Promise<boolean> =>
  new Promise((done) => {
    const bundle = join(directory, `${basename(watcher, '.ts')}.mjs`);
    const child = spawn(process.execPath, [bundle], { stdio: 'ignore', timeout: PATIENCE_MS });
    child.on('exit', (status) => done(status === 0));
  });

/** How many faults of a source file each watcher has noticed so far: those that see much of it look first. */
const witnesses = new Map<string, Map<string, number>>();

/** The first watcher that notices. One that fails without a fault is no witness. */
async function noticed(
  { file }: Fault,
  directory: string,
  sound: (watcher: string) => Promise<boolean>,
) {
  const seen = witnesses.get(file) ?? new Map<string, number>();
  witnesses.set(file, seen);
  const sharpest = WATCHERS.toSorted((a, b) => (seen.get(b) ?? 0) - (seen.get(a) ?? 0));
  for (const watcher of sharpest) {
    if (await passes(watcher, directory)) continue;
    expect(await sound(watcher), `${watcher} without a fault`).toBe(true);
    seen.set(watcher, (seen.get(watcher) ?? 0) + 1);
    return watcher;
  }
  return undefined;
}

it('the tests notice every fault planted in kvm', async () => {
  const root = mkdtempSync(join(tmpdir(), 'counterpoint-faults-'));
  try {
    for (const { file, from } of FAULTS) {
      expect(readFileSync(file, 'utf8').split(from), `${file}: ${from}`).toHaveLength(2);
    }
    const clean = join(root, 'clean');
    await plant(undefined, clean);
    const known = new Map<string, Promise<boolean>>();
    const sound = (watcher: string) => {
      const answer = known.get(watcher) ?? passes(watcher, clean);
      known.set(watcher, answer);
      return answer;
    };
    const queue = [...FAULTS.entries()].filter(([at]) => ONLY?.includes(at) ?? true);
    const all = queue.length;
    const survivors: string[] = [];
    const work = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [at, fault] = next;
        const directory = join(root, String(at));
        await plant(fault, directory);
        const watcher = await noticed(fault, directory, sound);
        rmSync(directory, { recursive: true });
        const place = `${at} ${fault.file}: ${fault.from.trim().split('\n')[0]}`;
        process.stdout.write(watcher ? `noticed  ${place} (${watcher})\n` : `SURVIVED ${place}\n`);
        if (!watcher) survivors.push(place);
      }
    };
    await Promise.all(Array.from({ length: ABREAST }, work));
    process.stdout.write(`${all - survivors.length} of ${all} faults noticed\n`);
    expect(survivors).toEqual([]);
  } finally {
    rmSync(root, { recursive: true });
  }
});
