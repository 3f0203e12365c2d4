import { CounterpointError } from '../../bits/error.ts';
import { openGuest } from '../../lab/guests.ts';
import { BareMachine } from '../../machine/bare.ts';
import { ENGINES } from '../../machine/create.ts';
import { readGuestImage } from '../../machine/guest-image.ts';
import { profileNamed } from '../../machine/profiles.ts';
import { Draw } from '../draw.ts';
import { stubImage } from '../guest/image.ts';
import { mutate } from './mutate.ts';

/** What mutated images came to. */
export interface ImageReport {
  readonly images: number;
  /** Those that could be loaded all the same. */
  readonly loaded: number;
  /** The others, by the code of the error that refused them. */
  readonly refused: Readonly<Record<string, number>>;
  /** Errors that no user could act on: number of the image and what was thrown. */
  readonly unexpected: readonly (readonly [image: number, thrown: string])[];
  /** Bytes of guest memory that the costliest of them had written, however often, and in how many pieces. */
  readonly mostWritten: { readonly bytes: number; readonly pieces: number };
  /** Milliseconds of the slowest. */
  readonly slowest: number;
}

const MULTIBOOT_MAGIC = 0x1bad_b002;
const ADDRESSES_GIVEN = 0x1_0000;

/** A multiboot image that is not ELF: its header says where it goes. */
function multiboot(): Uint8Array {
  const image = new Uint8Array(4096);
  const view = new DataView(image.buffer);
  const base = 0x10_0000;
  const checksum = -(MULTIBOOT_MAGIC + ADDRESSES_GIVEN) >>> 0;
  // biome-ignore format: a table
  const header = [MULTIBOOT_MAGIC, ADDRESSES_GIVEN, checksum, base, base, base + 4096, base + 8192, base + 0x40];
  for (const [at, value] of header.entries()) view.setUint32(4 * at, value, true);
  return image;
}

/** The start of a Linux kernel as its boot protocol describes it. */
function linux(): Uint8Array {
  const image = new Uint8Array(8192);
  const view = new DataView(image.buffer);
  image[0x1f1] = 4; // setup sectors
  view.setUint32(0x1f4, 0x100, true);
  view.setUint16(0x1fe, 0xaa55, true);
  image.set(new TextEncoder().encode('HdrS'), 0x202);
  view.setUint16(0x206, 0x20f, true);
  image[0x211] = 1; // loaded high
  view.setUint32(0x214, 0x10_0000, true);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint32(0x230, 0x20_0000, true);
  view.setUint16(0x236, 1, true); // 64-bit entry
  view.setUint32(0x238, 0x7ff, true);
  view.setUint32(0x260, 0x10_0000, true);
  return image;
}

/** RAM that images are loaded into. */
export const IMAGE_RAM: number = 4 << 20;

/** Memory of a machine, for images to be loaded into. */
function someMemory() {
  const { memory } = new BareMachine({
    image: stubImage({ cpl: 0, pce: false }),
    profile: profileNamed('sapphire-rapids'),
    memorySize: IMAGE_RAM,
    engine: ENGINES['oracle']!,
    seed: 'images',
  }).hardware;
  const written = { bytes: 0, pieces: 0 };
  const touched = memory.touched.bind(memory);
  memory.touched = (address, length) => {
    written.bytes += length;
    written.pieces += 1;
    touched(address, length);
  };
  return { memory, written };
}

/** Reads and loads so many mutated images; a seed draws the same images for ever. */
export function fuzzImages({ seed, images }: { seed: string; images: number }): ImageReport {
  const bases = [openGuest('count').bytes, openGuest('multiplex').bytes, multiboot(), linux()];
  const { memory, written } = someMemory();
  const mostWritten = { bytes: 0, pieces: 0 };
  const refused: Record<string, number> = {};
  const unexpected: [number, string][] = [];
  let loaded = 0;
  let slowest = 0;
  for (let image = 0; image < images; image++) {
    const draw = new Draw(`${seed}/${image}`);
    const bytes = mutate(draw.of(bases), draw);
    written.bytes = 0;
    written.pieces = 0;
    const start = performance.now();
    try {
      readGuestImage(bytes).load(memory);
      loaded += 1;
    } catch (error) {
      if (error instanceof CounterpointError && error.code.startsWith('image-')) {
        refused[error.code] = (refused[error.code] ?? 0) + 1;
      } else unexpected.push([image, String(error)]);
    }
    slowest = Math.max(slowest, performance.now() - start);
    mostWritten.bytes = Math.max(mostWritten.bytes, written.bytes);
    mostWritten.pieces = Math.max(mostWritten.pieces, written.pieces);
  }
  return { images, loaded, refused, unexpected, mostWritten, slowest };
}
