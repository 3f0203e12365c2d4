import { beforeEach, describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state/layout.ts';
import { VmExit } from '../../src/cpu/vm-exit.ts';
import { SAPPHIRE_RAPIDS_WHOLE_VMX } from '../../src/msr/vmx.ts';
import { type Fields, OTHER_VMCS, Processor, VMCS, VMXON_REGION } from './processor.ts';

describe('VMX instructions with their operands read', () => {
  let cpu: Processor;
  beforeEach(() => {
    cpu = new Processor();
  });

  it('VMXON wants an aligned region with the revision identifier', () => {
    expect(cpu.vmx.vmxon(0x1_0001n)).toBe('VMfailInvalid');
    expect(cpu.vmx.vmxon(1n << 46n)).toBe('VMfailInvalid');
    expect(cpu.vmx.vmxon(0x2_0000n)).toBe('VMfailInvalid');
    expect(cpu.vmx.vmxon(VMXON_REGION)).toBe('VMsucceed');
    expect(cpu.vmx.operation).toBe(true);
    expect(cpu.vmx.vmxon(VMXON_REGION)).toBe('VMfailInvalid');
  });

  it('VMXON in root operation is VMfailValid 15 once there is a current VMCS', () => {
    cpu.enterable();
    expect(cpu.vmx.vmxon(VMXON_REGION)).toEqual({ VMfailValid: 15 });
    expect(cpu.get('VM_INSTRUCTION_ERROR')).toBe(15n);
  });

  it('VMCLEAR and VMPTRLD refuse bad addresses, the VMXON pointer and a wrong revision', () => {
    cpu.enterable();
    expect(cpu.vmx.vmclear(0x123n)).toEqual({ VMfailValid: 2 });
    expect(cpu.vmx.vmclear(VMXON_REGION)).toEqual({ VMfailValid: 3 });
    expect(cpu.vmx.vmptrld(1n << 52n)).toEqual({ VMfailValid: 9 });
    expect(cpu.vmx.vmptrld(VMXON_REGION)).toEqual({ VMfailValid: 10 });
    expect(cpu.vmx.vmptrld(0x3_0000n)).toEqual({ VMfailValid: 11 });
    cpu.memory.write(Number(OTHER_VMCS), 4, 0x8000_0013n);
    expect(cpu.vmx.vmptrld(OTHER_VMCS)).toEqual({ VMfailValid: 11 });
    expect(cpu.vmx.vmptrst()).toBe(VMCS);
  });

  it('without a current VMCS everything that needs one is VMfailInvalid', () => {
    cpu.vmx.vmxon(VMXON_REGION);
    expect(cpu.vmx.vmptrst()).toBe(0xffff_ffff_ffff_ffffn);
    expect(cpu.vmx.readField(0x6800n)).toBe('VMfailInvalid');
    expect(cpu.vmx.vmwrite(0x6800, 0n)).toBe('VMfailInvalid');
    expect(cpu.vmx.vmlaunch()).toBe('VMfailInvalid');
    expect(cpu.vmx.vmclear(0x123n)).toBe('VMfailInvalid');
  });

  it('VMREAD and VMWRITE know widths, halves and fields that do not exist', () => {
    cpu.enterable();
    cpu.vmx.vmwrite(0x0802, 0x1_2345n); // guest CS selector, 16 bits
    expect(cpu.vmx.vmread(0x0802)).toBe(0x2345n);
    cpu.vmx.vmwrite(0x2802, 0x1111_1111_2222_2222n);
    cpu.vmx.vmwrite(0x2803, 0x3333_3333n);
    expect(cpu.vmx.vmread(0x2802)).toBe(0x3333_3333_2222_2222n);
    expect(cpu.vmx.vmread(0x2803)).toBe(0x3333_3333n);
    expect(cpu.vmx.readField(0x0803n)).toEqual({ VMfailValid: 12 });
    expect(cpu.vmx.readField(0x1_0000_0802n)).toEqual({ VMfailValid: 12 });
    expect(cpu.vmx.vmwrite(0x202a, 0n)).toEqual({ VMfailValid: 12 }); // #VE information: no #VE
  });

  it('VMLAUNCH needs a clear VMCS, VMRESUME a launched one', () => {
    cpu.enterable();
    expect(cpu.vmx.vmresume()).toEqual({ VMfailValid: 5 });
    expect(cpu.vmx.vmlaunch()).toBe('VMsucceed');
    cpu.vmx.vmExit(new VmExit(10), undefined);
    expect(cpu.vmx.vmlaunch()).toEqual({ VMfailValid: 4 });
    expect(cpu.vmx.vmresume()).toBe('VMsucceed');
    cpu.vmx.vmExit(new VmExit(10), undefined);
    cpu.vmx.vmclear(VMCS);
    cpu.vmx.vmptrld(VMCS);
    expect(cpu.vmx.vmlaunch()).toBe('VMsucceed');
  });

  it('fails entry after MOV SS with error 26', () => {
    cpu.enterable();
    cpu.state.set32(STATE.INTERRUPTIBILITY, 2);
    expect(cpu.vmx.vmlaunch()).toEqual({ VMfailValid: 26 });
  });
});

describe('what invalidates translations', () => {
  const cpu = new Processor().enterable();
  const EPTP = 0x1_a01en;

  // biome-ignore format: a table
  it.each([
    ['of one EPTP',                       1, EPTP,                'VMsucceed'],
    ['of all',                            2, 0n,                  'VMsucceed'],
    ['of type 0',                         0, EPTP,                { VMfailValid: 28 }],
    ['of type 3',                         3, EPTP,                { VMfailValid: 28 }],
    ['of an EPTP of a walk of 5 levels',  1, EPTP | 0x38n,        { VMfailValid: 28 }],
    ['of an EPTP of a reserved memory type', 1, EPTP & ~7n | 1n,  { VMfailValid: 28 }],
    ['of an EPTP with a reserved bit',    1, EPTP | 0x800n,       { VMfailValid: 28 }],
    ['of an EPTP beyond physical memory', 1, EPTP | (1n << 50n),  { VMfailValid: 28 }],
  ])('INVEPT %s', (_what, type, eptp, outcome) => {
    expect(cpu.vmx.invept(type, eptp)).toEqual(outcome);
  });

  // biome-ignore format: a table
  it.each([
    ['of an address',                       0, 1n,         0x1000n,                'VMsucceed'],
    ['of a VPID',                           1, 0xffffn,    0n,                     'VMsucceed'],
    ['of all VPIDs',                        2, 0n,         0n,                     'VMsucceed'],
    ['of a VPID but global translations',   3, 1n,         0n,                     'VMsucceed'],
    ['of type 4',                           4, 1n,         0n,                     { VMfailValid: 28 }],
    ['of an address of VPID 0',             0, 0n,         0n,                     { VMfailValid: 28 }],
    ['of VPID 0',                           1, 0n,         0n,                     { VMfailValid: 28 }],
    ['of VPID 0 but global translations',   3, 0n,         0n,                     { VMfailValid: 28 }],
    ['with a reserved bit of the descriptor', 1, 0x1_0001n, 0n,                    { VMfailValid: 28 }],
    ['of an address that is not canonical', 0, 1n,         0x8000_0000_0000n,      { VMfailValid: 28 }],
  ])('INVVPID %s', (_what, type, vpid, linear, outcome) => {
    expect(cpu.vmx.invvpid(type, vpid, linear)).toEqual(outcome);
  });
});

describe('a VMCS in memory', () => {
  it('holds after VMCLEAR what was written, for VMPTRLD to find, and is clear', () => {
    const cpu = new Processor().enterable({ GUEST_RIP: 0x1234_5678n });
    expect(cpu.vmx.vmlaunch()).toBe('VMsucceed');
    cpu.vmx.vmExit(new VmExit(10), undefined);
    expect(cpu.vmx.vmclear(VMCS)).toBe('VMsucceed');
    expect(cpu.vmx.vmptrst()).toBe(0xffff_ffff_ffff_ffffn);
    const region = Array.from({ length: 512 }, (_, i) => cpu.memory.read(Number(VMCS) + i * 8, 8));
    cpu.vmx.vmptrld(OTHER_VMCS);
    cpu.vmx.vmclear(OTHER_VMCS);
    // Copied elsewhere, as a hypervisor migrates one.
    for (const [i, word] of region.entries()) cpu.memory.write(Number(OTHER_VMCS) + i * 8, 8, word);
    expect(cpu.vmx.vmptrld(OTHER_VMCS)).toBe('VMsucceed');
    expect(cpu.get('GUEST_RIP')).toBe(0x1234_5678n);
    expect(cpu.vmx.vmresume()).toEqual({ VMfailValid: 5 });
    expect(cpu.vmx.vmlaunch()).toBe('VMsucceed');
  });

  it('of a wrong revision, with the shadow-VMCS indicator or without, is not loaded', () => {
    const cpu = new Processor().enterable();
    for (const first of [0x13n, 0x8000_0013n]) {
      cpu.memory.write(Number(OTHER_VMCS), 4, first);
      expect(cpu.vmx.vmptrld(OTHER_VMCS)).toEqual({ VMfailValid: 11 });
    }
  });
});

describe('VMX aborts', () => {
  /** A 32-bit host and a 32-bit guest. */
  const NARROW: Fields = {
    VM_EXIT_CONTROLS: 0x3_6dfb,
    VM_ENTRY_CONTROLS: 0x11fb,
    GUEST_CS_ACCESS_RIGHTS: 0xc09b,
    GUEST_CR4: 0x2000n,
    HOST_FS_BASE: 0n,
    HOST_GS_BASE: 0n,
    GUEST_CR0: 0x8000_0031n,
  };
  const narrow = (changes: Fields = {}) => {
    const cpu = new Processor().enterable({ ...NARROW, ...changes });
    cpu.state.set(STATE.EFER, 0n);
    cpu.state.set(STATE.CR4, 0x2000n);
    expect(cpu.vmx.vmlaunch()).toBe('VMsucceed');
    expect(cpu.vmx.lastFailure).toBeUndefined();
    return cpu;
  };

  it('with indicator 6: a guest that has entered IA-32e mode exits to a 32-bit host', () => {
    const cpu = narrow({ HOST_CR4: 0x2000n });
    cpu.state.set(STATE.EFER, 0x500n);
    cpu.vmx.vmExit(new VmExit(10), undefined);
    expect(cpu.vmx.aborted).toBe(6);
    expect(cpu.memory.read(Number(VMCS) + 4, 4)).toBe(6n);
    expect(cpu.state.get32(STATE.ACTIVITY)).toBe(2);
  });

  it('with indicator 2: the PDPTEs of a host with PAE paging have reserved bits set', () => {
    const cpu = narrow({ HOST_CR4: 0x2020n, HOST_CR3: 0x2000n });
    cpu.memory.write(0x2000, 8, 0x1ffn);
    cpu.vmx.vmExit(new VmExit(10), undefined);
    expect(cpu.vmx.aborted).toBe(2);
  });
});

describe('VM entry and VM exit', () => {
  it('loads the guest, and at the exit saves it and loads the host', () => {
    const cpu = new Processor().enterable();
    expect(cpu.vmx.vmlaunch()).toBe('VMsucceed');
    expect(cpu.vmx.lastFailure).toBeUndefined();
    expect(cpu.vmx.nonRoot).toBeDefined();
    expect(cpu.state.rip).toBe(0xe000n);
    expect(cpu.state.get(STATE.CR3)).toBe(0x3000n);
    expect(cpu.core.rflags).toBe(0x202n);
    expect(cpu.state.segment('TR')).toEqual({
      selector: 0x18,
      base: 0n,
      limit: 0x67,
      rights: 0x8b,
    });

    cpu.state.rip = 0xe123n;
    cpu.state.gpr[4] = 0xcff8n;
    const next = cpu.vmx.vmExit(new VmExit(10, { instructionLength: 2 }), undefined);
    expect(next).toBe('leave');
    expect(cpu.vmx.nonRoot).toBeUndefined();
    expect(cpu.get('EXIT_REASON')).toBe(10n);
    expect(cpu.get('VM_EXIT_INSTRUCTION_LENGTH')).toBe(2n);
    expect(cpu.get('GUEST_RIP')).toBe(0xe123n);
    expect(cpu.get('GUEST_RSP')).toBe(0xcff8n);
    expect(cpu.state.rip).toBe(0xa000n);
    expect(cpu.state.gpr[4]).toBe(0x9000n);
    expect(cpu.state.get(STATE.CR3)).toBe(0x2000n);
    expect(cpu.core.rflags).toBe(2n);
    expect(cpu.state.segment('CS')).toEqual({
      selector: 8,
      base: 0n,
      limit: 0xffff_ffff,
      rights: 0xa09b,
    });
    expect(cpu.log).toEqual([
      'modeChanging',
      'modeChanged 0 false',
      'modeChanging',
      'modeChanged 0 false',
    ]);
  });

  it('loads IA32_PERF_GLOBAL_CTRL both ways and saves the guest value', () => {
    const cpu = new Processor().enterable({
      VM_EXIT_CONTROLS: 0x4003_7ffbn,
      VM_ENTRY_CONTROLS: 0x33fb,
      GUEST_IA32_PERF_GLOBAL_CTRL: 0x3n,
      HOST_IA32_PERF_GLOBAL_CTRL: 0xcn,
    });
    cpu.vmx.vmlaunch();
    expect(cpu.msr.rdmsr(0x38f)).toBe(3n);
    cpu.msr.wrmsr(0x38f, 0x7_0000_0003n);
    cpu.vmx.vmExit(new VmExit(12), undefined);
    expect(cpu.msr.rdmsr(0x38f)).toBe(0xcn);
    expect(cpu.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(0x7_0000_0003n);
  });

  it('leaves IA32_PERF_GLOBAL_CTRL alone without the controls', () => {
    const cpu = new Processor().enterable({
      GUEST_IA32_PERF_GLOBAL_CTRL: 3n,
      HOST_IA32_PERF_GLOBAL_CTRL: 4n,
    });
    cpu.msr.wrmsr(0x38f, 1n);
    cpu.vmx.vmlaunch();
    expect(cpu.msr.rdmsr(0x38f)).toBe(1n);
    cpu.msr.wrmsr(0x38f, 2n);
    cpu.vmx.vmExit(new VmExit(12), undefined);
    expect(cpu.msr.rdmsr(0x38f)).toBe(2n);
    expect(cpu.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(3n);
  });

  it('loads IA32_LBR_CTL on entry, saves it always and clears it on exit, where the processor can', () => {
    const cpu = new Processor(SAPPHIRE_RAPIDS_WHOLE_VMX).enterable({
      VM_EXIT_CONTROLS: 0x0403_6ffbn,
      VM_ENTRY_CONTROLS: 0x20_13fb,
      GUEST_IA32_LBR_CTL: 3n,
    });
    cpu.vmx.vmlaunch();
    expect(cpu.msr.rdmsr(0x14ce)).toBe(3n);
    cpu.msr.wrmsr(0x14ce, 7n);
    cpu.vmx.vmExit(new VmExit(12), undefined);
    expect(cpu.get('GUEST_IA32_LBR_CTL')).toBe(7n);
    expect(cpu.msr.rdmsr(0x14ce)).toBe(0n);
    cpu.set({ VM_EXIT_CONTROLS: 0x0003_6ffbn });
    cpu.vmx.vmresume();
    cpu.msr.wrmsr(0x14ce, 1n);
    cpu.vmx.vmExit(new VmExit(12), undefined);
    expect(cpu.msr.rdmsr(0x14ce)).toBe(1n);
  });
});
