import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A network that does not answer is as good as none. */
const PATIENCE_MS = 60_000;

/** Runs a command in a folder; its output. */
const run = (folder: string, command: string, ...options: string[]): string =>
  execFileSync(command, options, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE_MS,
  });

const CLOUD_KERNEL = 'linux-image-cloud-amd64';

/** The package of the kernel that the empty package of a kernel's newest version stands for. */
function kernelPackage(folder: string): string | undefined {
  return /Depends: (linux-image-\S+)/.exec(run(folder, 'apt-cache', 'depends', CLOUD_KERNEL))?.[1];
}

/** Debian packages, unpacked into a folder of their own; nothing is installed. */
export class DebianPackages {
  readonly folder: string;
  /** Why there are none. */
  readonly missing: string | undefined;

  constructor(packages: readonly string[]) {
    this.folder = mkdtempSync(join(tmpdir(), 'counterpoint-debian-'));
    try {
      // A fresh container has no package lists.
      if (kernelPackage(this.folder) === undefined) run(this.folder, 'apt-get', 'update', '-qq');
      const wanted = packages.map((name) =>
        name === CLOUD_KERNEL ? (kernelPackage(this.folder) ?? name) : name,
      );
      run(this.folder, 'apt-get', 'download', ...wanted);
      for (const file of readdirSync(this.folder).filter((name) => name.endsWith('.deb'))) {
        run(this.folder, 'dpkg-deb', '-x', file, 'root');
      }
    } catch (error) {
      const said = String((error as { stderr?: string }).stderr ?? error)
        .trim()
        .split('\n')
        .pop();
      this.missing = `Debian's packages cannot be had: ${packages.join(', ')} (${said})`;
      console.log(`SKIP: ${this.missing}`);
    }
  }

  /** A file of a package, by its path or, where that holds a version, by how its name starts. */
  path(file: string): string {
    const whole = join(this.folder, 'root', file);
    const folder = join(whole, '..');
    const start = file.split('/').pop()!;
    const name = readdirSync(folder).find((each) => each.startsWith(start))!;
    return join(folder, name);
  }

  read(file: string): Uint8Array {
    return new Uint8Array(readFileSync(this.path(file)));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
