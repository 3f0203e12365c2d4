import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../src/memory/physical-memory.ts';

describe('physical memory', () => {
  it('is little-endian RAM from address 0, behind what the engines reserve', () => {
    const memory = new PhysicalMemory({ ramSize: 0x10000, reserved: 0x20000 });
    memory.write(0x10, 8, 0x1122_3344_5566_7788n);
    expect(memory.read(0x10, 1)).toBe(0x88n);
    expect(memory.read(0x12, 2)).toBe(0x5566n);
    expect(memory.read(0x14, 4)).toBe(0x1122_3344n);
    expect(memory.bytes[memory.offset(0x17)]).toBe(0x11);
  });

  it('reads all ones where nothing is, and drops writes there', () => {
    const memory = new PhysicalMemory({ ramSize: 0x1000 });
    memory.write(0x1000, 4, 0n);
    expect(memory.read(0x1000, 4)).toBe(0xffff_ffffn);
    expect(memory.read(0xffc, 8)).toBe(0xffff_ffff_ffff_ffffn);
  });

  it('gives a device window precedence over RAM, with offsets from its base', () => {
    const memory = new PhysicalMemory({ ramSize: 0x4000 });
    const seen: [number, number, bigint][] = [];
    memory.attach(0x1000, 0x1000, {
      read: (offset, size) => BigInt(offset * 16 + size),
      write: (offset, size, value) => seen.push([offset, size, value]),
    });
    memory.write(0x1004, 4, 9n);
    expect(memory.read(0x1020, 2)).toBe(0x202n);
    expect(seen).toEqual([[4, 4, 9n]]);
    expect(memory.isRam(0xfff, 2)).toBe(false);
    expect(memory.isRam(0x2000, 0x2000)).toBe(true);
    expect(memory.isRam(0x3fff, 2)).toBe(false);
  });

  it('refuses overlapping windows and loads that do not fit', () => {
    const memory = new PhysicalMemory({ ramSize: 0x2000 });
    const device = { read: () => 0n, write: () => {} };
    memory.attach(0x1000, 0x10, device);
    expect(() => memory.attach(0x100f, 1, device)).toThrow(RangeError);
    expect(() => memory.load(0x1ff0, new Uint8Array(0x11))).toThrow(RangeError);
  });

  it('finds a place above all windows for one that may be anywhere', () => {
    const memory = new PhysicalMemory({ ramSize: 0x1000 });
    const device = { read: () => 7n, write: () => {} };
    expect(memory.attachAbove(0x10_0000, 0x1000, device)).toBe(0x10_0000);
    expect(memory.attachAbove(0x10_0000, 0x1000, device)).toBe(0x10_1000);
    expect(memory.read(0x10_1010, 1)).toBe(7n);
  });

  it('tells listeners of every write to RAM that is not an engine’s own', () => {
    const memory = new PhysicalMemory({ ramSize: 0x2000 });
    const seen: [number, number][] = [];
    memory.onWrite((address, length) => seen.push([address, length]));
    memory.write(0x20, 2, 1n);
    memory.load(0x100, new Uint8Array(3));
    expect(seen).toEqual([
      [0x20, 2],
      [0x100, 3],
    ]);
  });
});
