import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';
import { loadElf, parseElf } from '../../../src/platform/boot/elf.ts';
import { ImageError } from '../../../src/platform/boot/image-error.ts';
import { readRegions } from '../../../src/platform/boot/regions.ts';
import { CONTENT_AT, type ElfRecipe, elfBytes } from './elf-bytes.ts';

const MIB = 1 << 20;

function failure(work: () => unknown): ImageError {
  try {
    work();
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function load(bytes: Uint8Array, ramSize = 2 * MIB): PhysicalMemory {
  const memory = new PhysicalMemory({ ramSize });
  loadElf(parseElf(bytes), bytes, memory);
  return memory;
}

describe('an ELF image', () => {
  it.each([32, 64] as const)(
    'of %i bits is loaded at its physical addresses, the rest zeroed',
    (bits) => {
      const bytes = elfBytes({
        bits,
        entry: 0x10_0002n,
        content: new Uint8Array([1, 2, 3]),
        programs: [{ virtual: 0x8010_0000n, memorySize: 6n }],
      });
      const image = parseElf(bytes);
      expect(image.bits).toBe(bits);
      expect(image.entry).toBe(0x10_0002);
      const memory = new PhysicalMemory({ ramSize: 2 * MIB });
      memory.load(MIB, new Uint8Array(8).fill(0xcc));
      loadElf(image, bytes, memory);
      expect([...memory.slice(MIB, 8)]).toEqual([1, 2, 3, 0, 0, 0, 0xcc, 0xcc]);
    },
  );

  it('linked for the upper half is entered where its first segment lies', () => {
    const programs = [{ address: 0x20_0000n, virtual: 0xffff_ffff_8010_0000n, memorySize: 0x100n }];
    expect(parseElf(elfBytes({ entry: 0xffff_ffff_8010_000cn, programs })).entry).toBe(0x20_000c);
  });

  it('may end exactly where memory ends', () => {
    const bytes = elfBytes({ programs: [{ memorySize: BigInt(MIB) }] });
    expect(() => load(bytes)).not.toThrow();
  });

  // biome-ignore format: a table
  it.each<[string, ElfRecipe, string, number]>([
    ['one byte more than memory',         { programs: [{ memorySize: BigInt(MIB) + 1n }] },      'image-too-large',   CONTENT_AT],
    ['a segment beyond memory',           { programs: [{ address: 1n << 40n }] },                'image-too-large',   CONTENT_AT],
    ['a memory size of 2^63',             { programs: [{ memorySize: 1n << 63n }] },             'image-too-large',   64 + 40],
    ['a physical address of 2^64 - 1',    { programs: [{ address: (1n << 64n) - 1n }] },         'image-too-large',   64 + 24],
    ['a segment among boot structures',   { programs: [{ address: 0x8000n }] },                  'image-bad-header',  CONTENT_AT],
    ['an entry point beyond everything',  { entry: 1n << 63n },                                  'image-too-large',   24],
    ['a file offset of 2^62',             { programs: [{ offset: 1n << 62n }] },                 'image-too-large',   64 + 8],
    ['a segment beyond the file',         { programs: [{ fileSize: 100n, memorySize: 100n }] },  'image-truncated',   CONTENT_AT],
    ['more in the file than in memory',   { programs: [{ memorySize: 0n }] },                    'image-bad-header',  64 + 32],
    ['65,535 program headers',            { programCount: 0xffff },                              'image-bad-header',  56],
    ['no program headers',                { programCount: 0 },                                   'image-bad-header',  56],
    ['more headers than the file holds',  { programCount: 100 },                                 'image-truncated',   64],
    ['program headers of 8 bytes',        { programSize: 8 },                                    'image-bad-header',  54],
    ['an object file',                    { type: 1 },                                           'image-unsupported', 16],
    ['a shared object',                   { type: 3 },                                           'image-unsupported', 16],
    ['an ARM executable',                 { machine: 183 },                                      'image-unsupported', 18],
    ['i386 code in a 64-bit file',        { machine: 3 },                                        'image-unsupported', 18],
    ['a dynamic linker asked for',        { programs: [{ type: 3 }] },                           'image-unsupported', 64],
    ['nothing to load',                   { programs: [{ type: 6 }] },                           'image-bad-header',  64],
  ])('with %s is refused', (_what, recipe, code, offset) => {
    const error = failure(() => load(elfBytes(recipe)));
    expect([error.code, error.offset]).toEqual([code, offset]);
    expect(error.message).not.toContain('\n');
  });

  it.each([
    ['nothing', new Uint8Array(0), 'image-unknown-format'],
    ['text', new TextEncoder().encode('#!/bin/sh\n'), 'image-unknown-format'],
    ['only the magic number', elfBytes().slice(0, 4), 'image-truncated'],
    ['half a header', elfBytes().slice(0, 40), 'image-truncated'],
    ['the other byte order', elfBytes().with(5, 2), 'image-unsupported'],
    ['class 3', elfBytes().with(4, 3), 'image-bad-header'],
  ])('of %s is refused', (_what, bytes, code) => {
    expect(failure(() => load(bytes)).code).toBe(code);
  });

  it('cut anywhere before its last byte is refused', () => {
    const bytes = elfBytes();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => load(bytes.slice(0, length)), `${length} bytes`).toThrow(ImageError);
    }
  });

  it('with any bytes changed loads or is refused in one line, never otherwise', () => {
    const original = new Uint8Array(readFileSync('firmware/count.elf')).slice(0, 0x1800);
    const change = fc.tuple(fc.nat({ max: 0xb0 }), fc.nat({ max: 255 }));
    const note = fc.tuple(fc.integer({ min: 0x1580, max: 0x163f }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(fc.oneof(change, note), { minLength: 1, maxLength: 8 }), (changes) => {
        const bytes = original.slice();
        for (const [at, value] of changes) bytes[at] = value;
        try {
          const image = parseElf(bytes);
          readRegions(image);
          loadElf(image, bytes, new PhysicalMemory({ ramSize: 2 * MIB }));
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
          expect((error as ImageError).message).toMatch(/^[^\n]+$/);
        }
      }),
      { seed: 20261123, numRuns: 2000 },
    );
  });
});

describe('regions of interest', () => {
  it('are read from the note of a bundled guest', () => {
    const bytes = new Uint8Array(readFileSync('firmware/count.elf'));
    const regions = readRegions(parseElf(bytes));
    expect(regions.map(({ name }) => name)).toEqual(['loop', 'mixed', 'half', 'user', 'fault']);
    for (const { begin, end } of regions) {
      // Both ends are WRMSR.
      for (const rip of [begin, end]) {
        const at = Number(rip) - MIB;
        expect([...bytes.slice(at, at + 2)]).toEqual([0x0f, 0x30]);
      }
    }
  });

  it('are none where no note has them', () => {
    expect(readRegions(parseElf(elfBytes()))).toEqual([]);
  });

  it('of the wrong size are refused', () => {
    const note = new Uint8Array(12 + 16 + 8);
    const view = new DataView(note.buffer);
    view.setUint32(0, 13, true);
    view.setUint32(4, 8, true);
    view.setUint32(8, 1, true);
    note.set(new TextEncoder().encode('counterpoint'), 12);
    const bytes = elfBytes({ content: note, programs: [{}, { type: 4 }] });
    const error = failure(() => readRegions(parseElf(bytes)));
    expect([error.code, error.offset]).toEqual(['image-bad-note', CONTENT_AT + 28]);
  });

  it('in a note longer than its segment are refused', () => {
    const note = new Uint8Array(12);
    new DataView(note.buffer).setUint32(4, 0xffff_fff0, true);
    const bytes = elfBytes({ content: note, programs: [{}, { type: 4 }] });
    expect(failure(() => parseElf(bytes)).code).toBe('image-bad-note');
  });
});
