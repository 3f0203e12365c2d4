import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchGuest } from './guests.ts';

const GUESTS = new URL('guests/', import.meta.url);
/** The geometry of the disk: cylinders, heads, sectors. */
const DISK = { cylinders: 4, heads: 16, sectors: 63 };
/** What boot.asm writes to port E9H before and after the guest. */
const START = '{';
const END = '}';
const PATIENCE = 60_000;

const configuration = (disk: string, log: string) => `config_interface: textconfig
display_library: rfb, options="timeout=0"
megs: 128
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1
ata0-master: type=disk, mode=flat, path=${disk}, cylinders=${DISK.cylinders}, heads=${DISK.heads}, spt=${DISK.sectors}
boot: disk
port_e9_hack: enabled=1
cpu: model=corei7_haswell_4770, count=1, ips=4000000, reset_on_triple_fault=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
log: ${log}
`;

export const bochsIsThere = (): boolean => spawnSync('bochs', ['--help']).error === undefined;

/** Milliseconds that Bochs takes for a guest, from its own boot sector's mark to the other. */
export async function timeOnBochs(guest: BenchGuest): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'bochs-'));
  const path = (name: string) => join(folder, name);
  const image = Buffer.alloc(DISK.cylinders * DISK.heads * DISK.sectors * 512);
  readFileSync(new URL('boot.bin', GUESTS)).copy(image);
  readFileSync(new URL(`${guest.name}.bin`, GUESTS)).copy(image, 512);
  writeFileSync(path('disk.img'), image);
  writeFileSync(path('bochsrc'), configuration(path('disk.img'), path('log')));
  // Debian's Bochs has the debugger built in, which waits for "continue".
  writeFileSync(path('commands'), 'c\n');
  const bochs = spawn('bochs', ['-q', '-f', path('bochsrc'), '-rc', path('commands')], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    return await new Promise<number>((resolve, reject) => {
      let start = 0;
      const giveUp = setTimeout(() => reject(new Error(`${guest.name}: no end mark`)), PATIENCE);
      bochs.stdout.on('data', (chunk: Buffer) => {
        const text = chunk.toString('latin1');
        if (text.includes(START)) start = performance.now();
        if (!text.includes(END)) return;
        clearTimeout(giveUp);
        resolve(performance.now() - start);
      });
      bochs.on('exit', () => reject(new Error(`${guest.name}: Bochs ended before the guest`)));
    });
  } finally {
    bochs.removeAllListeners('exit');
    bochs.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}
