import { beforeEach, describe, expect, it } from 'vitest';
import { PicPair } from '../../src/platform/i8259.ts';

let pair: PicPair;
let attentions: number;

/** Both controllers as PC firmware and Linux set them up: vectors 30H and 38H, normal EOI. */
function initialise(mode = 0x01) {
  for (const [pic, base, wiring] of [
    [pair.first, 0x30, 0x04],
    [pair.second, 0x38, 0x02],
  ] as const) {
    pic.write(0, 0x11);
    pic.write(1, base);
    pic.write(1, wiring);
    pic.write(1, mode);
  }
}

beforeEach(() => {
  attentions = 0;
  pair = new PicPair(() => {
    attentions += 1;
  });
  initialise();
});

const pulse = (irq: number) => {
  pair.setIrq(irq, true);
  pair.setIrq(irq, false);
};

describe('the i8259 pair', () => {
  it('gives the vector of a line of the first controller', () => {
    pair.setIrq(4, true);
    expect(pair.pendingVector()).toBe(0x34);
    expect(attentions).toBeGreaterThan(0);
    expect(pair.acknowledge()).toBe(0x34);
    expect(pair.pendingVector()).toBeUndefined();
  });

  it('gives the vector of a line of the second through line 2', () => {
    pair.setIrq(8, true);
    expect(pair.pendingVector()).toBe(0x38);
    expect(pair.acknowledge()).toBe(0x38);
    pair.first.write(0, 0x0b);
    pair.second.write(0, 0x0b);
    expect([pair.first.read(0), pair.second.read(0)]).toEqual([0x04, 0x01]); // in service
  });

  it('holds back what does not outrank the line in service, until its EOI', () => {
    pair.setIrq(3, true);
    pair.acknowledge();
    pair.setIrq(4, true);
    expect(pair.pendingVector()).toBeUndefined();
    pair.setIrq(1, true);
    expect(pair.acknowledge()).toBe(0x31);
    pair.first.write(0, 0x20);
    pair.first.write(0, 0x20);
    expect(pair.pendingVector()).toBe(0x34);
  });

  it('ranks lines 8 to 15 between 1 and 3', () => {
    pair.setIrq(3, true);
    pair.setIrq(15, true);
    expect(pair.acknowledge()).toBe(0x3f);
    pair.setIrq(1, true);
    expect(pair.acknowledge()).toBe(0x31);
  });

  it('serves a second line of the second controller once both have their EOI', () => {
    pair.setIrq(8, true);
    pair.setIrq(12, true);
    expect(pair.acknowledge()).toBe(0x38);
    expect(pair.pendingVector()).toBeUndefined();
    pair.second.write(0, 0x20);
    expect(pair.pendingVector()).toBeUndefined();
    pair.first.write(0, 0x20);
    expect(pair.acknowledge()).toBe(0x3c);
  });

  it('keeps the mask that Linux writes and reads back, and masks with it', () => {
    pair.first.write(1, 0xfb);
    expect(pair.first.read(1)).toBe(0xfb);
    pair.setIrq(4, true);
    expect(pair.pendingVector()).toBeUndefined();
    pair.first.write(1, 0xef);
    expect(pair.pendingVector()).toBe(0x34);
  });

  it('takes one interrupt an edge', () => {
    pair.setIrq(4, true);
    pair.acknowledge();
    pair.first.write(0, 0x20);
    pair.setIrq(4, true);
    expect(pair.pendingVector()).toBeUndefined();
    pair.setIrq(4, false);
    pair.setIrq(4, true);
    expect(pair.pendingVector()).toBe(0x34);
  });

  it('takes interrupts as long as a level-triggered line is asserted', () => {
    pair.edgeLevelControl.write(1, 0x08); // IRQ 11
    pair.setIrq(11, true);
    expect(pair.acknowledge()).toBe(0x3b);
    pair.second.write(0, 0x20);
    pair.first.write(0, 0x20);
    expect(pair.acknowledge()).toBe(0x3b);
  });

  it('has no level control for the timer, the keyboard, the cascade, the clock and the coprocessor', () => {
    pair.edgeLevelControl.write(0, 0xff);
    pair.edgeLevelControl.write(1, 0xff);
    expect([pair.edgeLevelControl.read(0), pair.edgeLevelControl.read(1)]).toEqual([0xf8, 0xde]);
  });

  it('answers line 7 when a request goes away before INTA, and has nothing in service', () => {
    pulse(4);
    expect(pair.pendingVector()).toBeUndefined();
    expect(pair.acknowledge()).toBe(0x37);
    pair.first.write(0, 0x0b);
    expect(pair.first.read(0)).toBe(0);
  });

  it('ends a named line with a specific EOI', () => {
    pair.setIrq(3, true);
    pair.acknowledge();
    pair.setIrq(1, true);
    pair.acknowledge();
    pair.first.write(0, 0x63);
    pair.first.write(0, 0x0b);
    expect(pair.first.read(0)).toBe(0x02);
  });

  it('ends interrupts by itself in automatic EOI mode', () => {
    initialise(0x03);
    pair.setIrq(4, true);
    pair.acknowledge();
    pair.setIrq(5, true);
    expect(pair.acknowledge()).toBe(0x35);
  });

  it('puts the ended line last with a rotating EOI', () => {
    pair.setIrq(3, true);
    pair.acknowledge();
    pair.first.write(0, 0xa0);
    pair.setIrq(3, false);
    pair.setIrq(3, true);
    pair.setIrq(7, true);
    expect(pair.acknowledge()).toBe(0x37);
  });

  it('reads requests unless told to read what is in service', () => {
    pair.setIrq(4, true);
    expect(pair.first.read(0)).toBe(0x10);
    pair.first.write(0, 0x0b);
    expect(pair.first.read(0)).toBe(0);
    pair.first.write(0, 0x0a);
    expect(pair.first.read(0)).toBe(0x10);
  });

  it('acknowledges by polling', () => {
    pair.setIrq(4, true);
    pair.first.write(0, 0x0c);
    expect(pair.first.read(0)).toBe(0x84);
    expect(pair.pendingVector()).toBeUndefined();
    pair.first.write(0, 0x0c);
    expect(pair.first.read(0)).toBe(0);
  });

  it('is restored in the middle of an initialisation', () => {
    pair.first.write(0, 0x11);
    pair.first.write(1, 0x50);
    const saved = structuredClone(pair.save());
    const other = new PicPair(() => {});
    other.restore(saved);
    expect(other.save()).toEqual(saved);
    other.first.write(1, 0x04);
    other.first.write(1, 0x01);
    other.setIrq(1, true);
    expect(other.acknowledge()).toBe(0x51);
  });
});
