import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import type { EntryState } from './entry-state.ts';
import { ImageError } from './image-error.ts';

/** The last 256 KiB below 1 MiB, where firmware lies, and where the board shows them again: below 4 GiB. */
export const BIOS_AREA = { base: 0xc_0000, size: 0x4_0000, alias: 0xfffc_0000 } as const;
/** Distance of the reset vector from the end of the image. */
const RESET_VECTOR = 16;
const JMP_FAR = 0xea;
const UNIT = 0x1_0000;

/** Whether an image is PC firmware: whole 64-KiB units, a far jump at the reset vector. */
export const isBios = (bytes: Uint8Array): boolean =>
  bytes.length > 0 &&
  bytes.length <= BIOS_AREA.size &&
  bytes.length % UNIT === 0 &&
  bytes[bytes.length - RESET_VECTOR] === JMP_FAR;

/** Loads firmware below 1 MiB; the processor starts at its reset vector as RESET leaves it. @throws ImageError */
export function bootBios(bytes: Uint8Array, memory: PhysicalMemory): EntryState {
  if (!isBios(bytes)) {
    throw new ImageError(
      'image-unknown-format',
      Math.max(0, bytes.length - RESET_VECTOR),
      'firmware is 64 to 256 KiB in units of 64 KiB, with a far jump at its reset vector',
    );
  }
  memory.load(BIOS_AREA.base + BIOS_AREA.size - bytes.length, bytes);
  return RESET;
}

const data = { selector: 0, base: 0, limit: 0xffff, rights: 0x93 };

/** Vol. 3, "Processor State After Reset". */
const RESET: EntryState = {
  rip: 0xfff0n,
  registers: {},
  cr0: 0x6000_0010n,
  cr3: 0n,
  cr4: 0n,
  efer: 0n,
  gdt: { base: 0, limit: 0xffff },
  code: { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, rights: 0x9b },
  data,
};
