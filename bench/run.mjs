// Bundles a TypeScript program of bench/ and runs it: node bench/run.mjs <program> [arguments].
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const [program = 'main', ...rest] = process.argv.slice(2);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const outfile = here(`.${program}-${process.pid}.mjs`);
await build({
  entryPoints: [here(`${program}.ts`)],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
try {
  const { status } = spawnSync(process.execPath, [outfile, ...rest], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
} finally {
  rmSync(outfile);
}
