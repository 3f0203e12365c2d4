import { describe, expect, it } from 'vitest';
import { acpiTables } from '../../src/platform/acpi.ts';

const ADDRESS = 0xf_0000;
const bytes = acpiTables({ apicIds: [0, 1, 2], address: ADDRESS, hpet: true });
const view = new DataView(bytes.buffer);

const text = (at: number, length: number) => String.fromCharCode(...bytes.slice(at, at + length));
const sum = (at: number, length: number) =>
  bytes.slice(at, at + length).reduce((a, b) => a + b, 0) & 0xff;
const pointer64 = (at: number) => Number(view.getBigUint64(at, true)) - ADDRESS;
const lengthOf = (at: number) => view.getUint32(at + 4, true);

const xsdt = pointer64(24);
const tables = Object.fromEntries(
  Array.from({ length: (lengthOf(xsdt) - 36) / 8 }, (_, i) => {
    const at = pointer64(xsdt + 36 + 8 * i);
    return [text(at, 4), at];
  }),
);

describe('the ACPI tables', () => {
  it('begin with an RSDP of revision 2 whose two sums are 0', () => {
    expect(text(0, 8)).toBe('RSD PTR ');
    expect(bytes[15]).toBe(2);
    expect([sum(0, 20), sum(0, 36)]).toEqual([0, 0]);
  });

  it('are listed by the XSDT and the RSDT alike', () => {
    expect(Object.keys(tables)).toEqual(['FACP', 'APIC', 'HPET']);
    const rsdt = view.getUint32(16, true) - ADDRESS;
    expect(text(rsdt, 4)).toBe('RSDT');
    const listed = Array.from(
      { length: 3 },
      (_, i) => view.getUint32(rsdt + 36 + 4 * i, true) - ADDRESS,
    );
    expect(listed).toEqual(Object.values(tables));
  });

  it('each sum to 0', () => {
    const dsdt = pointer64(tables['FACP']! + 140);
    for (const at of [xsdt, dsdt, ...Object.values(tables)]) expect(sum(at, lengthOf(at))).toBe(0);
  });

  it('fit the firmware area', () => expect(bytes.length).toBeLessThan(0x1_0000));

  it('have a FADT with the PM timer, power control and the reset register', () => {
    const fadt = tables['FACP']!;
    expect(lengthOf(fadt)).toBe(244);
    expect(view.getUint32(fadt + 56, true)).toBe(0x600);
    expect(view.getUint32(fadt + 64, true)).toBe(0x604);
    expect(view.getUint32(fadt + 76, true)).toBe(0x608);
    expect([bytes[fadt + 88], bytes[fadt + 89], bytes[fadt + 91]]).toEqual([4, 2, 4]);
    expect(view.getUint32(fadt + 112, true) & 0x400).toBe(0x400);
    expect(view.getBigUint64(fadt + 116 + 4, true)).toBe(0xcf9n);
    expect(bytes[fadt + 128]).toBe(6);
    expect(view.getBigUint64(fadt + 208 + 4, true)).toBe(0x608n);
  });

  it('have a FACS on a 64-byte boundary', () => {
    const facs = view.getUint32(tables['FACP']! + 36, true) - ADDRESS;
    expect(text(facs, 4)).toBe('FACS');
    expect(facs % 64).toBe(0);
  });

  it('have a MADT with a local APIC per processor, the I/O APIC, the overrides and the NMI', () => {
    const madt = tables['APIC']!;
    expect(view.getUint32(madt + 36, true)).toBe(0xfee0_0000);
    const entries: number[][] = [];
    for (let at = madt + 44; at < madt + lengthOf(madt); at += bytes[at + 1]!) {
      entries.push([...bytes.slice(at, at + bytes[at + 1]!)]);
    }
    expect(entries).toEqual([
      [0, 8, 0, 0, 1, 0, 0, 0],
      [0, 8, 1, 1, 1, 0, 0, 0],
      [0, 8, 2, 2, 1, 0, 0, 0],
      [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0],
      [4, 6, 0xff, 0, 0, 1],
    ]);
  });

  it('have a DSDT that says how to switch off', () => {
    const dsdt = pointer64(tables['FACP']! + 140);
    // Name (\_S5, Package (4) {0, 0, 0, 0})
    const aml = [0x08, 0x5c, 0x5f, 0x53, 0x35, 0x5f, 0x12, 0x08, 0x04, 0x0a, 0, 0x0a, 0, 0, 0];
    expect([...bytes.slice(dsdt + 36, dsdt + lengthOf(dsdt))]).toEqual(aml);
  });

  it('name the HPET only where there is one', () => {
    const hpet = tables['HPET']!;
    expect(lengthOf(hpet)).toBe(56);
    expect(view.getBigUint64(hpet + 44, true)).toBe(0xfed0_0000n);
    const without = acpiTables({ apicIds: [0], address: ADDRESS, hpet: false });
    expect(new TextDecoder('latin1').decode(without)).not.toContain('HPET');
  });
});
