import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CounterpointError } from '../bits/error.ts';

/** The guests that come with the project, and what each shows. */
// biome-ignore format: a table
export const GUESTS: Readonly<Record<string, string>> = {
  count:     'loops whose instructions and branches are known by hand, read by RDPMC and RDMSR through every alias',
  overflow:  'a counter preset to −n, its PMI through LVTPC, a handler that counts and re-arms',
  multiplex: 'twelve events on however many counters there are, rotated by a timer and scaled by the guest itself',
  emulated:  'instructions that exit or that the hypervisor carries out, inside counted regions',
};

/** The firmware folder beside the sources, or beside the built command. */
const FOLDERS = ['../../firmware/', './firmware/'].map((path) => new URL(path, import.meta.url));
const LARGEST_IMAGE = 2 ** 30;

/** A guest image with the name it is called by. */
export interface NamedImage {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A bundled guest by name, or an image file. @throws CounterpointError `no-such-guest`, `unreadable-file` */
export function openGuest(nameOrPath: string): NamedImage {
  if (Object.hasOwn(GUESTS, nameOrPath)) {
    const found = FOLDERS.map((folder) => new URL(`${nameOrPath}.elf`, folder)).find((url) =>
      existsSync(url),
    );
    if (found)
      return { name: nameOrPath, bytes: new Uint8Array(readFileSync(fileURLToPath(found))) };
  }
  return { name: nameOrPath, bytes: readFile(nameOrPath) };
}

/** An image file. @throws CounterpointError `unreadable-file`, `image-too-large` */
export function readFile(path: string): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size > LARGEST_IMAGE) {
      throw new CounterpointError('image-too-large', `${path}: ${size} bytes are no guest image`);
    }
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if (error instanceof CounterpointError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw new CounterpointError(
        'no-such-guest',
        `${path}: neither a bundled guest (${Object.keys(GUESTS).join(', ')}) nor a file`,
      );
    }
    throw new CounterpointError('unreadable-file', `${path}: cannot be read (${code})`);
  }
}
