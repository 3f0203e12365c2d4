import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { FAULTS, type Fault } from '../kvm/faults.ts';
import { planted } from '../kvm/planted.ts';
import { NESTED_FAULTS } from './nested-faults.ts';

/** Seconds of processor time for each. */
const SECONDS = '60';
/** Every how manieth fault is looked at. */
const EVERY = Number(process.env['COUNTERPOINT_EVERY'] ?? 1);

/** Designs that execute what the fault is in. */
const designsOf = ({ file }: Fault): string => {
  if (file.includes('/emulated') || file.includes('/perf-counter')) return 'emulated';
  return file.includes('/mediated') || file.includes('/designs') ? 'mediated' : 'mediated,emulated';
};

/** What random cases say of a build with a fault in it, or none. */
async function search(fault: Fault | undefined, designs: string, ...kind: readonly string[]) {
  const directory = mkdtempSync(join(tmpdir(), 'counterpoint-fault-'));
  const outfile = join(directory, 'search.mjs');
  try {
    await build({
      entryPoints: ['test/judges/fuzz/until-found.ts'],
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile,
      logLevel: 'silent',
      plugins: [planted(fault)],
      define: {
        'import.meta.url': JSON.stringify(new URL('../../../src/lab/x.ts', import.meta.url).href),
      },
      banner: {
        js: `import { createRequire } from 'node:module'; const require = createRequire('file://${outfile}');`,
      },
    });
    const { status, stdout } = spawnSync(process.execPath, [outfile, designs, SECONDS, ...kind], {
      encoding: 'utf8',
    });
    return { noticed: status === 1, told: stdout.trim() };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The share of some faults that random cases of a kind do not notice on their own; nothing is there without a fault. */
async function missedOf(faults: readonly Fault[], of: (fault: Fault) => string, ...kind: string[]) {
  expect(await search(undefined, 'mediated,emulated', ...kind)).toMatchObject({ noticed: false });
  const looked = faults.filter((_, number) => number % EVERY === 0);
  let missed = 0;
  for (const fault of looked) {
    const { noticed, told } = await search(fault, of(fault), ...kind);
    console.log(`${noticed ? 'noticed' : 'missed '} ${fault.file}: ${fault.from.trim()} ${told}`);
    if (!noticed) missed++;
  }
  console.log(`${looked.length - missed} of ${looked.length} noticed`);
  return missed / looked.length;
}

// What the fuzzer does not reach is listed in docs/fuzzing.md.
it('random cases notice planted faults of the hypervisor on their own, and nothing where there is none', async () => {
  expect(await missedOf(FAULTS, designsOf)).toBeLessThan(0.6);
});

it('cases of guests of guests notice planted faults of nested virtualization', async () => {
  expect(await missedOf(NESTED_FAULTS, () => 'mediated,emulated', 'nested')).toBeLessThan(0.3);
});
