import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';
import { boot, detectFormat } from '../../../src/platform/boot/boot.ts';
import { ImageError } from '../../../src/platform/boot/image-error.ts';
import { bootLinux } from '../../../src/platform/boot/linux.ts';
import { elfBytes } from './elf-bytes.ts';

const MIB = 1 << 20;
const PARAMS = 0x1_0000;

interface Recipe {
  version?: number;
  xloadflags?: number;
  setupSects?: number;
  preferred?: bigint;
  initSize?: number;
  initrdMax?: number;
}

/** A bzImage of two sectors of set-up code and a kernel that is all F4H. */
function bzImage({
  version = 0x20f,
  xloadflags = 3,
  setupSects = 1,
  preferred = 0x100_0000n,
  initSize = 4 * MIB,
  initrdMax = 0x7fff_ffff,
}: Recipe = {}): Uint8Array {
  const bytes = new Uint8Array(1024 + 4096).fill(0xf4, 1024);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = setupSects;
  view.setUint16(0x1fe, 0xaa55, true);
  bytes.set([0xeb, 0x66], 0x200);
  bytes.set(new TextEncoder().encode('HdrS'), 0x202);
  view.setUint16(0x206, version, true);
  bytes[0x211] = 1;
  view.setUint32(0x22c, initrdMax, true);
  view.setUint32(0x230, 0x20_0000, true);
  bytes[0x234] = 1;
  view.setUint16(0x236, xloadflags, true);
  view.setUint32(0x238, 2047, true);
  view.setBigUint64(0x258, preferred, true);
  view.setUint32(0x260, initSize, true);
  return bytes;
}

const memoryOf = (mib = 64) => new PhysicalMemory({ ramSize: mib * MIB });
const params = (memory: PhysicalMemory, offset: number, size: 1 | 2 | 4 | 8) =>
  memory.read(PARAMS + offset, size);

describe('a bzImage', () => {
  it('is recognised by its header', () => {
    expect(detectFormat(bzImage())).toBe('linux');
  });

  it('goes where it prefers and starts in 64-bit mode at its second entry', () => {
    const memory = memoryOf();
    const state = bootLinux(bzImage(), memory);
    expect(state.rip).toBe(0x100_0200n);
    expect(state.registers.RSI).toBe(BigInt(PARAMS));
    expect(memory.read(0x100_0000, 4)).toBe(0xf4f4_f4f4n);
    expect([state.cr0, state.cr4, state.efer]).toEqual([0x8000_0011n, 0x20n, 0x500n]);
    expect(state.code).toMatchObject({ selector: 0x10, rights: 0xa09b });
    expect(state.data).toMatchObject({ selector: 0x18, rights: 0xc093 });
    expect(memory.read(state.gdt.base + 0x10, 8)).toBe(0x00af_9b00_0000_ffffn);
    expect(memory.read(state.gdt.base + 0x18, 8)).toBe(0x00cf_9300_0000_ffffn);
    expect(state.gdt.limit).toBe(0x1f);
  });

  it('finds the first 4 GiB mapped one to one with pages of 2 MiB', () => {
    const memory = memoryOf();
    const state = bootLinux(bzImage(), memory);
    const translate = (linear: number) => {
      const entry = (table: bigint, index: number) =>
        memory.read(Number(table & ~0xfffn) + 8 * index, 8);
      const pml4 = entry(state.cr3, 0);
      const pdpt = entry(pml4, Math.floor(linear / 2 ** 30));
      return entry(pdpt, Math.floor(linear / 2 ** 21) % 512);
    };
    expect(translate(0)).toBe(0x83n);
    expect(translate(0x100_0200)).toBe(0x100_0083n);
    expect(translate(0xfee0_0000)).toBe(0xfee0_0083n);
  });

  it('finds its own header, command line, RAM disk and the memory map in boot_params', () => {
    const memory = memoryOf();
    const initrd = new Uint8Array(5000).fill(7);
    bootLinux(bzImage(), memory, { commandLine: 'console=ttyS0', initrd, rsdp: 0xf_0000 });
    expect(params(memory, 0x202, 4)).toBe(0x5372_6448n);
    expect(params(memory, 0x206, 2)).toBe(0x20fn);
    expect(params(memory, 0x210, 1)).toBe(0xffn);
    expect(params(memory, 0x1ef, 1)).toBe(0n);
    expect(params(memory, 0x070, 8)).toBe(0xf_0000n);

    const line = Number(params(memory, 0x228, 4));
    expect(new TextDecoder().decode(memory.slice(line, 14))).toBe('console=ttyS0\0');

    const [address, size] = [0x218, 0x21c].map((offset) => Number(params(memory, offset, 4)));
    expect([address, size]).toEqual([64 * MIB - 8192, 5000]);
    expect(memory.read(address!, 4)).toBe(0x0707_0707n);

    const entries = Array.from({ length: Number(params(memory, 0x1e8, 1)) }, (_, i) => {
      const at = 0x2d0 + 20 * i;
      return [params(memory, at, 8), params(memory, at + 8, 8), params(memory, at + 16, 4)];
    });
    expect(entries.slice(0, 4)).toEqual([
      [0n, 0x9_fc00n, 1n],
      [0x9_fc00n, 0x400n, 2n],
      [0xf_0000n, 0x1_0000n, 2n],
      [0x10_0000n, 63n << 20n, 1n],
    ]);
  });

  it('keeps its RAM disk below the highest address it allows', () => {
    const memory = memoryOf();
    bootLinux(bzImage({ initrdMax: 0x1ff_ffff }), memory, { initrd: new Uint8Array(4096) });
    expect(params(memory, 0x218, 4)).toBe(0x1ff_f000n);
  });

  // biome-ignore format: a table
  it.each<[string, Recipe, string, number]>([
    ['an old boot protocol',   { version: 0x20b },             'image-unsupported', 0x206],
    ['no 64-bit entry',        { xloadflags: 2 },              'image-unsupported', 0x236],
    ['nothing behind set-up',  { setupSects: 63 },             'image-truncated',   5120],
    ['more need than memory',  { initSize: 0x7fff_ffff },      'image-too-large',   0x260],
    ['boot_params in its way',  { preferred: 0n },              'image-bad-header',  0x258],
    ['an address beyond memory', { preferred: 1n << 63n },     'image-too-large',   0x260],
  ])('with %s is refused', (_what, recipe, code, offset) => {
    try {
      bootLinux(bzImage(recipe), memoryOf());
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ImageError);
      expect([(error as ImageError).code, (error as ImageError).offset]).toEqual([code, offset]);
    }
  });

  it('is refused with a command line longer than it takes', () => {
    expect(() => bootLinux(bzImage(), memoryOf(), { commandLine: 'x'.repeat(2048) })).toThrow(
      /2048 bytes/,
    );
  });

  it('is refused with a RAM disk that reaches down into it', () => {
    const initrd = new Uint8Array(50 * MIB);
    expect(() => bootLinux(bzImage(), memoryOf(), { initrd })).toThrow(
      /does not fit above the kernel/,
    );
  });
});

describe('a vmlinux', () => {
  const vmlinux = () =>
    elfBytes({
      entry: 0x100_0000n,
      programs: [{ address: 0x100_0000n, virtual: 0xffff_ffff_8100_0000n }],
    });

  it('is taken for a plain ELF64 image unless told', () => {
    expect(detectFormat(vmlinux())).toBe('elf64');
  });

  it('starts at its ELF entry with a minimal header', () => {
    const memory = memoryOf();
    const { entry, format } = boot(vmlinux(), memory, { format: 'linux', commandLine: 'quiet' });
    expect(format).toBe('linux');
    expect(entry.rip).toBe(0x100_0000n);
    expect(params(memory, 0x202, 4)).toBe(0x5372_6448n);
    expect(params(memory, 0x1fe, 2)).toBe(0xaa55n);
    expect(params(memory, 0x228, 4)).not.toBe(0n);
  });
});

describe('a flat image', () => {
  it('needs its format told, and runs from its first byte in 64-bit mode', () => {
    const memory = memoryOf(4);
    expect(() => detectFormat(new Uint8Array([0xf4]))).toThrow(ImageError);
    const { entry } = boot(new Uint8Array([0xf4]), memory, { format: 'flat', address: 0x20_0000 });
    expect(entry.rip).toBe(0x20_0000n);
    expect(entry.efer).toBe(0x500n);
    expect(memory.read(0x20_0000, 1)).toBe(0xf4n);
  });

  it.each([
    ['is empty', new Uint8Array(0), 0x10_0000],
    ['does not fit', new Uint8Array(2), 4 * MIB - 1],
    ['would cover the page tables', new Uint8Array(2), 0x2000],
  ])('is refused when it %s', (_why, bytes, address) => {
    expect(() => boot(bytes, memoryOf(4), { format: 'flat', address })).toThrow(ImageError);
  });
});
