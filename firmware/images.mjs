// The guest images and how each is assembled from its source. The assembler's output is a function of its input only.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const FIRMWARE = fileURLToPath(new URL('.', import.meta.url));

/** Sources beside this file and programs for Linux, by name without the suffix. */
export const GUESTS = ['', 'linux/']
  .flatMap((folder) => readdirSync(join(FIRMWARE, folder)).map((file) => folder + file))
  .filter((file) => file.endsWith('.asm'))
  .map((file) => file.slice(0, -'.asm'.length))
  .sort();

export const imagePath = (guest) => join(FIRMWARE, `${guest}.elf`);

export const hasAssembler = () => spawnSync('nasm', ['-v']).status === 0;

/** The image of a guest, assembled now. */
export function assemble(guest) {
  const directory = mkdtempSync(join(tmpdir(), 'counterpoint-'));
  try {
    const output = join(directory, 'image');
    const options = ['-f', 'bin', '-w+all', '-w+error', '-I', 'include/', '-o', output];
    execFileSync('nasm', [...options, `${guest}.asm`], { cwd: FIRMWARE, stdio: 'inherit' });
    return readFileSync(output);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
