import { beforeEach, describe, expect, it } from 'vitest';
import { MsrBus } from '../../src/msr/bus.ts';
import { defineMsrs } from '../../src/msr/definition.ts';

const rows = defineMsrs({
  IA32_KEPT: { address: 0x10, writable: 0xffn, reset: 0x5n, sdm: 'none' },
  IA32_BANK: { address: 0x20, count: 2, stride: 4, writable: 0xf0n, ignored: 0x1n, sdm: 'none' },
  IA32_CONSTANT: { address: 0x30, writable: 'none', reset: 0x77n, sdm: 'none' },
  IA32_ABSENT: { address: 0x40, count: 0, writable: 0n, sdm: 'none' },
});

describe('the MSR bus', () => {
  let bus: MsrBus;
  let written: [bigint, number][];

  beforeEach(() => {
    bus = new MsrBus();
    written = [];
    bus.attach(rows, {
      IA32_BANK: {
        read: (index) => BigInt(index + 1),
        write: (value, index) => {
          if (value === 0xf0n) return '#GP';
          written.push([value, index]);
          return undefined;
        },
      },
    });
  });

  it('keeps a register nobody keeps, from its reset value on', () => {
    expect(bus.rdmsr(0x10)).toBe(0x5n);
    expect(bus.wrmsr(0x10, 0xabn)).toBe('done');
    expect(bus.rdmsr(0x10)).toBe(0xabn);
    bus.reset();
    expect(bus.rdmsr(0x10)).toBe(0x5n);
  });

  it('faults on a bit outside the writable ones and keeps the old value', () => {
    expect(bus.wrmsr(0x10, 0x100n)).toBe('#GP');
    expect(bus.rdmsr(0x10)).toBe(0x5n);
  });

  it('drops ignored bits instead', () => {
    expect(bus.wrmsr(0x24, 0x31n)).toBe('done');
    expect(written).toEqual([[0x30n, 1]]);
  });

  it('lets the device that keeps a register refuse a value', () => {
    expect(bus.wrmsr(0x20, 0xf0n)).toBe('#GP');
    expect(written).toEqual([]);
  });

  it('answers unclaimed where no row is, and inside the gaps of a bank', () => {
    expect(bus.rdmsr(0x21)).toBe('unclaimed');
    expect(bus.wrmsr(0x40, 0n)).toBe('unclaimed');
  });

  it('never lets a read-only register be written, not even with its own value', () => {
    expect(bus.wrmsr(0x30, 0x77n)).toBe('#GP');
  });

  it('refuses two rows at one address', () => {
    expect(() =>
      bus.attach(defineMsrs({ OTHER: { address: 0x24, writable: 0n, sdm: '' } })),
    ).toThrow('OTHER and IA32_BANK1 both claim MSR 0x24');
  });

  it('knows the registers by name', () => {
    expect(bus.name(0x24)).toBe('IA32_BANK1 (0x24)');
    expect(bus.name(0x99)).toBe('0x99');
    expect([...bus.registers()].map(({ address }) => address)).toEqual([0x10, 0x20, 0x24, 0x30]);
  });
});
