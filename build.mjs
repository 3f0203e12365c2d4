// Builds the command and the library into dist/, with types. Node's own modules and dependencies stay outside.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const typesToo = process.argv.includes('--types');

rmSync('dist', { recursive: true, force: true });
await build({
  entryPoints: { cli: 'src/cli/main.ts', index: 'src/index.ts' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
chmodSync('dist/cli.js', 0o755);
cpSync('firmware', 'dist/firmware', {
  recursive: true,
  filter: (path) => !/\.(asm|inc|mjs|c|sh)$/.test(path),
});
if (typesToo) {
  execFileSync('npx', ['tsc', '-p', 'tsconfig.types.json'], { stdio: 'inherit' });
}
