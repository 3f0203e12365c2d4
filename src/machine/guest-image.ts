import { hex } from '../bits/hex.ts';
import type { PhysicalMemory } from '../memory/physical-memory.ts';
import { isElf, loadElf, parseElf } from '../platform/boot/elf.ts';
import { type EntryState, enterElf64 } from '../platform/boot/entry-state.ts';
import { ImageError } from '../platform/boot/image-error.ts';
import { type Region, readRegions } from '../platform/boot/regions.ts';

/** A guest image whose headers have been read and found sound. */
export interface GuestImage {
  readonly regions: readonly Region[];
  /** Copies it into memory, writes what its boot protocol needs beside it, and says how to start it. */
  load(memory: PhysicalMemory): EntryState;
}

/** Recognises a guest image by its content. @throws ImageError */
export function readGuestImage(bytes: Uint8Array): GuestImage {
  if (!isElf(bytes)) {
    const start = [...bytes.subarray(0, 4)].map((byte) => hex(byte, 2)).join(' ');
    throw new ImageError(
      bytes.length < 4 ? 'image-truncated' : 'image-unknown-format',
      0,
      bytes.length === 0 ? 'the file is empty' : `this is no guest image: it starts with ${start}`,
    );
  }
  const elf = parseElf(bytes);
  if (elf.bits !== 64) {
    throw new ImageError('image-unsupported', 4, 'a 32-bit ELF file needs a multiboot header');
  }
  return {
    regions: readRegions(elf),
    load(memory) {
      loadElf(elf, bytes, memory);
      return enterElf64(memory, elf.entry);
    },
  };
}
