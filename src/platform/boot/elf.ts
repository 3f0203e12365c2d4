import { hex } from '../../bits/hex.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import { ByteReader } from './byte-reader.ts';
import { ImageError } from './image-error.ts';
import { keepClear } from './memory-map.ts';

/** A PT_LOAD segment. */
export interface Segment {
  readonly physical: number;
  readonly virtual: bigint;
  readonly fileOffset: number;
  readonly fileSize: number;
  /** Bytes beyond `fileSize` are zero. */
  readonly memorySize: number;
}

export interface Note {
  readonly owner: string;
  readonly type: number;
  readonly descriptor: Uint8Array;
  /** Where the descriptor lies in the file. */
  readonly offset: number;
}

export interface ElfImage {
  readonly bits: 32 | 64;
  /** Physical address of the first instruction. */
  readonly entry: number;
  readonly segments: readonly Segment[];
  readonly notes: readonly Note[];
}

const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_NOTE = 4;
/** Nothing that boots has more. */
const MOST_PROGRAM_HEADERS = 128;
const MOST_NOTE_BYTES = 1 << 20;

/** How the two classes lay out what is read here. */
const LAYOUT = {
  32: { header: 52, entry: 24, programs: 28, entrySize: 42, count: 44, program: 32, align: 4 },
  64: { header: 64, entry: 24, programs: 32, entrySize: 54, count: 56, program: 56, align: 8 },
} as const;

export const isElf = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 &&
  bytes[0] === 0x7f &&
  bytes[1] === 0x45 &&
  bytes[2] === 0x4c &&
  bytes[3] === 0x46;

/** Reads the headers of an x86 ELF executable. @throws ImageError */
export function parseElf(bytes: Uint8Array): ElfImage {
  const reader = new ByteReader(bytes);
  if (!isElf(bytes)) throw new ImageError('image-unknown-format', 0, 'this is no ELF file');
  const bits = classOf(reader);
  const layout = LAYOUT[bits];
  reader.need(0, layout.header, 'the ELF header');
  if (reader.u8(5) !== 1)
    throw new ImageError('image-unsupported', 5, 'the ELF file is not little-endian');
  const type = reader.u16(16);
  if (type !== 2) {
    throw new ImageError('image-unsupported', 16, `ELF type ${type} is not an executable (2)`);
  }
  const machine = reader.u16(18);
  if (machine !== EM_X86_64 && !(bits === 32 && machine === EM_386)) {
    throw new ImageError('image-unsupported', 18, `ELF machine ${machine} is not x86`);
  }

  const word = (offset: number, what: string) => size(reader, bits, offset, what);
  const programs = word(layout.programs, 'the offset of the program headers');
  const entrySize = reader.u16(layout.entrySize);
  const count = reader.u16(layout.count);
  if (count === 0)
    throw new ImageError('image-bad-header', layout.count, 'the ELF file has no program headers');
  if (count > MOST_PROGRAM_HEADERS) {
    throw new ImageError(
      'image-bad-header',
      layout.count,
      `${count} program headers are more than ${MOST_PROGRAM_HEADERS}`,
    );
  }
  if (entrySize < layout.program) {
    throw new ImageError(
      'image-bad-header',
      layout.entrySize,
      `program headers of ${entrySize} bytes are too short`,
    );
  }
  reader.need(programs, count * entrySize, 'the program headers');

  const segments: Segment[] = [];
  const notes: Note[] = [];
  for (let index = 0; index < count; index++) {
    const at = programs + index * entrySize;
    const kind = reader.u32(at);
    if (kind === PT_LOAD) segments.push(segment(reader, bits, at));
    else if (kind === PT_NOTE) notes.push(...readNotes(reader, segment(reader, bits, at)));
    else if (kind === PT_INTERP) {
      throw new ImageError('image-unsupported', at, 'the ELF file asks for a dynamic linker');
    }
  }
  if (!segments.some((s) => s.memorySize > 0)) {
    throw new ImageError('image-bad-header', programs, 'the ELF file has nothing to load');
  }
  return { bits, entry: entryPoint(reader, bits, layout.entry, segments), segments, notes };
}

/** The header has a virtual address, and nothing is mapped yet: where its segment lies in physical memory, as GRUB takes it. */
function entryPoint(
  reader: ByteReader,
  bits: 32 | 64,
  offset: number,
  segments: readonly Segment[],
): number {
  const entry = address(reader, bits, offset);
  const inside = segments.find(
    ({ virtual, memorySize }) => entry >= virtual && entry < virtual + BigInt(memorySize),
  );
  if (inside) return inside.physical + Number(entry - inside.virtual);
  return size(reader, bits, offset, 'the entry point');
}

/** Copies the segments into RAM at their physical addresses and zeroes what the file does not hold. @throws ImageError */
export function loadElf(image: ElfImage, bytes: Uint8Array, memory: PhysicalMemory): void {
  for (const { physical, fileOffset, memorySize } of image.segments) {
    keepClear(physical, memorySize, fileOffset);
    if (physical + memorySize > memory.ramSize) {
      throw new ImageError(
        'image-too-large',
        fileOffset,
        `a segment of ${memorySize} bytes at ${hex(physical)} does not fit ${memory.ramSize} bytes of memory`,
      );
    }
  }
  for (const { physical, fileOffset, fileSize, memorySize } of image.segments) {
    memory.load(physical, bytes.subarray(fileOffset, fileOffset + fileSize));
    if (memorySize > fileSize) memory.clear(physical + fileSize, memorySize - fileSize);
  }
}

function classOf(reader: ByteReader): 32 | 64 {
  const kind = reader.u8(4);
  if (kind === 1) return 32;
  if (kind === 2) return 64;
  throw new ImageError('image-bad-header', 4, `ELF class ${kind} is neither 32 nor 64 bits`);
}

/** A file or memory size or address: what does not fit 2^53 cannot be loaded anywhere. */
function size(reader: ByteReader, bits: 32 | 64, offset: number, what: string): number {
  const value = bits === 64 ? reader.u64(offset) : BigInt(reader.u32(offset));
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new ImageError('image-too-large', offset, `${what} is ${hex(value)}`);
  }
  return Number(value);
}

function segment(reader: ByteReader, bits: 32 | 64, at: number): Segment {
  const word = (offset: number, what: string) => size(reader, bits, at + offset, what);
  const [fileOffset, virtual, physical, fileSize, memorySize] =
    bits === 64 ? [8, 16, 24, 32, 40] : [4, 8, 12, 16, 20];
  const found = {
    fileOffset: word(fileOffset!, 'the file offset of a segment'),
    virtual: address(reader, bits, at + virtual!),
    physical: word(physical!, 'the physical address of a segment'),
    fileSize: word(fileSize!, 'the file size of a segment'),
    memorySize: word(memorySize!, 'the memory size of a segment'),
  };
  if (found.fileSize > found.memorySize) {
    throw new ImageError(
      'image-bad-header',
      at + fileSize!,
      'a segment is larger in the file than in memory',
    );
  }
  reader.need(found.fileOffset, found.fileSize, 'the end of a segment');
  return found;
}

const address = (reader: ByteReader, bits: 32 | 64, offset: number): bigint =>
  bits === 64 ? reader.u64(offset) : BigInt(reader.u32(offset));

function* readNotes(reader: ByteReader, { fileOffset, fileSize }: Segment): Iterable<Note> {
  if (fileSize > MOST_NOTE_BYTES) {
    throw new ImageError(
      'image-bad-note',
      fileOffset,
      `${fileSize} bytes of notes are more than ${MOST_NOTE_BYTES}`,
    );
  }
  const end = fileOffset + fileSize;
  const round = (length: number) => Math.ceil(length / 4) * 4;
  let at = fileOffset;
  while (at + 12 <= end) {
    const [ownerSize, descriptorSize, type] = [
      reader.u32(at),
      reader.u32(at + 4),
      reader.u32(at + 8),
    ];
    const descriptorAt = at + 12 + round(ownerSize);
    if (descriptorAt + descriptorSize > end) {
      throw new ImageError('image-bad-note', at, 'a note is longer than its segment');
    }
    yield {
      owner: reader.text(at + 12, ownerSize),
      type,
      descriptor: reader.slice(descriptorAt, descriptorSize, 'the end of a note'),
      offset: descriptorAt,
    };
    at = descriptorAt + round(descriptorSize);
  }
}
