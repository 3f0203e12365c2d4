import { describe, expect, it } from 'vitest';
import {
  SAPPHIRE_RAPIDS_VMX,
  SAPPHIRE_RAPIDS_WHOLE_VMX,
  SKYLAKE_SERVER_VMX,
} from '../../src/msr/vmx.ts';
import { FIELDS, fieldsOf } from '../../src/vmx/fields.ts';
import { Processor } from './processor.ts';

const WIDTH_CODE = { 16: 0, 64: 1, 32: 2, natural: 3 } as const;
const TYPE_CODE = { control: 0, information: 1, guest: 2, host: 3 } as const;
const WIDTH_MASK = { 16: 0xffffn, 32: 0xffff_ffffn, 64: 2n ** 64n - 1n, natural: 2n ** 64n - 1n };

/** A few encodings that every hypervisor knows by heart. */
// biome-ignore format: a table
const KNOWN = [
  ['GUEST_CS_SELECTOR', 0x0802],  ['MSR_BITMAP_ADDRESS', 0x2004],  ['TSC_OFFSET', 0x2010],  ['EPT_POINTER', 0x201a],
  ['GUEST_PHYSICAL_ADDRESS', 0x2400],  ['VMCS_LINK_POINTER', 0x2800],  ['GUEST_IA32_PERF_GLOBAL_CTRL', 0x2808],
  ['HOST_IA32_PERF_GLOBAL_CTRL', 0x2c04],  ['VM_EXIT_CONTROLS', 0x400c],  ['VM_ENTRY_CONTROLS', 0x4012],
  ['VM_ENTRY_INTERRUPTION_INFORMATION', 0x4016],  ['SECONDARY_CONTROLS', 0x401e],  ['EXIT_REASON', 0x4402],
  ['VMX_PREEMPTION_TIMER_VALUE', 0x482e],  ['EXIT_QUALIFICATION', 0x6400],  ['GUEST_RIP', 0x681e],  ['HOST_RIP', 0x6c16],
] as const;

describe('the fields of a VMCS', () => {
  it.each(Object.values(FIELDS))(
    '$name ($encoding): width, type and index make the encoding',
    (field) => {
      const index = (field.encoding >> 1) & 0x1ff;
      expect(field.encoding).toBe(
        (WIDTH_CODE[field.width] << 13) | (TYPE_CODE[field.type] << 10) | (index << 1),
      );
    },
  );

  it.each(KNOWN)('%s is %i', (name, encoding) => {
    expect(FIELDS[name].encoding).toBe(encoding);
  });

  it('have one encoding and one slot each', () => {
    const all = Object.values(FIELDS);
    expect(new Set(all.map(({ encoding }) => encoding)).size).toBe(all.length);
    expect(new Set(all.map(({ slot }) => slot)).size).toBe(all.length);
  });

  it.each([...fieldsOf(SAPPHIRE_RAPIDS_VMX).values()])(
    '$name holds the bits of its width and no others, in both halves',
    ({ encoding, width }) => {
      const { vmx } = new Processor().enterable();
      const pattern = 0xfedc_ba98_7654_3210n;
      expect(vmx.vmwrite(encoding, pattern)).toBe('VMsucceed');
      expect(vmx.vmread(encoding)).toBe(pattern & WIDTH_MASK[width]);
      const high = encoding | 1;
      if (width !== 64) {
        expect(vmx.vmwrite(high, 1n)).toEqual({ VMfailValid: 12 });
        expect(vmx.readField(BigInt(high))).toEqual({ VMfailValid: 12 });
        return;
      }
      expect(vmx.vmread(high)).toBe(0xfedc_ba98n);
      expect(vmx.vmwrite(high, 0xffff_ffff_1122_3344n)).toBe('VMsucceed');
      expect(vmx.vmread(encoding)).toBe(0x1122_3344_7654_3210n);
    },
  );

  it('exist only where their control may be set', () => {
    expect(fieldsOf(SKYLAKE_SERVER_VMX).has(0x2808)).toBe(true);
    expect(fieldsOf({ ...SKYLAKE_SERVER_VMX, entry: 0 }).has(0x2808)).toBe(false);
    expect(fieldsOf(SAPPHIRE_RAPIDS_VMX).has(0x2016)).toBe(true); // posted interrupts
    expect(fieldsOf({ ...SAPPHIRE_RAPIDS_VMX, pin: 0 }).has(0x2016)).toBe(false);
    expect(fieldsOf(SAPPHIRE_RAPIDS_VMX).has(0x202a)).toBe(false); // #VE
    expect(fieldsOf(SAPPHIRE_RAPIDS_VMX).has(0x2816)).toBe(false); // IA32_LBR_CTL
    expect(fieldsOf(SAPPHIRE_RAPIDS_WHOLE_VMX).has(0x2816)).toBe(true);
  });

  it('that are read-only refuse VMWRITE with error 13 unless IA32_VMX_MISC[29] is 1', () => {
    const { vmx } = new Processor({ ...SAPPHIRE_RAPIDS_VMX, misc: 0x4004_01e5n }).enterable();
    expect(vmx.vmwrite(0x4402, 1n)).toEqual({ VMfailValid: 13 });
    expect(vmx.vmwrite(0x6400, 1n)).toEqual({ VMfailValid: 13 });
    expect(vmx.vmwrite(0x681e, 1n)).toBe('VMsucceed');
  });

  it('survive VMCLEAR in the region, and nothing of another VMCS leaks in', () => {
    const cpu = new Processor().enterable();
    cpu.vmx.vmwrite(0x681e, 0x1234n);
    cpu.vmx.vmclear(0x1_1000n);
    expect(cpu.vmx.readField(0x681en)).toBe('VMfailInvalid');
    cpu.vmx.vmclear(0x1_2000n);
    cpu.vmx.vmptrld(0x1_2000n);
    expect(cpu.vmx.vmread(0x681e)).toBe(0n);
    cpu.vmx.vmptrld(0x1_1000n);
    expect(cpu.vmx.vmread(0x681e)).toBe(0x1234n);
  });

  it('of two active VMCSs are kept apart while only one is current', () => {
    const { vmx } = new Processor().enterable();
    vmx.vmwrite(0x681e, 0x1111n);
    vmx.vmptrld(0x1_2000n);
    vmx.vmwrite(0x681e, 0x2222n);
    vmx.vmptrld(0x1_1000n);
    expect(vmx.vmread(0x681e)).toBe(0x1111n);
  });
});
