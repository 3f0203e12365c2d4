import { hex } from '../../bits/hex.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import { ByteReader } from './byte-reader.ts';
import { isElf, loadElf, parseElf } from './elf.ts';
import { type EntryState, enterProtectedMode } from './entry-state.ts';
import { ImageError } from './image-error.ts';
import { keepClear, MIB, memoryMap } from './memory-map.ts';

export interface Module {
  readonly bytes: Uint8Array;
  /** What the image finds as the module's string. */
  readonly text: string;
}

export interface MultibootOptions {
  /** Program name first, by convention. */
  readonly commandLine?: string;
  readonly modules?: readonly Module[];
}

/** Multiboot specification 0.6.96, "OS image format". */
const HEADER_MAGIC = 0x1bad_b002;
const LOADER_MAGIC = 0x2bad_b002n;
const SEARCH = 8192;
const FLAG = { PAGE_ALIGN: 1, MEMORY_INFO: 2, VIDEO: 4, ADDRESSES: 0x1_0000 } as const;
/** Bits 15:0 ask for something: what is not known must be refused. */
const UNKNOWN_REQUESTS = 0xfff8;

/** Information structure: which fields are valid. */
const INFO = {
  MEMORY: 1,
  COMMAND_LINE: 4,
  MODULES: 8,
  MEMORY_MAP: 0x40,
  LOADER_NAME: 0x200,
} as const;
const INFO_AT = 0x9000;
const INFO_SIZE = 120;
/** Tables and text behind the structure end here. */
const INFO_END = 0x1_0000;
const LOADER_NAME = 'counterpoint';
const PAGE = 4096;

/** Offset of the multiboot header in the image, undefined if it has none. */
export function findMultibootHeader(bytes: Uint8Array): number | undefined {
  const end = Math.min(SEARCH, bytes.length) - 12;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at <= end; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    const sum = HEADER_MAGIC + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
    if (sum % 2 ** 32 === 0) return at;
  }
  return undefined;
}

/** Loads a multiboot image and its modules; the state it starts in. @throws ImageError */
export function bootMultiboot(
  bytes: Uint8Array,
  memory: PhysicalMemory,
  { commandLine = '', modules = [] }: MultibootOptions = {},
): EntryState {
  const header = findMultibootHeader(bytes);
  if (header === undefined) {
    throw new ImageError('image-unknown-format', 0, 'the image has no multiboot header');
  }
  const reader = new ByteReader(bytes);
  const flags = reader.u32(header + 4);
  if ((flags & UNKNOWN_REQUESTS) !== 0) {
    throw new ImageError(
      'image-unsupported',
      header + 4,
      `the multiboot header asks for flags ${hex(flags & 0xffff)}, of which only 0x7 are known`,
    );
  }
  const byAddresses = (flags & FLAG.ADDRESSES) !== 0;
  const { entry, end } =
    byAddresses || !isElf(bytes)
      ? loadByAddresses(reader, header, flags, memory)
      : loadContainer(bytes, memory);
  if (entry >= 2 ** 32) {
    throw new ImageError(
      'image-bad-header',
      0,
      `the entry point ${hex(entry)} is beyond what 32-bit protected mode reaches`,
    );
  }
  const placed = placeModules(modules, end, memory);
  writeInformation(memory, commandLine, placed);
  return enterProtectedMode(memory, entry, { RAX: LOADER_MAGIC, RBX: BigInt(INFO_AT) });
}

interface Loaded {
  readonly entry: number;
  /** First address behind everything loaded. */
  readonly end: number;
}

function loadContainer(bytes: Uint8Array, memory: PhysicalMemory): Loaded {
  const image = parseElf(bytes);
  loadElf(image, bytes, memory);
  const end = Math.max(...image.segments.map((s) => s.physical + s.memorySize));
  return { entry: image.entry, end };
}

/** The address fields of the header. */
function loadByAddresses(
  reader: ByteReader,
  header: number,
  flags: number,
  memory: PhysicalMemory,
): Loaded {
  if ((flags & FLAG.ADDRESSES) === 0) {
    throw new ImageError(
      'image-bad-header',
      header,
      'a multiboot image that is no ELF file needs load addresses (flag 16)',
    );
  }
  const field = (index: number) => reader.u32(header + 12 + 4 * index);
  const [headerAddress, load, loadEnd, bssEnd, entry] = [
    field(0),
    field(1),
    field(2),
    field(3),
    field(4),
  ];
  const start = header - (headerAddress - load);
  if (load > headerAddress || start < 0) {
    throw new ImageError(
      'image-bad-header',
      header + 12,
      'the load address does not lie before the multiboot header',
    );
  }
  const size = loadEnd === 0 ? reader.length - start : loadEnd - load;
  if (size < 0 || (bssEnd !== 0 && bssEnd < load + size)) {
    throw new ImageError(
      'image-bad-header',
      header + 20,
      'the load addresses of the multiboot header are out of order',
    );
  }
  const content = reader.slice(start, size, 'the end of what the multiboot header loads');
  const end = Math.max(bssEnd, load + size);
  keepClear(load, end - load, header + 16);
  if (end > memory.ramSize) {
    throw new ImageError(
      'image-too-large',
      header + 16,
      `the image ends at ${hex(end)}, beyond ${memory.ramSize} bytes of memory`,
    );
  }
  memory.load(load, content);
  memory.clear(load + size, end - load - size);
  return { entry, end };
}

interface PlacedModule {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Modules lie page-aligned behind the image, above 1 MiB. */
function placeModules(
  modules: readonly Module[],
  from: number,
  memory: PhysicalMemory,
): readonly PlacedModule[] {
  let at = Math.max(from, MIB);
  return modules.map(({ bytes, text }) => {
    const start = Math.ceil(at / PAGE) * PAGE;
    at = start + bytes.length;
    if (at > memory.ramSize) {
      throw new ImageError(
        'image-too-large',
        0,
        `a module of ${bytes.length} bytes at ${hex(start)} does not fit ${memory.ramSize} bytes of memory`,
      );
    }
    memory.load(start, bytes);
    return { start, end: at, text };
  });
}

function writeInformation(
  memory: PhysicalMemory,
  commandLine: string,
  modules: readonly PlacedModule[],
): void {
  memory.clear(INFO_AT, INFO_SIZE);
  let free = INFO_AT + INFO_SIZE;
  const reserve = (length: number): number => {
    const at = Math.ceil(free / 4) * 4;
    free = at + length;
    if (free > INFO_END) {
      throw new ImageError(
        'image-too-large',
        0,
        'command line and modules need more than 28 KiB of boot information',
      );
    }
    return at;
  };
  const text = (value: string): number => {
    const bytes = new TextEncoder().encode(`${value}\0`);
    const at = reserve(bytes.length);
    memory.load(at, bytes);
    return at;
  };
  const put = (offset: number, value: number) => memory.write(INFO_AT + offset, 4, BigInt(value));

  const map = memoryMap(memory.ramSize);
  const mapAt = reserve(24 * map.length);
  for (const [index, { base, length, type }] of map.entries()) {
    const at = mapAt + 24 * index;
    memory.write(at, 4, 20n);
    memory.write(at + 4, 8, BigInt(base));
    memory.write(at + 12, 8, BigInt(length));
    memory.write(at + 20, 4, BigInt(type));
  }
  const modulesAt = reserve(16 * modules.length);
  for (const [index, { start, end, text: name }] of modules.entries()) {
    const fields = [start, end, text(name), 0];
    for (const [i, value] of fields.entries())
      memory.write(modulesAt + 16 * index + 4 * i, 4, BigInt(value));
  }

  const { MEMORY, COMMAND_LINE, MODULES, MEMORY_MAP, LOADER_NAME: NAME } = INFO;
  put(0, MEMORY | COMMAND_LINE | MODULES | MEMORY_MAP | NAME);
  put(4, 639);
  put(8, Math.floor((memory.ramSize - 0x10_0000) / 1024));
  put(16, text(commandLine));
  put(20, modules.length);
  put(24, modulesAt);
  put(44, 24 * map.length);
  put(48, mapAt);
  put(64, text(LOADER_NAME));
}
