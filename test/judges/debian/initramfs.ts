import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { DebianPackages } from './packages.ts';

/**
 * Writes an initramfs with busybox, a script as its first process and `files`; its path.
 * @param files path of each in the archive, and the file it is a copy of
 */
export function initramfs(
  packages: DebianPackages,
  init: string,
  files: Readonly<Record<string, string>>,
): string {
  const tree = join(packages.folder, 'initramfs');
  rmSync(tree, { recursive: true, force: true });
  const all = { 'bin/busybox': packages.path('bin/busybox'), ...files };
  for (const [name, from] of Object.entries(all)) {
    mkdirSync(dirname(join(tree, name)), { recursive: true });
    copyFileSync(from, join(tree, name));
    chmodSync(join(tree, name), 0o755);
  }
  symlinkSync('busybox', join(tree, 'bin/sh'));
  writeFileSync(join(tree, 'init'), `#!/bin/busybox sh\n${init}`, { mode: 0o755 });
  const archive = execFileSync(packages.path('bin/cpio'), ['-o', '-H', 'newc'], {
    cwd: tree,
    input: ['.', ...readdirSync(tree, { recursive: true })].join('\n'),
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 2 ** 28,
  });
  const path = join(packages.folder, 'initramfs.cpio');
  writeFileSync(path, archive);
  return path;
}
