import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';
import { boot, detectFormat } from '../../../src/platform/boot/boot.ts';
import { ImageError } from '../../../src/platform/boot/image-error.ts';

const bytesOf = (path: string) => new Uint8Array(readFileSync(path));

describe('an image', () => {
  it.each([
    ['firmware/count.elf', 'elf64'],
    ['firmware/kernels/paging.elf', 'multiboot'],
  ])('%s is recognised as %s', (path, format) => {
    expect(detectFormat(bytesOf(path))).toBe(format);
  });

  it('is loaded by its protocol, with the regions it names', () => {
    const memory = new PhysicalMemory({ ramSize: 4 << 20 });
    const { format, entry, regions } = boot(bytesOf('firmware/overflow.elf'), memory);
    expect(format).toBe('elf64');
    expect(entry.cr0).toBe(0x8000_0011n);
    expect(regions.map(({ name }) => name)).toEqual(['period', 'sled']);
  });

  it('with regions of interest keeps them whatever boots it', () => {
    const memory = new PhysicalMemory({ ramSize: 32 << 20 });
    const { regions } = boot(bytesOf('firmware/count.elf'), memory, { format: 'linux' });
    expect(regions).toHaveLength(5);
  });
});

/** Any of these bytes may change; the rest is code. */
const HEADERS = { 'firmware/count.elf': 0xb0, 'firmware/kernels/paging.elf': 0x54 } as const;

describe('a damaged image', () => {
  it.each(Object.entries(HEADERS))('made of %s loads or is refused in one line', (path, header) => {
    const original = bytesOf(path);
    const multiboot =
      original.length > 0x1010 ? fc.integer({ min: 0x1000, max: 0x100f }) : fc.nat({ max: 3 });
    const place = fc.oneof(fc.nat({ max: header }), multiboot);
    const change = fc.tuple(place, fc.nat({ max: 255 }));
    const cut = fc.integer({ min: 0, max: original.length });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), fc.option(cut), (changes, length) => {
        const bytes = original.slice(0, length ?? original.length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          boot(bytes, new PhysicalMemory({ ramSize: 2 << 20 }));
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
          expect((error as ImageError).message).toMatch(
            /^[^\n]+ \(at offset 0x[0-9a-f]+ of the image\)$/,
          );
        }
      }),
      { seed: 20261123, numRuns: 1500 },
    );
  });
});
