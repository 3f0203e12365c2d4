import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FAULTS } from './faults.ts';

/** The tests that are to notice, quickest first. */
const WATCHERS = [
  'test/kvm/mediated-vpmu.test.ts',
  'test/kvm/emulated-vpmu.test.ts',
  'test/kvm/pmi-exits.test.ts',
  'test/lab/scenarios',
  'test/kvm/random-exits.test.ts',
  'test/kvm/guests.test.ts',
  'test/kvm/overflow-placement.test.ts',
  'test/kvm/policy.test.ts',
];

const NEEDED = ['src', 'test', 'firmware', 'package.json', 'tsconfig.json'];

it('the tests notice nearly every fault planted in kvm', () => {
  const tree = mkdtempSync(join(tmpdir(), 'counterpoint-faults-'));
  try {
    for (const name of NEEDED) cpSync(name, join(tree, name), { recursive: true });
    symlinkSync(join(process.cwd(), 'node_modules'), join(tree, 'node_modules'));
    const only = Number(process.env['COUNTERPOINT_FAULT'] ?? -1);
    const survivors: string[] = [];
    for (const [at, { file, from, to }] of FAULTS.entries()) {
      if (only >= 0 && only !== at) continue;
      const path = join(tree, file);
      const sound = readFileSync(path, 'utf8');
      expect(sound.split(from), `${file}: ${from}`).toHaveLength(2);
      writeFileSync(
        path,
        sound.replace(from, () => to),
      );
      const run = WATCHERS.some((watcher) => {
        const { status } = spawnSync('npx', ['vitest', 'run', '--bail', '1', watcher], {
          cwd: tree,
          timeout: 300_000,
        });
        return status !== 0;
      });
      writeFileSync(path, sound);
      const line = `${run ? 'noticed ' : 'SURVIVED'} ${at} ${file}: ${from.trim().split('\n')[0]}`;
      process.stdout.write(`${line}\n`);
      if (!run) survivors.push(line);
    }
    expect(survivors.length, survivors.join('\n')).toBeLessThanOrEqual(2);
  } finally {
    rmSync(tree, { recursive: true });
  }
});
