import { describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state/layout.ts';
import { CODE, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

const HALT: Fields = { PRIMARY_CONTROLS: 0x0400_61f2 };
const AREA = 0x3_0000;
const PMC0 = 0xc1;
const GLOBAL_CTRL = 0x38f;

/** A guest with one MSR area. */
function withArea(
  list: 'VM_ENTRY_MSR_LOAD' | 'VM_EXIT_MSR_STORE' | 'VM_EXIT_MSR_LOAD',
  entries: readonly (readonly [index: number, value: bigint, reserved?: bigint])[],
  count = entries.length,
  fields: Fields = HALT,
): Guest {
  const guest = new Guest({
    ...fields,
    [`${list}_ADDRESS`]: BigInt(AREA),
    [`${list}_COUNT`]: count,
  }).code('f4');
  for (const [i, [index, value, reserved = 0n]] of entries.entries()) {
    guest.memory.write(AREA + i * 16, 8, BigInt(index) | (reserved << 32n));
    guest.memory.write(AREA + i * 16 + 8, 8, value);
  }
  return guest;
}

/** Entries that no list loads. */
// biome-ignore format: a table
const BAD_LOADS: readonly (readonly [name: string, entry: readonly [number, bigint, bigint?]])[] = [
  ['a reserved bit',                  [PMC0, 1n, 1n]],
  ['IA32_FS_BASE',                    [0xc000_0100, 0n]],
  ['IA32_GS_BASE',                    [0xc000_0101, 0n]],
  ['an x2APIC register',              [0x808, 0n]],
  ['the last of the x2APIC registers', [0x8ff, 0n]],
  ['IA32_SMM_MONITOR_CTL',            [0x9b, 0n]],
  ['an MSR that does not exist',      [0x1234_5678, 0n]],
  ['a value that WRMSR would refuse', [GLOBAL_CTRL, 1n << 63n]],
  ['a read-only MSR',                 [0x480, 0n]],
];

describe('the VM-entry MSR-load area', () => {
  it('is loaded in order', () => {
    const guest = withArea('VM_ENTRY_MSR_LOAD', [
      [PMC0, 5n],
      [PMC0, 7n],
      [GLOBAL_CTRL, 0n],
    ]);
    expect(guest.exit().reason).toBe(12);
    expect(guest.processor.msrs.rdmsr(PMC0)).toBe(7n);
    expect(guest.processor.msrs.rdmsr(GLOBAL_CTRL)).toBe(0n);
  });

  it.each(BAD_LOADS)(
    'fails the entry with reason 34 and the number of the entry: %s',
    (_name, entry) => {
      const guest = withArea('VM_ENTRY_MSR_LOAD', [[PMC0, 5n], entry, [PMC0, 9n]]);
      const exit = guest.exit();
      expect(exit).toMatchObject({ reason: 0x8000_0022, qualification: 2n });
      expect(guest.processor.msrs.rdmsr(PMC0)).toBe(5n); // the entries before it stay loaded
      expect(guest.state.rip).toBe(0xa000n);
      expect(guest.vmx.lastFailure).toEqual({
        kind: 'MSR loading',
        rule: 'entry 2 of the VM-entry MSR-load area',
      });
    },
  );

  it('fails at entry 513 of a longer list, at entry 1 outside RAM, and never reads beyond its count', () => {
    const long = withArea(
      'VM_ENTRY_MSR_LOAD',
      Array.from({ length: 600 }, () => [PMC0, 1n] as const),
    );
    expect(long.exit()).toMatchObject({ reason: 0x8000_0022, qualification: 513n });
    const hole = new Guest({
      ...HALT,
      VM_ENTRY_MSR_LOAD_ADDRESS: 0x4000_0000n,
      VM_ENTRY_MSR_LOAD_COUNT: 1,
    });
    expect(hole.exit()).toMatchObject({ reason: 0x8000_0022, qualification: 1n });
    const junk = withArea(
      'VM_ENTRY_MSR_LOAD',
      [
        [PMC0, 1n],
        [0xffff_ffff, 0n, 7n],
      ],
      1,
    );
    expect(junk.exit().reason).toBe(12);
  });

  it('comes after the fields: it has the last word on IA32_PERF_GLOBAL_CTRL', () => {
    const guest = withArea('VM_ENTRY_MSR_LOAD', [[GLOBAL_CTRL, 2n]], 1, {
      ...HALT,
      VM_ENTRY_CONTROLS: 0x33fb,
      GUEST_IA32_PERF_GLOBAL_CTRL: 1n,
    });
    guest.exit();
    expect(guest.processor.msrs.rdmsr(GLOBAL_CTRL)).toBe(2n);
  });
});

describe('the VM-exit MSR-store area', () => {
  it('gets the values and keeps the indexes', () => {
    const guest = withArea('VM_EXIT_MSR_STORE', [
      [PMC0, 0xdeadn],
      [GLOBAL_CTRL, 0n],
    ]);
    guest.processor.msrs.wrmsr(GLOBAL_CTRL, 0n);
    guest.processor.msrs.wrmsr(PMC0, 0x1234n);
    guest.exit();
    expect(guest.memory.read(AREA, 8)).toBe(BigInt(PMC0));
    expect(guest.memory.read(AREA + 8, 8)).toBe(0x1234n);
    expect(guest.memory.read(AREA + 24, 8)).toBe(0n);
  });

  it('stores the value of IA32_PERF_GLOBAL_CTRL that the guest had, before the host value is loaded', () => {
    const guest = withArea('VM_EXIT_MSR_STORE', [[GLOBAL_CTRL, 0n]], 1, {
      ...HALT,
      VM_EXIT_CONTROLS: 0x3_7ffb,
      VM_ENTRY_CONTROLS: 0x33fb,
      GUEST_IA32_PERF_GLOBAL_CTRL: 0xfn,
      HOST_IA32_PERF_GLOBAL_CTRL: 0n,
    });
    guest.exit();
    expect(guest.memory.read(AREA + 8, 8)).toBe(0xfn);
    expect(guest.processor.msrs.rdmsr(GLOBAL_CTRL)).toBe(0n);
  });

  it('stores the host TSC, without offset', () => {
    const guest = withArea('VM_EXIT_MSR_STORE', [[0x10, 0n]], 1, {
      PRIMARY_CONTROLS: 0x0400_61fa,
      TSC_OFFSET: 1n << 60n,
    });
    guest.exit();
    expect(guest.memory.read(AREA + 8, 8)).toBe(guest.processor.tsc());
  });

  it.each([
    ['a reserved bit', [PMC0, 0n, 1n]],
    ['an MSR that does not exist', [0x1234_5678, 0n]],
    ['an x2APIC register', [0x802, 0n]],
  ] as const)('aborts on %s', (_name, entry) => {
    const guest = withArea('VM_EXIT_MSR_STORE', [entry]);
    guest.exit();
    expect(guest.vmx.aborted).toBe(1);
    expect(guest.memory.read(0x1_1004, 4)).toBe(1n);
    expect(guest.processor.cpu.run(10)).toMatchObject({ reason: 'shutdown' });
  });
});

describe('the VM-exit MSR-load area', () => {
  it('is loaded after the host state', () => {
    const guest = withArea('VM_EXIT_MSR_LOAD', [
      [PMC0, 0x55n],
      [0x174, 0x99n],
    ]);
    guest.exit();
    expect(guest.processor.msrs.rdmsr(PMC0)).toBe(0x55n);
    expect(guest.processor.msrs.rdmsr(0x174)).toBe(0x99n); // not HOST_IA32_SYSENTER_CS
  });

  it.each(BAD_LOADS)('aborts with indicator 4 on %s', (_name, entry) => {
    const guest = withArea('VM_EXIT_MSR_LOAD', [entry]);
    guest.exit();
    expect(guest.vmx.aborted).toBe(4);
    expect(guest.memory.read(0x1_1004, 4)).toBe(4n);
  });
});

describe('a VM entry that fails on guest state', () => {
  it('loads the host, and writes only the exit reason and its qualification', () => {
    const guest = new Guest({
      ...HALT,
      GUEST_RFLAGS: 0n,
      VM_EXIT_CONTROLS: 0x4003_7ffbn,
      VM_ENTRY_CONTROLS: 0x33fb,
      GUEST_IA32_PERF_GLOBAL_CTRL: 1n,
      HOST_IA32_PERF_GLOBAL_CTRL: 2n,
      VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0202n,
      VM_EXIT_MSR_STORE_ADDRESS: BigInt(AREA),
      VM_EXIT_MSR_STORE_COUNT: 1,
      VM_EXIT_MSR_LOAD_ADDRESS: BigInt(AREA + 0x100),
      VM_EXIT_MSR_LOAD_COUNT: 1,
      VM_EXIT_INSTRUCTION_LENGTH: 7,
      VM_EXIT_INTERRUPTION_INFORMATION: 0x1111,
      IDT_VECTORING_INFORMATION: 0x2222,
      GUEST_LINEAR_ADDRESS: 0x3333n,
    });
    guest.memory.write(AREA, 8, BigInt(PMC0));
    guest.memory.write(AREA + 8, 8, 0x77n);
    guest.memory.write(AREA + 0x100, 8, BigInt(PMC0));
    guest.memory.write(AREA + 0x108, 8, 0x66n);
    guest.state.set32(STATE.INTERRUPTIBILITY, 8);
    const exit = guest.exit();
    expect(exit).toMatchObject({
      reason: 0x8000_0021,
      qualification: 0n,
      length: 7,
      interruption: 0x1111,
      vectoring: 0x2222,
      linear: 0x3333n,
    });
    expect(guest.get('VM_ENTRY_INTERRUPTION_INFORMATION')).toBe(0x8000_0202n);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(1n);
    expect(guest.memory.read(AREA + 8, 8)).toBe(0x77n); // nothing stored
    expect(guest.processor.msrs.rdmsr(PMC0)).toBe(0x66n); // the exit list is loaded
    expect(guest.processor.msrs.rdmsr(GLOBAL_CTRL)).toBe(2n);
    expect(guest.state.rip).toBe(0xa000n);
    expect(guest.state.get32(STATE.INTERRUPTIBILITY)).toBe(8);
    guest.set({ GUEST_RFLAGS: 2n });
    expect(guest.vmx.vmresume()).toEqual({ VMfailValid: 5 }); // still clear
  });

  it('restores the host also when an MSR load has failed', () => {
    const guest = withArea('VM_ENTRY_MSR_LOAD', [[0x1234_5678, 0n]], 1, {
      VM_EXIT_CONTROLS: 0x2b_7ffb,
      VM_ENTRY_CONTROLS: 0xf3fb,
      GUEST_IA32_PAT: 0x0606_0606_0606_0606n,
      HOST_IA32_PAT: 0x0007_0406_0007_0406n,
      GUEST_IA32_EFER: 0x500n,
      HOST_IA32_EFER: 0xd01n,
      GUEST_IA32_PERF_GLOBAL_CTRL: 1n,
      HOST_IA32_PERF_GLOBAL_CTRL: 3n,
      VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0041n,
    });
    expect(guest.exit().reason).toBe(0x8000_0022);
    expect(guest.state.get(STATE.PAT)).toBe(0x0007_0406_0007_0406n);
    expect(guest.state.get(STATE.EFER)).toBe(0xd01n);
    expect(guest.processor.msrs.rdmsr(GLOBAL_CTRL)).toBe(3n);
    expect(guest.state.get(STATE.CR3)).toBe(0x2000n);
    expect(guest.get('VM_ENTRY_INTERRUPTION_INFORMATION')).toBe(0x8000_0041n);
  });
});

describe('state that the exit controls save and load', () => {
  it('PAT, EFER and the debug controls', () => {
    const guest = new Guest({
      ...HALT,
      VM_EXIT_CONTROLS: 0x3f_6fff,
      VM_ENTRY_CONTROLS: 0xd3ff,
      GUEST_IA32_PAT: 0x0606_0606_0606_0606n,
      HOST_IA32_PAT: 0x0007_0406_0007_0406n,
      GUEST_IA32_EFER: 0x500n,
      HOST_IA32_EFER: 0xd01n,
      GUEST_DR7: 0x401n,
      GUEST_IA32_DEBUGCTL: 2n,
    }).code('f4');
    guest.exit();
    expect(guest.get('GUEST_IA32_PAT')).toBe(0x0606_0606_0606_0606n);
    expect(guest.get('GUEST_IA32_EFER')).toBe(0x500n);
    expect(guest.get('GUEST_DR7')).toBe(0x401n);
    expect(guest.get('GUEST_IA32_DEBUGCTL')).toBe(2n);
    expect(guest.state.get(STATE.PAT)).toBe(0x0007_0406_0007_0406n);
    expect(guest.state.get(STATE.EFER)).toBe(0xd01n);
    expect(guest.state.get(STATE.DR + 56)).toBe(0x400n);
    expect(guest.processor.msrs.rdmsr(0x1d9)).toBe(0n);
  });

  it('IA-32e mode guest follows EFER.LMA of an unrestricted guest', () => {
    const real: Fields = {
      PRIMARY_CONTROLS: 0x8400_61f2n,
      SECONDARY_CONTROLS: 0x82,
      EPT_POINTER: 0x2_001en,
      VM_ENTRY_CONTROLS: 0x11fb,
      GUEST_CR0: 0x20n,
      GUEST_CR4: 0x2000n,
      GUEST_CS_ACCESS_RIGHTS: 0x9b,
      GUEST_CS_LIMIT: 0xffff,
      GUEST_CS_SELECTOR: 0,
      GUEST_CS_BASE: 0n,
      GUEST_RFLAGS: 2n,
    };
    const guest = new Guest(real).code('f4');
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('VM_ENTRY_CONTROLS')).toBe(0x11fbn);
    expect(guest.get('GUEST_CR0')).toBe(0x30n); // ET is not VM entry's to change
    expect(guest.state.get(STATE.EFER) & 0x500n).toBe(0x500n);
  });
});
