import { beforeEach, describe, expect, it } from 'vitest';
import {
  attachDebugConsole,
  attachDebugExit,
  debugExitStatus,
} from '../../src/platform/debug-ports.ts';
import { PortBus } from '../../src/platform/port-bus.ts';

let bus: PortBus;
let log: string[];
beforeEach(() => {
  bus = new PortBus();
  log = [];
});

const bytes = (name: string, value: number) => ({
  read: (offset: number) => value + offset,
  write: (offset: number, byte: number) => void log.push(`${name}+${offset}=${byte.toString(16)}`),
});

describe('the port bus', () => {
  it.each([
    [1, 0xff],
    [2, 0xffff],
    [4, 0xffff_ffff],
  ] as const)('reads %i unclaimed bytes as all ones', (size, value) => {
    expect(bus.read(0x1234, size)).toBe(value);
  });

  it('drops writes to ports nobody claims', () => {
    expect(() => bus.write(0x80, 1, 0)).not.toThrow();
  });

  it('splits a wide access to a device of bytes, lowest port first', () => {
    bus.attachBytes(0x40, 4, bytes('pit', 0x10));
    expect(bus.read(0x40, 4)).toBe(0x1312_1110);
    bus.write(0x41, 2, 0xabcd);
    expect(log).toEqual(['pit+1=cd', 'pit+2=ab']);
  });

  it('splits an access across two devices and the gap between them', () => {
    bus.attachBytes(0x60, 1, bytes('a', 0x11));
    bus.attachBytes(0x62, 1, bytes('b', 0x22));
    expect(bus.read(0x60, 4)).toBe(0xff22_ff11);
    bus.write(0x60, 4, 0x0403_0201);
    expect(log).toEqual(['a+0=1', 'b+0=3']);
  });

  it('hands a device the size it was accessed with', () => {
    bus.attach(0x510, 2, {
      read: (_, size) => size,
      write: (_, size, value) => void log.push(`${size}:${value}`),
    });
    bus.write(0x510, 2, 0x1_0019);
    expect(log).toEqual(['2:25']);
    expect(bus.read(0x510, 1)).toBe(1);
  });

  it('refuses two devices on one port', () => {
    bus.attachBytes(0x3f8, 8, bytes('com1', 0));
    expect(() => bus.attachBytes(0x3ff, 1, bytes('other', 0))).toThrow('0x3ff');
  });
});

describe('the debug ports', () => {
  it.each([
    [0, 1],
    [1, 3],
    [38, 77],
    [63, 127],
  ])('debug exit %i is process status %i', (value, status) => {
    const exits: number[] = [];
    attachDebugExit(bus, (v) => exits.push(v));
    bus.write(0xf4, 4, value);
    expect(exits).toEqual([value]);
    expect(debugExitStatus(value)).toBe(status);
  });

  it('the console shows itself by reading E9H and outputs what is written', () => {
    const out: number[] = [];
    attachDebugConsole(bus, (byte) => out.push(byte));
    expect(bus.read(0xe9, 1)).toBe(0xe9);
    bus.write(0xe9, 1, 0x41);
    expect(out).toEqual([0x41]);
  });
});
