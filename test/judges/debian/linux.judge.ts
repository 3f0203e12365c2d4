import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';

const PACKAGES = ['busybox-static', 'cpio'];
const APPEND =
  'console=ttyS0 earlyprintk=serial,ttyS0,115200 nokaslr panic=-1 reboot=t tsc=reliable no_timer_check mitigations=off';
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo "user space: $(/bin/busybox uname -sm)"
/bin/busybox poweroff -f
`;

/** Runs a command in a folder; its output. */
const run = (folder: string, command: string, ...options: string[]): string =>
  execFileSync(command, options, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });

let folder: string;
let available = true;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'counterpoint-debian-'));
  try {
    const kernel = /Depends: (linux-image-\S+)/.exec(
      run(folder, 'apt-cache', 'depends', 'linux-image-cloud-amd64'),
    )?.[1];
    run(folder, 'apt-get', 'download', kernel!, ...PACKAGES);
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
      run(folder, 'dpkg', '-x', file, 'root');
    }
  } catch {
    available = false;
    console.log(
      `SKIP: Debian's packages cannot be had: linux-image-cloud-amd64, ${PACKAGES.join(', ')}`,
    );
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An initramfs with busybox and a script as its first process. */
function initramfs(): Uint8Array {
  const tree = join(folder, 'initramfs');
  mkdirSync(join(tree, 'bin'), { recursive: true });
  copyFileSync(join(folder, 'root/bin/busybox'), join(tree, 'bin/busybox'));
  symlinkSync('busybox', join(tree, 'bin/sh'));
  writeFileSync(join(tree, 'init'), INIT);
  chmodSync(join(tree, 'init'), 0o755);
  const archive = execFileSync(join(folder, 'root/bin/cpio'), ['-o', '-H', 'newc'], {
    cwd: tree,
    input: '.\nbin\nbin/busybox\nbin/sh\ninit\n',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 2 ** 28,
  });
  return new Uint8Array(archive);
}

function bootDebian(machine: string) {
  const boot = join(folder, 'root/boot');
  const vmlinuz = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))!;
  const built = createMachine(new Uint8Array(readFileSync(join(boot, vmlinuz))), {
    machine,
    memory: 512 << 20,
    boot: { commandLine: APPEND, initrd: initramfs() },
  });
  const result = built.run({ maxInstructions: 6_000_000_000n });
  return { reason: result.reason, console: built.board.console };
}

describe("Debian's cloud kernel, unpatched", () => {
  it('finds the PMU, runs busybox and switches the bare machine off', ({ skip }) => {
    if (!available) skip();
    const { reason, console } = bootDebian('bare');
    expect(console).toMatch(/Performance Events: Sapphire Rapids events.*Intel PMU driver/);
    expect(console).toMatch(/\.\.\. version: +5/);
    expect(console).toContain('NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.');
    expect(console).toContain('user space: Linux x86_64');
    expect(reason).toBe('shutdown');
  });

  it('does the same in a virtual machine, whose emulated vPMU is of version 2', ({ skip }) => {
    if (!available) skip();
    const { reason, console } = bootDebian('emulated');
    expect(console).toMatch(/Performance Events: Sapphire Rapids events.*Intel PMU driver/);
    expect(console).toMatch(/\.\.\. version: +2/);
    expect(console).toContain('user space: Linux x86_64');
    expect(reason).toBe('shutdown');
  });
});
