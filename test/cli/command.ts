import { spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

/** The command as a user starts it, bundled as `npm run build` does. */
const CLI = join('node_modules', '.cli-under-test', `cli-${process.pid}.mjs`);

export const buildCommand = (): Promise<unknown> =>
  build({
    entryPoints: ['src/cli/main.ts'],
    outfile: CLI,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'silent',
    define: {
      'import.meta.url': JSON.stringify(new URL('../../src/lab/x.ts', import.meta.url).href),
    },
  });

export function counterpoint(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** The same with stdout on a full disk. */
export function counterpointOnFullDisk(...args: string[]) {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  return { status, stderr };
}

/** The command, started, with its streams as pipes. */
export const start = (...args: string[]) => spawn(process.execPath, [CLI, ...args]);

/** One line, no stack trace. */
export const oneLine = (text: string): boolean =>
  text.trimEnd().split('\n').length === 1 && !/^\s+at /m.test(text);
