import { beforeEach, describe, expect, it } from 'vitest';
import { SAPPHIRE_RAPIDS_VMX, SKYLAKE_SERVER_VMX } from '../../src/msr/vmx.ts';
import { FIELDS, fieldsOf } from '../../src/vmx/fields.ts';
import { Processor } from '../vmx/processor.ts';

const low = (value: unknown) => (value as bigint) & 0xffff_ffffn;
const high = (value: unknown) => (value as bigint) >> 32n;

describe('the VMX capability MSRs', () => {
  let cpu: Processor;
  beforeEach(() => {
    cpu = new Processor();
  });

  it('IA32_VMX_BASIC: revision, 4096 bytes, WB, INS/OUTS information, TRUE controls, any error code', () => {
    expect(cpu.msr.rdmsr(0x480)).toBe(0x01d8_1000_0000_0012n);
    expect(new Processor(SKYLAKE_SERVER_VMX).msr.rdmsr(0x480)).toBe(0x00d8_1000_0000_0004n);
  });

  // biome-ignore format: a table
  it.each([
    ['IA32_VMX_PINBASED_CTLS',       0x481, 0x0000_0016n],
    ['IA32_VMX_PROCBASED_CTLS',      0x482, 0x0401_e172n],
    ['IA32_VMX_EXIT_CTLS',           0x483, 0x0003_6dffn],
    ['IA32_VMX_ENTRY_CTLS',          0x484, 0x0000_11ffn],
    ['IA32_VMX_PROCBASED_CTLS2',     0x48b, 0n],
    ['IA32_VMX_TRUE_PINBASED_CTLS',  0x48d, 0x0000_0016n],
    ['IA32_VMX_TRUE_PROCBASED_CTLS', 0x48e, 0x0400_6172n],
    ['IA32_VMX_TRUE_EXIT_CTLS',      0x48f, 0x0003_6dfbn],
    ['IA32_VMX_TRUE_ENTRY_CTLS',     0x490, 0x0000_11fbn],
  ])('%s: what must be 1 may be 1', (_name, address, must) => {
    const value = cpu.msr.rdmsr(address);
    expect(low(value)).toBe(must);
    expect(high(value) & must).toBe(must);
  });

  it('the ordinary and the TRUE words allow the same bits', () => {
    for (const [word, exact] of [
      [0x481, 0x48d],
      [0x482, 0x48e],
      [0x483, 0x48f],
      [0x484, 0x490],
    ] as const) {
      expect(high(cpu.msr.rdmsr(word))).toBe(high(cpu.msr.rdmsr(exact)));
    }
  });

  // biome-ignore format: a table
  it.each([
    ['posted interrupts',                0x48d,  7, true],
    ['virtual NMIs',                     0x48d,  5, true],
    ['the preemption timer',             0x48d,  6, true],
    ['tertiary controls',                0x48e, 17, false],
    ['MSR bitmaps',                      0x48e, 28, true],
    ['RDPMC exiting',                    0x48e, 11, true],
    ['APIC-access virtualization',       0x48b,  0, true],
    ['EPT',                              0x48b,  1, true],
    ['x2APIC-mode virtualization',       0x48b,  4, true],
    ['APIC-register virtualization',     0x48b,  8, true],
    ['virtual-interrupt delivery',       0x48b,  9, true],
    ['PAUSE-loop exiting',               0x48b, 10, true],
    ['VPID',                             0x48b,  5, true],
    ['unrestricted guest',               0x48b,  7, true],
    ['VM functions',                     0x48b, 13, true],
    ['VMCS shadowing',                   0x48b, 14, true],
    ['PML',                              0x48b, 17, true],
    ['#VE',                              0x48b, 18, false],
    ['XSAVES and XRSTORS',               0x48b, 20, true],
    ['TSC scaling',                      0x48b, 25, true],
    ['loading IA32_PERF_GLOBAL_CTRL on exit', 0x48f, 12, true],
    ['saving IA32_PERF_GLOBAL_CTRL',     0x48f, 30, true],
    ['loading IA32_PERF_GLOBAL_CTRL on entry', 0x490, 13, true],
  ])('%s: bit of MSR %i is as modelled', (_name, address, bit, present) => {
    expect((high(cpu.msr.rdmsr(address)) >> BigInt(bit)) & 1n).toBe(present ? 1n : 0n);
  });

  // biome-ignore format: a table
  it.each([
    // KVM_REQUIRED_VMX_… of arch/x86/kvm/vmx/vmx.h
    ['pin-based: external interrupts, NMIs',       0x48d, [0, 3]],
    ['primary: interrupt window, TSC offset, HLT, INVLPG, MWAIT, RDPMC, CR3, CR8, MOV DR, I/O, MONITOR', 0x48e, [2, 3, 7, 9, 10, 11, 15, 16, 19, 20, 23, 24, 29]],
    ['exit: save debug controls, 64-bit host, acknowledge', 0x48f, [2, 9, 15]],
    ['entry: load debug controls, 64-bit guest',   0x490, [2, 9]],
    // Each load on entry has its load on exit: vmcs_entry_exit_pairs.
    ['entry: GLOBAL_CTRL, PAT, EFER',              0x490, [13, 14, 15]],
    ['exit: GLOBAL_CTRL, PAT, EFER',               0x48f, [12, 19, 21]],
  ])("has what Linux's KVM cannot do without: %s", (_name, address, bits) => {
    const wanted = bits.reduce((word, bit) => word | (1n << BigInt(bit)), 0n);
    for (const shape of [SAPPHIRE_RAPIDS_VMX, SKYLAKE_SERVER_VMX]) {
      expect(high(new Processor(shape).msr.rdmsr(address)) & wanted).toBe(wanted);
    }
  });

  it('a Skylake-server-like part cannot save IA32_PERF_GLOBAL_CTRL', () => {
    const { msr } = new Processor(SKYLAKE_SERVER_VMX);
    expect((high(msr.rdmsr(0x48f)) >> 30n) & 1n).toBe(0n);
    expect((high(msr.rdmsr(0x48f)) >> 12n) & 1n).toBe(1n);
  });

  it('IA32_VMX_MISC: timer rate 5, activity states, four CR3 targets, lists of 512', () => {
    expect(cpu.msr.rdmsr(0x485)).toBe(0x6004_01e5n);
  });

  it('the fixed bits of CR0 and CR4', () => {
    expect(cpu.msr.rdmsr(0x486)).toBe(0x8000_0021n);
    expect(cpu.msr.rdmsr(0x487)).toBe(0xffff_ffffn);
    expect(cpu.msr.rdmsr(0x488)).toBe(0x2000n);
    expect(cpu.msr.rdmsr(0x489)).toBe(0x37_67ffn);
  });

  it('IA32_VMX_VMCS_ENUM has the highest index of any field', () => {
    const highest = (shape: typeof SAPPHIRE_RAPIDS_VMX) =>
      Math.max(...[...fieldsOf(shape).keys()].map((encoding) => encoding & 0x3fe));
    expect(cpu.msr.rdmsr(0x48a)).toBe(BigInt(highest(SAPPHIRE_RAPIDS_VMX)));
    const unscaled = {
      ...SAPPHIRE_RAPIDS_VMX,
      secondary: SAPPHIRE_RAPIDS_VMX.secondary & ~(1 << 25),
    };
    expect(new Processor(unscaled).msr.rdmsr(0x48a)).toBe(BigInt(highest(unscaled)));
    expect(FIELDS.VMX_PREEMPTION_TIMER_VALUE.encoding & 0x3fe).toBe(0x2e);
  });

  it('IA32_VMX_EPT_VPID_CAP and IA32_VMX_VMFUNC', () => {
    expect(cpu.msr.rdmsr(0x48c)).toBe(0x0f01_0633_4141n);
    expect(cpu.msr.rdmsr(0x491)).toBe(1n);
  });

  it('are read-only; the tertiary and secondary exit words do not exist', () => {
    for (let address = 0x480; address <= 0x491; address++) {
      expect(cpu.msr.wrmsr(address, 0n)).toBe('#GP');
    }
    expect(cpu.msr.rdmsr(0x492)).toBe('unclaimed');
    expect(cpu.msr.rdmsr(0x493)).toBe('unclaimed');
  });

  it('IA32_FEATURE_CONTROL is written until it is locked', () => {
    expect(cpu.msr.rdmsr(0x3a)).toBe(0n);
    expect(cpu.msr.wrmsr(0x3a, 4n)).toBe('done');
    expect(cpu.msr.wrmsr(0x3a, 2n)).toBe('#GP'); // VMX in SMX: no SMX here
    expect(cpu.msr.wrmsr(0x3a, 5n)).toBe('done');
    expect(cpu.msr.wrmsr(0x3a, 5n)).toBe('#GP');
    expect(cpu.msr.rdmsr(0x3a)).toBe(5n);
  });
});
