import { hex } from '../../bits/hex.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import type { FwCfgItems } from '../fw-cfg.ts';
import { bootBios, isBios } from './bios.ts';
import { isElf, loadElf, parseElf } from './elf.ts';
import { BOOT, type EntryState, enterElf64, enterLongMode } from './entry-state.ts';
import { ImageError } from './image-error.ts';
import { bootLinux, isBzImage, type LinuxOptions } from './linux.ts';
import { keepClear } from './memory-map.ts';
import { bootMultiboot, findMultibootHeader, type MultibootOptions } from './multiboot.ts';
import { type Region, readRegions } from './regions.ts';

export type ImageFormat = 'elf64' | 'multiboot' | 'linux' | 'bios' | 'flat';

export interface BootOptions extends MultibootOptions, LinuxOptions, FwCfgItems {
  /** The format to take the image for; by its content unless told. A vmlinux needs to be told `linux`. */
  readonly format?: ImageFormat;
  /** Where a flat image goes, 1 MiB unless told. */
  readonly address?: number;
}

export interface Booted {
  readonly format: ImageFormat;
  readonly entry: EntryState;
  readonly regions: readonly Region[];
}

/** What the image's first bytes say it is. @throws ImageError */
export function detectFormat(bytes: Uint8Array): ImageFormat {
  if (isBzImage(bytes)) return 'linux';
  if (findMultibootHeader(bytes) !== undefined) return 'multiboot';
  if (isElf(bytes)) return 'elf64';
  if (isBios(bytes)) return 'bios';
  throw new ImageError(
    'image-unknown-format',
    0,
    'the image is neither ELF, multiboot, bzImage nor a BIOS; a flat image needs its format told',
  );
}

/** Loads an image by its boot protocol. @throws ImageError */
export function boot(bytes: Uint8Array, memory: PhysicalMemory, options: BootOptions = {}): Booted {
  const format = options.format ?? detectFormat(bytes);
  const regions = isElf(bytes) ? readRegions(parseElf(bytes)) : [];
  return { format, regions, entry: PROTOCOLS[format](bytes, memory, options) };
}

type Protocol = (bytes: Uint8Array, memory: PhysicalMemory, options: BootOptions) => EntryState;

const PROTOCOLS: Readonly<Record<ImageFormat, Protocol>> = {
  bios: bootBios,
  elf64: bootElf64,
  flat: bootFlat,
  linux: bootLinux,
  multiboot: bootMultiboot,
};

function bootElf64(bytes: Uint8Array, memory: PhysicalMemory): EntryState {
  const image = parseElf(bytes);
  if (image.bits !== 64) {
    throw new ImageError('image-unsupported', 4, 'a 32-bit ELF image needs a multiboot header');
  }
  loadElf(image, bytes, memory);
  return enterElf64(memory, image.entry);
}

/** A flat image runs from its first byte, in 64-bit mode like an ELF64 one. */
function bootFlat(
  bytes: Uint8Array,
  memory: PhysicalMemory,
  { address = 0x10_0000 }: BootOptions,
): EntryState {
  if (bytes.length === 0) throw new ImageError('image-truncated', 0, 'the image is empty');
  if (address < 0 || address + bytes.length > memory.ramSize) {
    throw new ImageError(
      'image-too-large',
      0,
      `an image of ${bytes.length} bytes at ${hex(address)} does not fit ${memory.ramSize} bytes of memory`,
    );
  }
  keepClear(address, bytes.length, 0);
  memory.load(address, bytes);
  return enterLongMode(memory, address, { RSP: BigInt(BOOT.STACK_TOP) });
}
