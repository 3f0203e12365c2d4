import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BOOT = fileURLToPath(new URL('boot.asm', import.meta.url));
const SHARE = '/usr/share/bochs';
const SECTOR = 512;
/** Cylinders, heads, sectors of the disk. */
const GEOMETRY = [20, 16, 63] as const;

const found = (command: string) => spawnSync('which', [command]).status === 0;

/** Whether this machine can boot an image in Bochs: the emulator, its BIOS, an assembler, a terminal to show. */
export const hasBochs = (): boolean =>
  found('bochs') && found('nasm') && found('script') && existsSync(`${SHARE}/BIOS-bochs-latest`);

/** A disk whose boot sector enters the image as our machine does. */
function disk(image: Uint8Array, directory: string): string {
  const sectors = Math.ceil(image.length / SECTOR);
  const boot = join(directory, 'boot.bin');
  execFileSync('nasm', ['-f', 'bin', '-D', `SECTORS=${sectors}`, '-o', boot, BOOT]);
  const bytes = new Uint8Array(GEOMETRY[0] * GEOMETRY[1] * GEOMETRY[2] * SECTOR);
  bytes.set(readFileSync(boot));
  bytes.set(image, SECTOR);
  const path = join(directory, 'disk.img');
  writeFileSync(path, bytes);
  return path;
}

/** Runs the image in Bochs until its serial port has said `last`. @throws Error if it does not within `seconds` */
export async function bochsOutput(image: Uint8Array, last: string, seconds = 300): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'counterpoint-bochs-'));
  const serial = join(directory, 'com1.txt');
  const [cylinders, heads, spt] = GEOMETRY;
  writeFileSync(
    join(directory, 'bochsrc'),
    [
      'display_library: rfb, options="timeout=0"', // a screen that nobody needs to look at
      'plugin_ctrl: speaker=0',
      'megs: 64',
      `romimage: file=${SHARE}/BIOS-bochs-latest`,
      `vgaromimage: file=${SHARE}/VGABIOS-lgpl-latest`,
      'cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0',
      'ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14',
      `ata0-master: type=disk, path=${disk(image, directory)}, mode=flat, cylinders=${cylinders}, heads=${heads}, spt=${spt}`,
      'boot: disk',
      `com1: enabled=1, mode=file, dev=${serial}`,
      `log: ${join(directory, 'log.txt')}`,
      'panic: action=fatal',
      'error: action=ignore',
      'info: action=ignore',
    ].join('\n'),
  );
  // Debian's Bochs starts in its debugger.
  writeFileSync(join(directory, 'commands'), 'c\n');
  const command = `bochs -q -f ${directory}/bochsrc -rc ${directory}/commands`;
  const emulator = spawn('script', ['-qfc', command, '/dev/null'], {
    stdio: 'ignore',
    env: { ...process.env, TERM: 'vt100' },
  });
  const ended = new Promise((resolve) => emulator.on('exit', resolve));
  try {
    for (let waited = 0; waited < seconds * 5; waited++) {
      const text = existsSync(serial) ? readFileSync(serial, 'latin1') : '';
      if (text.includes(last)) return text;
      if (emulator.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const log = join(directory, 'log.txt');
    const why = existsSync(log) ? readFileSync(log, 'latin1').trim().split('\n').at(-1) : '';
    throw new Error(`Bochs never said '${last}': ${why}`);
  } finally {
    emulator.kill();
    await ended;
    rmSync(directory, { recursive: true, force: true });
  }
}
