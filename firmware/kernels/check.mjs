// Fails if a committed image differs from what its C source builds to: kernels here, programs for Linux.
// Compilers differ: only Debian 12's gcc is asked.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FIRMWARE = fileURLToPath(new URL('..', import.meta.url));
const FOLDERS = ['kernels', 'linux'];
const COMPILER = 'gcc (Debian 12.2.0-14';

const { status, stdout } = spawnSync('gcc', ['--version'], { encoding: 'utf8' });
if (status !== 0 || !stdout.startsWith(COMPILER)) {
  console.log(
    `SKIP: ${COMPILER}…) is not installed, images of ${FOLDERS.join(' and ')} not compared`,
  );
  process.exit(0);
}
const directory = mkdtempSync(join(tmpdir(), 'counterpoint-'));
let stale = 0;
try {
  for (const folder of FOLDERS) {
    const built = join(directory, folder);
    mkdirSync(built);
    execFileSync(join(FIRMWARE, folder, 'build.sh'), [built], { stdio: 'inherit' });
    for (const image of readdirSync(built)) {
      const same = readFileSync(join(built, image)).equals(
        readFileSync(join(FIRMWARE, folder, image)),
      );
      if (!same) stale += 1;
      console.log(`${same ? 'same' : 'STALE'}: ${folder}/${image}`);
    }
  }
} finally {
  rmSync(directory, { recursive: true });
}
process.exit(stale === 0 ? 0 : 1);
