import { beforeEach, describe, expect, it } from 'vitest';
import { IoApic } from '../../src/apic/io-apic.ts';
import type { ApicMessage } from '../../src/apic/message.ts';

let sent: ApicMessage[];
let ioapic: IoApic;
beforeEach(() => {
  sent = [];
  ioapic = new IoApic((message) => sent.push(message));
});

const select = (index: number) => ioapic.write(0x00, 4, BigInt(index));
const read = (index: number) => {
  select(index);
  return ioapic.read(0x10, 4);
};
const write = (index: number, value: bigint) => {
  select(index);
  ioapic.write(0x10, 4, value);
};

/** Programs the redirection entry of a pin. */
const route = (pin: number, low: bigint, destination = 0n) => {
  write(0x11 + 2 * pin, destination << 24n);
  write(0x10 + 2 * pin, low);
};

describe('the registers of the I/O APIC', () => {
  it('are 24 masked entries, version 20H', () => {
    expect(read(1)).toBe(0x17_0020n);
    for (let pin = 0; pin < 24; pin++) {
      expect(read(0x10 + 2 * pin)).toBe(0x1_0000n);
      expect(read(0x11 + 2 * pin)).toBe(0n);
    }
    expect(read(0x40)).toBe(0n);
  });

  it('keep an ID of four bits, seen again as the arbitration ID', () => {
    write(0, 0xff00_0000n);
    expect(read(0)).toBe(0x0f00_0000n);
    expect(read(2)).toBe(0x0f00_0000n);
  });

  it('keep the writable bits of an entry', () => {
    route(3, 0xffff_ffffn, 0xffn);
    expect(read(0x16)).toBe(0x1_afffn);
    expect(read(0x17)).toBe(0xff00_0000n);
  });
});

describe('an edge-triggered pin', () => {
  it('sends one message an edge', () => {
    route(4, 0x34n, 2n);
    ioapic.setPin(4, true);
    ioapic.setPin(4, true);
    expect(sent).toMatchObject([
      { vector: 0x34, mode: 0, level: false, destination: 2, logical: false },
    ]);
    ioapic.setPin(4, false);
    ioapic.setPin(4, true);
    expect(sent).toHaveLength(2);
  });

  it('loses an edge while masked', () => {
    route(4, 0x1_0034n);
    ioapic.setPin(4, true);
    route(4, 0x34n);
    expect(sent).toEqual([]);
  });

  it('sends to a logical destination by lowest priority', () => {
    route(4, 0x934n, 3n);
    ioapic.setPin(4, true);
    expect(sent).toMatchObject([{ mode: 1, logical: true, destination: 3 }]);
  });
});

describe('a level-triggered pin', () => {
  beforeEach(() => route(10, 0x8050n));

  it('sends once and again after EOI while it is asserted', () => {
    ioapic.setPin(10, true);
    expect(sent).toMatchObject([{ vector: 0x50, level: true }]);
    expect(read(0x24)).toBe(0xc050n); // remote IRR
    ioapic.endOfInterrupt(0x50);
    expect(sent).toHaveLength(2);
    ioapic.setPin(10, false);
    ioapic.endOfInterrupt(0x50);
    expect(sent).toHaveLength(2);
    expect(read(0x24)).toBe(0x8050n);
  });

  it('sends on unmasking when it is asserted', () => {
    route(10, 0x1_8050n);
    ioapic.setPin(10, true);
    expect(sent).toEqual([]);
    route(10, 0x8050n);
    expect(sent).toHaveLength(1);
  });

  it('is not told of the EOI of another vector', () => {
    ioapic.setPin(10, true);
    ioapic.endOfInterrupt(0x51);
    expect(sent).toHaveLength(1);
  });

  it('takes EOI by its own register too', () => {
    ioapic.setPin(10, true);
    ioapic.write(0x40, 4, 0x50n);
    expect(sent).toHaveLength(2);
  });
});

it('save and restore bring back entries and pins', () => {
  route(10, 0x8050n, 1n);
  ioapic.setPin(10, true);
  const saved = structuredClone(ioapic.save());
  const other = new IoApic((message) => sent.push(message));
  other.restore(saved);
  expect(other.save()).toEqual(saved);
  other.endOfInterrupt(0x50);
  expect(sent).toHaveLength(2);
});
