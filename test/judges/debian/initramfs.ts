import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DebianPackages } from './packages.ts';

/** Writes an initramfs with busybox, our counting program and a script as its first process; its path. */
export function initramfs(packages: DebianPackages, init: string): string {
  const tree = join(packages.folder, 'initramfs');
  mkdirSync(join(tree, 'bin'), { recursive: true });
  const programs = [
    ['busybox', packages.path('bin/busybox')],
    ['perf-count', 'firmware/linux/perf-count.elf'],
  ] as const;
  for (const [name, from] of programs) {
    copyFileSync(from, join(tree, 'bin', name));
    chmodSync(join(tree, 'bin', name), 0o755);
  }
  symlinkSync('busybox', join(tree, 'bin/sh'));
  writeFileSync(join(tree, 'init'), `#!/bin/busybox sh\n${init}`, { mode: 0o755 });
  const archive = execFileSync(packages.path('bin/cpio'), ['-o', '-H', 'newc'], {
    cwd: tree,
    input: '.\nbin\nbin/busybox\nbin/perf-count\nbin/sh\ninit\n',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 2 ** 28,
  });
  const path = join(packages.folder, 'initramfs.cpio');
  writeFileSync(path, archive);
  return path;
}
