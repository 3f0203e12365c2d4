import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CounterpointError } from '../bits/error.ts';

/** The guests that come with the project, and what each shows. */
// biome-ignore format: a table
export const GUESTS: Readonly<Record<string, string>> = {
  count:     'loops whose instructions and branches are known by hand, read by RDPMC and RDMSR through every alias',
  overflow:  'a counter preset to −n, its PMI through LVTPC, a handler that counts and re-arms',
  multiplex: 'twelve events on however many counters there are, rotated by a timer and scaled by the guest itself',
  emulated:  'instructions that exit or that the hypervisor carries out, inside counted regions',
  nested:    'a hypervisor whose own guest meets the PMU; in a virtual machine it wants --nested',
};

/** The firmware folder beside the sources, or beside the built command. */
const FOLDERS = ['../../firmware/', './firmware/'].map((path) => new URL(path, import.meta.url));
const LARGEST_IMAGE = 2 ** 30;
const READ_AT_ONCE = 2 ** 20;

/** A guest image with the name it is called by. */
export interface NamedImage {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A bundled guest by name, or an image file. @throws CounterpointError `no-such-guest`, `unreadable-file`, `image-too-large` */
export function openGuest(nameOrPath: string): NamedImage {
  if (Object.hasOwn(GUESTS, nameOrPath)) {
    const found = FOLDERS.map((folder) => new URL(`${nameOrPath}.elf`, folder)).find((url) =>
      existsSync(url),
    );
    if (found)
      return { name: nameOrPath, bytes: new Uint8Array(readFileSync(fileURLToPath(found))) };
  }
  if (!existsSync(nameOrPath)) {
    throw new CounterpointError(
      'no-such-guest',
      `${nameOrPath}: neither a bundled guest (${Object.keys(GUESTS).join(', ')}) nor a file`,
    );
  }
  return { name: nameOrPath, bytes: readFile(nameOrPath) };
}

/** A file, or what comes out of a pipe. @throws CounterpointError `unreadable-file`, `image-too-large` */
export function readFile(path: string): Uint8Array {
  try {
    const kind = statSync(path);
    if (kind.isFIFO()) return readPipe(path);
    if (!kind.isFile()) {
      throw new CounterpointError('unreadable-file', `${path}: cannot be read: it is no file`);
    }
    if (kind.size > LARGEST_IMAGE) throw tooLarge(path);
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if (error instanceof CounterpointError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unreadable-file', `${path}: cannot be read (${code})`);
  }
}

const tooLarge = (path: string) =>
  new CounterpointError(
    'image-too-large',
    `${path}: more than ${LARGEST_IMAGE} bytes are no guest image`,
  );

/** A pipe tells no size, and may never end. */
function readPipe(path: string): Uint8Array {
  const descriptor = openSync(path, 'r');
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; total <= LARGEST_IMAGE; ) {
      const chunk = Buffer.allocUnsafe(READ_AT_ONCE);
      const length = readSync(descriptor, chunk);
      if (length === 0) return new Uint8Array(Buffer.concat(chunks));
      chunks.push(chunk.subarray(0, length));
      total += length;
    }
    throw tooLarge(path);
  } finally {
    closeSync(descriptor);
  }
}
