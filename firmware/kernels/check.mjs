// Fails if a committed kernel differs from what its source builds to. Compilers differ: only Debian 12's gcc is asked.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const COMPILER = 'gcc (Debian 12.2.0-14';

const { status, stdout } = spawnSync('gcc', ['--version'], { encoding: 'utf8' });
const kernels = readdirSync(FOLDER).filter((file) => file.endsWith('.elf'));
if (status !== 0 || !stdout.startsWith(COMPILER)) {
  console.log(`SKIP: ${COMPILER}…) is not installed, images not compared: ${kernels.join(', ')}`);
  process.exit(0);
}
const directory = mkdtempSync(join(tmpdir(), 'counterpoint-'));
let stale = 0;
try {
  execFileSync(join(FOLDER, 'build.sh'), [directory], { stdio: 'inherit' });
  for (const kernel of kernels) {
    const same = readFileSync(join(directory, kernel)).equals(readFileSync(join(FOLDER, kernel)));
    if (!same) stale += 1;
    console.log(`${same ? 'same' : 'STALE'}: ${kernel}`);
  }
} finally {
  rmSync(directory, { recursive: true });
}
process.exit(stale === 0 ? 0 : 1);
