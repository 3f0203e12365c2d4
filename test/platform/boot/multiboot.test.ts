import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';
import { ImageError } from '../../../src/platform/boot/image-error.ts';
import { bootMultiboot, findMultibootHeader } from '../../../src/platform/boot/multiboot.ts';
import { CONTENT_AT, elfBytes } from './elf-bytes.ts';

const MIB = 1 << 20;
const MAGIC = 0x1bad_b002;

/** A multiboot header with its checksum, then the address fields. */
function header(flags = 0, ...addresses: number[]): Uint8Array {
  const words = [MAGIC, flags, (-(MAGIC + flags) >>> 0) % 2 ** 32, ...addresses];
  const view = new DataView(new ArrayBuffer(4 * words.length));
  for (const [index, word] of words.entries()) view.setUint32(4 * index, word, true);
  return new Uint8Array(view.buffer);
}

const kernel = (bits: 32 | 64 = 32) =>
  elfBytes({ bits, machine: bits === 32 ? 3 : 62, entry: 0x10_000cn, content: header() });

const memoryOf = (mib = 4) => new PhysicalMemory({ ramSize: mib * MIB });

/** A byte string in memory up to its zero. */
function text(memory: PhysicalMemory, address: number): string {
  const bytes = memory.slice(address, 100);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}

const failure = (bytes: Uint8Array, memory = memoryOf()) => {
  try {
    bootMultiboot(bytes, memory);
  } catch (error) {
    if (error instanceof ImageError) return [error.code, error.offset];
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('a multiboot image', () => {
  it.each([32, 64] as const)('in ELF%i starts in 32-bit protected mode', (bits) => {
    const memory = memoryOf();
    const state = bootMultiboot(kernel(bits), memory);
    expect(state.rip).toBe(0x10_000cn);
    expect(state.registers.RAX).toBe(0x2bad_b002n);
    expect([state.cr0, state.cr3, state.cr4, state.efer]).toEqual([0x11n, 0n, 0n, 0n]);
    expect(state.code).toMatchObject({ base: 0, limit: 0xffff_ffff, rights: 0xc09b });
    expect(state.data).toMatchObject({ base: 0, limit: 0xffff_ffff, rights: 0xc093 });
    expect(memory.read(MIB, 4)).toBe(BigInt(MAGIC));
  });

  it('finds command line, memory and its map in the information structure', () => {
    const memory = memoryOf(128);
    const state = bootMultiboot(kernel(), memory, { commandLine: 'kernel one two' });
    const info = Number(state.registers.RBX);
    const field = (offset: number) => Number(memory.read(info + offset, 4));
    expect(field(0)).toBe(0x24d);
    expect([field(4), field(8)]).toEqual([639, 127 * 1024]);
    expect(text(memory, field(16))).toBe('kernel one two');
    expect(field(20)).toBe(0);
    expect(text(memory, field(64))).toBe('counterpoint');

    const entries: [bigint, bigint, bigint][] = [];
    for (let at = field(48); at < field(48) + field(44); at += 4 + Number(memory.read(at, 4))) {
      entries.push([memory.read(at + 4, 8), memory.read(at + 12, 8), memory.read(at + 20, 4)]);
    }
    expect(entries).toContainEqual([0n, 0x9_fc00n, 1n]);
    expect(entries).toContainEqual([0x10_0000n, 127n << 20n, 1n]);
    expect(entries).toContainEqual([0xfee0_0000n, 0x1000n, 2n]);
  });

  it('finds its modules, page-aligned behind itself', () => {
    const memory = memoryOf();
    const modules = [
      { bytes: new TextEncoder().encode('NR_CPUS=2\n'), text: 'env' },
      { bytes: new Uint8Array([1, 2, 3]), text: 'second' },
    ];
    const state = bootMultiboot(kernel(), memory, { modules });
    const info = Number(state.registers.RBX);
    expect(memory.read(info + 20, 4)).toBe(2n);
    const list = Number(memory.read(info + 24, 4));
    const [start, end, name] = [0, 4, 8].map((o) => Number(memory.read(list + o, 4)));
    expect(start! % 4096).toBe(0);
    expect(text(memory, name!)).toBe('env');
    expect(new TextDecoder().decode(memory.slice(start!, end! - start!))).toBe('NR_CPUS=2\n');
    const second = Number(memory.read(list + 16, 4));
    expect(second).toBe(start! + 4096);
    expect([...memory.slice(second, 3)]).toEqual([1, 2, 3]);
  });

  it('is loaded by the addresses of its header when they are given', () => {
    const bytes = new Uint8Array([
      0xaa,
      0xaa,
      0xaa,
      0xaa,
      ...header(0x1_0000, 0x20_0004, 0x20_0000, 0, 0x20_1000, 0x20_0008),
      0xbb,
    ]);
    const memory = memoryOf();
    memory.load(0x20_0800, new Uint8Array([0xff]));
    const state = bootMultiboot(bytes, memory);
    expect(state.rip).toBe(0x20_0008n);
    expect([...memory.slice(0x20_0000, 5)]).toEqual([0xaa, 0xaa, 0xaa, 0xaa, 0x02]);
    expect(memory.read(0x20_0000 + bytes.length - 1, 1)).toBe(0xbbn);
    expect(memory.read(0x20_0800, 1)).toBe(0n);
  });

  // biome-ignore format: a table
  it.each<[string, Uint8Array, string, number]>([
    ['no header',                     elfBytes(),                                                                'image-unknown-format', 0],
    ['a checksum that is off by one', elfBytes({ content: header().with(8, header()[8]! + 1) }),                 'image-unknown-format', 0],
    ['an unknown request',            elfBytes({ content: header(0x8) }),                                        'image-unsupported', CONTENT_AT + 4],
    ['neither ELF nor addresses',     header(),                                                                  'image-bad-header', 0],
    ['a load address behind the header', header(0x1_0000, 0x10_0000, 0x10_0004, 0, 0, 0x10_0000),                'image-bad-header', 12],
    ['a load address before the file', header(0x1_0000, 0x10_0004, 0x10_0000, 0, 0, 0x10_0000),                  'image-bad-header', 12],
    ['an end before its start',       header(0x1_0000, 0x10_0000, 0x10_0000, 0xf_0000, 0, 0x10_0000),            'image-bad-header', 20],
    ['an end beyond the file',        header(0x1_0000, 0x10_0000, 0x10_0000, 0x20_0000, 0, 0x10_0000),           'image-truncated', 0],
    ['a load address among boot structures', header(0x1_0000, 0x9000, 0x9000, 0, 0, 0x9000),                     'image-bad-header', 16],
    ['bss beyond memory',             header(0x1_0000, 0x10_0000, 0x10_0000, 0, 0xf000_0000, 0x10_0000),         'image-too-large', 16],
  ])('with %s is refused', (_what, bytes, code, offset) => {
    expect(failure(bytes)).toEqual([code, offset]);
  });

  it('with a header that begins beyond 8 KiB has none', () => {
    const at = (offset: number) => {
      const bytes = new Uint8Array(16_384);
      bytes.set(header(), offset);
      return findMultibootHeader(bytes);
    };
    expect(at(8192 - 12)).toBe(8180);
    expect(at(8192)).toBeUndefined();
    expect(at(4098)).toBeUndefined(); // not 4-byte aligned
  });

  it('in low memory has its modules above 1 MiB, where no firmware lies', () => {
    const memory = memoryOf();
    const bytes = elfBytes({ bits: 32, content: header(), programs: [{ address: 0x4_0000n }] });
    const modules = [{ bytes: new Uint8Array(2 * MIB), text: '' }];
    const info = Number(bootMultiboot(bytes, memory, { modules }).registers.RBX);
    expect(memory.read(Number(memory.read(info + 24, 4)), 4)).toBe(0x10_0000n);
  });

  it('is refused when a module does not fit', () => {
    const modules = [{ bytes: new Uint8Array(3 * MIB), text: '' }];
    expect(() => bootMultiboot(kernel(), memoryOf(4), { modules })).toThrow(/does not fit/);
  });

  it('is refused when its command line is too long', () => {
    expect(() => bootMultiboot(kernel(), memoryOf(), { commandLine: 'x'.repeat(40_000) })).toThrow(
      /28 KiB/,
    );
  });
});
