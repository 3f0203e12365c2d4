import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { FAULTS, type Fault } from './faults.ts';

/** The tests that are to notice, quickest first. */
const WATCHERS = [
  'test/kvm/policy.test.ts',
  'test/kvm/mediated-vpmu.test.ts',
  'test/kvm/emulated-vpmu.test.ts',
  'test/kvm/fastpath.test.ts',
  'test/kvm/pmi-exits.test.ts',
  'test/lab/scenarios/scenarios.test.ts',
  'test/kvm/extras.test.ts',
  'test/kvm/guests.test.ts',
  'test/machine/host-machine.test.ts',
  'test/kvm/random-exits.test.ts',
  'test/kvm/overflow-placement.test.ts',
];

/** Bundles a test with one fault in it, or none, and runs it; whether it passed. */
async function passes(
  watcher: string,
  fault: Fault | undefined,
  directory: string,
): Promise<boolean> {
  const outfile = join(directory, 'watcher.mjs');
  const plain = resolve('test/judges/kvm/plain-runner.ts');
  await build({
    entryPoints: [watcher],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    logLevel: 'silent',
    alias: { vitest: plain },
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    plugins: [
      {
        name: 'fault',
        setup(context) {
          context.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
            if (!fault || !path.endsWith(fault.file)) return undefined;
            const sound = readFileSync(path, 'utf8');
            return { contents: sound.replace(fault.from, () => fault.to), loader: 'ts' };
          });
        },
      },
    ],
  });
  return spawnSync(process.execPath, [outfile], { timeout: 300_000 }).status === 0;
}

it('the tests notice nearly every fault planted in kvm', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'counterpoint-faults-'));
  try {
    const only = Number(process.env['COUNTERPOINT_FAULT'] ?? -1);
    for (const { file, from } of FAULTS) {
      expect(readFileSync(file, 'utf8').split(from), `${file}: ${from}`).toHaveLength(2);
    }
    for (const watcher of WATCHERS) {
      expect(await passes(watcher, undefined, directory), `${watcher} without a fault`).toBe(true);
    }
    const survivors: string[] = [];
    for (const [at, fault] of FAULTS.entries()) {
      if (only >= 0 && only !== at) continue;
      let noticed = '';
      for (const watcher of WATCHERS) {
        if (await passes(watcher, fault, directory)) continue;
        noticed = watcher;
        break;
      }
      const place = `${at} ${fault.file}: ${fault.from.trim().split('\n')[0]}`;
      process.stdout.write(noticed ? `noticed  ${place} (${noticed})\n` : `SURVIVED ${place}\n`);
      if (!noticed) survivors.push(place);
    }
    expect(survivors.length, survivors.join('\n')).toBeLessThanOrEqual(2);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
