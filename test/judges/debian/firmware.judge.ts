import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';
import { DebianPackages } from './packages.ts';

const SECTOR = 512;
const FLOPPY = 2880 * SECTOR;
// biome-ignore format: a list
const MODULES = ['serial', 'terminal', 'echo', 'biosdisk', 'multiboot', 'linux16', 'memdisk', 'tar', 'boot', 'ls'];
const CONSOLE = 'serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n';
const STRETCH = 50_000_000n;
const LIMIT = 2_000_000_000n;
const KERNEL = 'counters.elf';

let packages: DebianPackages;

beforeAll(() => {
  // biome-ignore format: a list
  packages = new DebianPackages(['seabios', 'grub-pc-bin', 'grub-common', 'libdevmapper1.02.1', 'memtest86+']);
}, 600_000);

afterAll(() => packages.remove());

/** A floppy disk that GRUB starts from: its boot sector, and behind it its core with a script and files for that. */
function floppy(script: string): Uint8Array {
  const { folder } = packages;
  const grub = packages.path('usr/lib/grub/i386-pc');
  copyFileSync(`firmware/kernels/${KERNEL}`, join(folder, KERNEL));
  copyFileSync(packages.path('boot/memtest86+x64.bin'), join(folder, 'memtest.bin'));
  execFileSync('tar', ['-cf', 'files.tar', KERNEL, 'memtest.bin'], { cwd: folder });
  writeFileSync(join(folder, 'script'), CONSOLE + script);
  const options = ['-O', 'i386-pc', '-d', grub, '-p', '/', '-c', 'script', '-m', 'files.tar'];
  execFileSync(packages.path('usr/bin/grub-mkimage'), [...options, '-o', 'core.img', ...MODULES], {
    cwd: folder,
    env: { ...process.env, LD_LIBRARY_PATH: packages.path('lib/x86_64-linux-gnu') },
  });
  const disk = new Uint8Array(FLOPPY);
  disk.set(packages.read('usr/lib/grub/i386-pc/boot.img'));
  disk.set(readFileSync(join(folder, 'core.img')), SECTOR);
  return disk;
}

/** Starts SeaBIOS; prints after how many instructions the console first said what. */
function boot(milestones: readonly string[], disk?: Uint8Array, processors = 1) {
  let said = '';
  const files = disk && { 'floppyimg/disk.img': disk };
  const machine = createMachine(packages.read('usr/share/seabios/bios-256k.bin'), {
    memory: 128 << 20,
    processors,
    boot: { ...(files && { files }) },
    onOutput: (byte) => {
      said += String.fromCharCode(byte);
      const reached = milestones.find((milestone) => said.endsWith(milestone));
      if (!reached) return;
      const millions = Number(machine.spent.instructions) / 1e6;
      process.stdout.write(`  ${reached.trim()}: ${millions.toFixed(1)} M instructions\n`);
    },
  });
  // A guest that has no end of its own is left once it has said everything.
  for (let limit = STRETCH; ; limit += STRETCH) {
    const result = machine.run({ maxInstructions: limit });
    const saidAll = disk && milestones.every((milestone) => said.includes(milestone));
    if (result.reason !== 'budget' || saidAll || limit >= LIMIT) return { ...result, said };
  }
}

describe("Debian's SeaBIOS", () => {
  it('looks for something to start and resets when it has found nothing', ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    const milestones = ['SeaBIOS (version 1.16.2', 'No bootable device.'];
    const { said, reason } = boot(milestones);
    for (const milestone of milestones) expect(said).toContain(milestone);
    expect(reason).toBe('reset');
  });

  it('starts GRUB from a disk, which starts a multiboot kernel on four processors', ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    const disk = floppy(
      `echo "memory disk:"\nls (memdisk)/\nmultiboot (memdisk)/${KERNEL}\nboot\n`,
    );
    const milestones = ['GRUB loading', 'Welcome to GRUB', 'memory disk:', 'SUMMARY:'];
    const { said, reason, exitValue } = boot(milestones, disk, 4);
    expect([reason, exitValue]).toEqual(['exit', 0]);
    expect(said).toMatch(/counters\.elf/);

    let direct = '';
    createMachine(new Uint8Array(readFileSync(`firmware/kernels/${KERNEL}`)), {
      memory: 128 << 20,
      processors: 4,
      onOutput: (byte) => {
        direct += String.fromCharCode(byte);
      },
    }).run({ maxInstructions: 200_000_000n });
    expect(said.replaceAll('\r', '').endsWith(direct), said).toBe(true);
  });

  it('starts GRUB, which starts memtest86+ by the 16-bit boot protocol', ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    const disk = floppy('linux16 (memdisk)/memtest.bin console=ttyS0,115200 nopause\nboot\n');
    const milestones = ['Welcome to GRUB', 'Memtest86+ v6.10', '#0  [Address test'];
    const { said } = boot(milestones, disk);
    for (const milestone of milestones) expect(said).toContain(milestone);
  });
});
