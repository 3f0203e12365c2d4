import { hex } from '../../bits/hex.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import { ByteReader } from './byte-reader.ts';
import { type ElfImage, isElf, loadElf, parseElf } from './elf.ts';
import { type EntryState, enterLongMode } from './entry-state.ts';
import { ImageError } from './image-error.ts';
import { keepClear, memoryMap } from './memory-map.ts';

export interface LinuxOptions {
  readonly commandLine?: string;
  readonly initrd?: Uint8Array;
  /** Physical address of the RSDP, 0 to let the kernel search. */
  readonly rsdp?: number;
}

/** Fields of the setup header and of boot_params at the same offsets. Linux, Documentation/arch/x86/boot.rst. */
// biome-ignore format: a table
const HEADER = {
  SETUP_SECTS: 0x1f1,  BOOT_FLAG: 0x1fe,  JUMP_LENGTH: 0x201,  MAGIC: 0x202,  VERSION: 0x206,  LOADER: 0x210,
  LOADFLAGS: 0x211,  CODE32_START: 0x214,  RAMDISK: 0x218,  RAMDISK_SIZE: 0x21c,  CMD_LINE: 0x228,
  INITRD_MAX: 0x22c,  ALIGNMENT: 0x230,  RELOCATABLE: 0x234,  CMDLINE_SIZE: 0x238,  XLOADFLAGS: 0x236,
  PREF_ADDRESS: 0x258,  INIT_SIZE: 0x260,
} as const;
/** Fields of boot_params outside the header. Linux, Documentation/arch/x86/zero-page.rst. */
const PARAMS = { RSDP: 0x070, E820_ENTRIES: 0x1e8, E820_TABLE: 0x2d0 } as const;

const HDRS = 0x5372_6448;
const ENTRY_64 = 1;
const OLDEST = 0x020c;
const UNDEFINED_LOADER = 0xff;
const CODE_SELECTOR = 0x10;

/** Where what the kernel is given lies. */
const BOOT_PARAMS = 0x1_0000;
const COMMAND_LINE = 0x2_0000;
const STACK_TOP = 0x8_0000;
const PAGE = 4096;
const LONGEST_COMMAND_LINE = 2047;

/** Whether the image is a bzImage of any version. */
export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER.VERSION + 2) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (
    view.getUint16(HEADER.BOOT_FLAG, true) === 0xaa55 && view.getUint32(HEADER.MAGIC, true) === HDRS
  );
}

/** Loads a bzImage, or a vmlinux in ELF64, for its 64-bit entry point. @throws ImageError */
export function bootLinux(
  bytes: Uint8Array,
  memory: PhysicalMemory,
  options: LinuxOptions = {},
): EntryState {
  memory.clear(BOOT_PARAMS, PAGE);
  const kernel = isElf(bytes) ? loadVmlinux(bytes, memory) : loadBzImage(bytes, memory);
  writeCommandLine(memory, options.commandLine ?? '', kernel);
  if (options.initrd) placeInitrd(memory, options.initrd, kernel);
  writeMemoryMap(memory);
  put(memory, PARAMS.RSDP, 8, options.rsdp ?? 0);
  put(memory, HEADER.LOADER, 1, UNDEFINED_LOADER);
  return enterLongMode(
    memory,
    kernel.entry,
    { RSI: BigInt(BOOT_PARAMS), RSP: BigInt(STACK_TOP) },
    CODE_SELECTOR,
  );
}

interface Kernel {
  readonly entry: number;
  /** First address behind the kernel as it runs. */
  readonly end: number;
  readonly commandLineLimit: number;
  /** Highest address of the initial RAM disk's last byte. */
  readonly initrdMax: number;
}

const put = (memory: PhysicalMemory, offset: number, size: 1 | 2 | 4 | 8, value: number): void =>
  memory.write(BOOT_PARAMS + offset, size, BigInt(value));

function loadBzImage(bytes: Uint8Array, memory: PhysicalMemory): Kernel {
  const reader = new ByteReader(bytes);
  if (!isBzImage(bytes))
    throw new ImageError('image-unknown-format', HEADER.MAGIC, 'this is no bzImage');
  const version = reader.u16(HEADER.VERSION);
  if (version < OLDEST) {
    throw new ImageError(
      'image-unsupported',
      HEADER.VERSION,
      `boot protocol ${hex(version)} has no 64-bit entry; 0x20c has`,
    );
  }
  if ((reader.u16(HEADER.XLOADFLAGS) & ENTRY_64) === 0) {
    throw new ImageError('image-unsupported', HEADER.XLOADFLAGS, 'the kernel has no 64-bit entry');
  }
  const headerEnd = HEADER.MAGIC + reader.u8(HEADER.JUMP_LENGTH);
  memory.load(
    BOOT_PARAMS + HEADER.SETUP_SECTS,
    reader.slice(HEADER.SETUP_SECTS, headerEnd - HEADER.SETUP_SECTS, 'the end of the setup header'),
  );

  const start = ((reader.u8(HEADER.SETUP_SECTS) || 4) + 1) * 512;
  if (start >= reader.length) {
    throw new ImageError(
      'image-truncated',
      reader.length,
      'the image ends before its protected-mode part',
    );
  }
  const kernel = bytes.subarray(start);
  const size = Math.max(reader.u32(HEADER.INIT_SIZE), kernel.length);
  const preferred = reader.u64(HEADER.PREF_ADDRESS);
  if (preferred + BigInt(size) > BigInt(memory.ramSize)) {
    throw new ImageError(
      'image-too-large',
      HEADER.INIT_SIZE,
      `the kernel needs ${size} bytes at ${hex(preferred)}, memory has ${memory.ramSize}`,
    );
  }
  const address = Number(preferred);
  keepClear(address, size, HEADER.PREF_ADDRESS);
  memory.load(address, kernel);
  put(memory, HEADER.CODE32_START, 4, address);
  return {
    entry: address + 0x200,
    end: address + size,
    commandLineLimit: Math.min(reader.u32(HEADER.CMDLINE_SIZE), LONGEST_COMMAND_LINE),
    initrdMax: reader.u32(HEADER.INITRD_MAX),
  };
}

/** What the decompressor of a bzImage would leave: the kernel proper, entered at its ELF entry with a minimal header. */
function loadVmlinux(bytes: Uint8Array, memory: PhysicalMemory): Kernel {
  const image: ElfImage = parseElf(bytes);
  if (image.bits !== 64)
    throw new ImageError('image-unsupported', 4, 'a Linux kernel in ELF must be of 64 bits');
  loadElf(image, bytes, memory);
  put(memory, HEADER.BOOT_FLAG, 2, 0xaa55);
  put(memory, HEADER.MAGIC, 4, HDRS);
  put(memory, HEADER.VERSION, 2, OLDEST);
  put(memory, HEADER.LOADFLAGS, 1, 1);
  return {
    entry: image.entry,
    end: Math.max(...image.segments.map((s) => s.physical + s.memorySize)),
    commandLineLimit: LONGEST_COMMAND_LINE,
    initrdMax: 0x7fff_ffff,
  };
}

function writeCommandLine(
  memory: PhysicalMemory,
  line: string,
  { commandLineLimit }: Kernel,
): void {
  const bytes = new TextEncoder().encode(line);
  if (bytes.length > commandLineLimit) {
    throw new ImageError(
      'image-too-large',
      HEADER.CMDLINE_SIZE,
      `a command line of ${bytes.length} bytes is longer than ${commandLineLimit}`,
    );
  }
  memory.clear(COMMAND_LINE, PAGE);
  memory.load(COMMAND_LINE, bytes);
  put(memory, HEADER.CMD_LINE, 4, COMMAND_LINE);
}

/** As high as it may lie, page-aligned. */
function placeInitrd(memory: PhysicalMemory, initrd: Uint8Array, { end, initrdMax }: Kernel): void {
  const top = Math.min(memory.ramSize, initrdMax + 1);
  const address = Math.floor((top - initrd.length) / PAGE) * PAGE;
  if (address < end) {
    throw new ImageError(
      'image-too-large',
      HEADER.INITRD_MAX,
      `an initial RAM disk of ${initrd.length} bytes does not fit above the kernel`,
    );
  }
  memory.load(address, initrd);
  put(memory, HEADER.RAMDISK, 4, address);
  put(memory, HEADER.RAMDISK_SIZE, 4, initrd.length);
}

function writeMemoryMap(memory: PhysicalMemory): void {
  const map = memoryMap(memory.ramSize);
  put(memory, PARAMS.E820_ENTRIES, 1, map.length);
  for (const [index, { base, length, type }] of map.entries()) {
    const at = PARAMS.E820_TABLE + 20 * index;
    put(memory, at, 8, base);
    put(memory, at + 8, 8, length);
    put(memory, at + 16, 4, type);
  }
}
