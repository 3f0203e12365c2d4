import { hex } from '../bits/hex.ts';
import type { PhysicalMemory } from '../memory/physical-memory.ts';
import { type BootOptions, boot, detectFormat, type ImageFormat } from '../platform/boot/boot.ts';
import { isElf, parseElf } from '../platform/boot/elf.ts';
import type { EntryState } from '../platform/boot/entry-state.ts';
import { ImageError } from '../platform/boot/image-error.ts';
import { type Region, readRegions } from '../platform/boot/regions.ts';

export type { BootOptions, ImageFormat };

/** A guest image whose format is known and whose regions of interest have been read. */
export interface GuestImage {
  readonly format: ImageFormat;
  readonly regions: readonly Region[];
  /** What it is booted with. */
  readonly boot: BootOptions;
  /** Copies it into memory, writes what its boot protocol needs beside it, and says how to start it. @throws ImageError */
  load(memory: PhysicalMemory): EntryState;
}

/** Recognises a guest image by its content, or takes it for what `options.format` says. @throws ImageError */
export function readGuestImage(bytes: Uint8Array, options: BootOptions = {}): GuestImage {
  const format = options.format ?? recognise(bytes);
  const elf = isElf(bytes) ? parseElf(bytes) : undefined;
  if (format === 'elf64' && elf?.bits === 32) {
    throw new ImageError('image-unsupported', 4, 'a 32-bit ELF file needs a multiboot header');
  }
  return {
    format,
    regions: elf ? readRegions(elf) : [],
    boot: options,
    load: (memory) => boot(bytes, memory, { ...options, format }).entry,
  };
}

function recognise(bytes: Uint8Array): ImageFormat {
  try {
    return detectFormat(bytes);
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'image-unknown-format') throw error;
    const start = [...bytes.subarray(0, 4)].map((byte) => hex(byte, 2)).join(' ');
    throw new ImageError(
      bytes.length < 4 ? 'image-truncated' : 'image-unknown-format',
      0,
      bytes.length === 0 ? 'the file is empty' : `this is no guest image: it starts with ${start}`,
    );
  }
}
