import { beforeEach, describe, expect, it } from 'vitest';
import { FwCfg } from '../../src/platform/fw-cfg.ts';
import { PortBus } from '../../src/platform/port-bus.ts';

let bus: PortBus;
let device: FwCfg;
beforeEach(() => {
  bus = new PortBus();
  device = new FwCfg({
    ramSize: 128 << 20,
    cpus: 4,
    commandLine: 'a=1',
    initrd: new Uint8Array([9, 8]),
    files: { 'etc/b': new Uint8Array([7]), 'etc/a': new Uint8Array([5, 6]) },
  });
  bus.attach(0x510, 2, device);
});

function item(selector: number, length: number): number[] {
  bus.write(0x510, 2, selector);
  return Array.from({ length }, () => bus.read(0x511, 1));
}

describe('fw_cfg', () => {
  // biome-ignore format: a table
  it.each([
    ['the signature',         0x00, [0x51, 0x45, 0x4d, 0x55]],
    ['the port interface',    0x01, [1, 0, 0, 0]],
    ['the size of memory',    0x03, [0, 0, 0, 8, 0, 0, 0, 0]],
    ['the number of CPUs',    0x05, [4, 0]],
    ['the most CPUs',         0x0f, [4, 0]],
    ['the command line',      0x15, [0x61, 0x3d, 0x31, 0]],
    ['its size',              0x14, [4, 0, 0, 0]],
    ['the initial RAM disk',  0x12, [9, 8]],
    ['its size',              0x0b, [2, 0, 0, 0]],
    ['an unknown item',       0x77, [0, 0, 0]],
  ])('tells %s', (_what, selector, bytes) => {
    expect(item(selector, bytes.length)).toEqual(bytes);
  });

  it('reads zeros behind the end of an item', () => {
    expect(item(0x05, 4)).toEqual([4, 0, 0, 0]);
  });

  it('starts an item anew when it is selected anew', () => {
    item(0x00, 2);
    expect(item(0x00, 1)).toEqual([0x51]);
  });

  it('lists its files by name, big-endian', () => {
    const bytes = item(0x19, 4 + 2 * 64);
    expect(bytes.slice(0, 4)).toEqual([0, 0, 0, 2]);
    expect(bytes.slice(4, 12)).toEqual([0, 0, 0, 2, 0, 0x20, 0, 0]);
    expect(String.fromCharCode(...bytes.slice(12, 17))).toBe('etc/a');
    expect(bytes.slice(68, 76)).toEqual([0, 0, 0, 1, 0, 0x21, 0, 0]);
    expect(item(0x20, 2)).toEqual([5, 6]);
    expect(item(0x21, 1)).toEqual([7]);
  });

  it('goes on from where it was saved', () => {
    item(0x00, 2);
    const saved = structuredClone(device.save());
    item(0x05, 2);
    device.restore(saved);
    expect(bus.read(0x511, 1)).toBe(0x4d);
  });
});
