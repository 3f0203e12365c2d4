import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from './machine.ts';

function execute(
  listing: string,
  prepare: (machine: TestMachine) => void = () => undefined,
): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, `${listing}\n f4`).haltingHandlers(6, 13);
  prepare(machine);
  machine.run();
  return machine;
}

const user = (machine: TestMachine) => machine.user();

const RDMSR = '0f32';
const WRMSR = '0f30';

describe('system MSRs', () => {
  // Address, value that it takes, value that it refuses.
  // biome-ignore format: a table
  it.each<[string, number, bigint, bigint | undefined]>([
    ['IA32_SYSENTER_CS',      0x174,       0x1234n,                    undefined],
    ['IA32_SYSENTER_ESP',     0x175,       0xffff_8000_0000_0000n,     1n << 47n],
    ['IA32_SYSENTER_EIP',     0x176,       0x7fff_ffff_ffffn,          1n << 63n],
    ['IA32_PAT',              0x277,       0x0001_0405_0607_0001n,     0x0007_0406_0007_0402n],
    ['IA32_MTRR_PHYSBASE0',   0x200,       0x1_0000_0006n,             0x2n],
    ['IA32_MTRR_PHYSMASK9',   0x213,       0x3fff_f000_0800n,          0x4000_0000_0800n],
    ['IA32_MTRR_FIX4K_F8000', 0x26f,       0x0606_0606_0606_0606n,     0x0606_0206_0606_0606n],
    ['IA32_MTRR_DEF_TYPE',    0x2ff,       0xc06n,                     0x1000n],
    ['IA32_EFER',             0xc000_0080, 0xd01n,                     0x1501n],
    ['IA32_STAR',             0xc000_0081, 0xffff_ffff_ffff_ffffn,     undefined],
    ['IA32_LSTAR',            0xc000_0082, 0xffff_ffff_8000_0000n,     0x8000_0000_0000n],
    ['IA32_CSTAR',            0xc000_0083, 0x1234n,                    0x8000_0000_0000n],
    ['IA32_FMASK',            0xc000_0084, 0xffff_ffffn,               0x1_0000_0000n],
    ['IA32_FS_BASE',          0xc000_0100, 0xffff_8000_1234_5678n,     0x8000_0000_0000n],
    ['IA32_GS_BASE',          0xc000_0101, 0x1234_5678n,               0x8000_0000_0000n],
    ['IA32_KERNEL_GS_BASE',   0xc000_0102, 0x1234_5678n,               0x8000_0000_0000n],
    ['IA32_TSC_AUX',          0xc000_0103, 0xffff_ffffn,               0x1_0000_0000n],
    ['IA32_XSS',              0xda0,       0n,                         1n],
  ])('%s reads back what it takes, and WRMSR of what it refuses is #GP(0)', (_name, address, takes, refuses) => {
    const write = (value: bigint) =>
      execute(`${WRMSR} ${RDMSR}`, (m) => {
        m.state.gpr[1] = BigInt(address);
        m.state.gpr[0] = value & 0xffff_ffffn;
        m.state.gpr[2] = value >> 32n;
      });
    const machine = write(takes);
    expect(machine.handled).toBeUndefined();
    expect((machine.state.gpr[2]! << 32n) | machine.state.gpr[0]!).toBe(takes);
    if (refuses !== undefined) expect(write(refuses).handled).toBe(13);
  });

  it('that nobody claims are #GP(0)', () => {
    const absent = (m: TestMachine) => {
      m.state.gpr[1] = 0x1_0000n;
    };
    expect(execute(RDMSR, absent).handled).toBe(13);
    expect(execute(WRMSR, absent).handled).toBe(13);
  });

  it('EFER.LME cannot change while paging is on, LMA not at all', () => {
    const machine = execute(WRMSR, (m) => {
      m.state.gpr[1] = 0xc000_0080n;
      m.state.gpr[0] = 0x801n;
    });
    expect(machine.handled).toBe(13);
    expect(machine.state.get(STATE.EFER)).toBe(0xd00n);
  });
});

describe('the time-stamp counter', () => {
  it('is one tick an instruction, read before its own retirement', () => {
    const machine = execute('90 90 0f31 ; nop; nop; rdtsc');
    expect(machine.state.gpr[0]).toBe(2n);
  });

  it('moves by what WRMSR loads, and TSC_ADJUST moves with it', () => {
    const machine = execute(`${WRMSR} 0f31`, (m) => {
      m.state.gpr[1] = 0x10n;
      m.state.gpr[0] = 1000n;
    });
    // WRMSR itself is the first tick after.
    expect(machine.state.gpr[0]).toBe(1001n);
    expect(machine.msr.rdmsr(0x3b)).toBe(1000n);
    machine.msr.wrmsr(0x3b, 0n);
    expect(machine.msr.rdmsr(0x10)).toBe(machine.state.total('ticks'));
  });

  it('RDTSCP adds IA32_TSC_AUX in ECX, and RDPID reads it alone', () => {
    const machine = execute('0f01f9 f30fc7f8 ; rdtscp; rdpid rax', (m) => {
      m.state.set(STATE.TSC_AUX, 0x77n);
      m.state.gpr[1] = 0xffff_ffff_ffff_ffffn;
    });
    expect(machine.state.gpr[1]).toBe(0x77n);
    expect(machine.state.gpr[0]).toBe(0x77n);
  });

  it.each([
    ['RDTSC', '0f31'],
    ['RDTSCP', '0f01f9'],
  ])('%s at CPL 3 is #GP with CR4.TSD', (_name, listing) => {
    const machine = execute(listing, (m) => {
      user(m);
      m.state.set(STATE.CR4, m.state.get(STATE.CR4) | 4n);
    });
    expect(machine.handled).toBe(13);
    expect(machine.stack(2)[1]).toBe(BigInt(AT.CODE));
  });
});

describe('RDPMC', () => {
  const RDPMC = '0f33';

  it('reads the counter that ECX names into EDX:EAX', () => {
    const machine = execute(RDPMC, (m) => {
      m.state.gpr[1] = 3n;
    });
    expect([machine.state.gpr[2], machine.state.gpr[0]]).toEqual([5n, 3n]);
  });

  it('of a counter that does not exist is #GP(0)', () => {
    const machine = execute(RDPMC, (m) => {
      m.state.gpr[1] = 4n;
    });
    expect(machine.handled).toBe(13);
  });

  it.each([
    ['is #GP', 0n, BigInt(AT.CODE)],
    ['is allowed with CR4.PCE', 0x100n, BigInt(AT.CODE + 2)],
  ])('at CPL 3 %s', (_what, pce, faultsAt) => {
    const machine = execute(RDPMC, (m) => {
      user(m);
      m.state.set(STATE.CR4, m.state.get(STATE.CR4) | pce);
    });
    // The HLT behind it is #GP at CPL 3.
    expect(machine.stack(2)[1]).toBe(faultsAt);
  });
});

describe('RDRAND and RDSEED', () => {
  it.each([
    ['RDRAND of 64 bits', '480fc7f0', 0x0123_4567_89ab_cdefn],
    ['RDSEED of 32 bits', '0fc7f8', 0x89ab_cdefn],
    ['RDRAND of 16 bits', '660fc7f0', 0xffff_ffff_ffff_cdefn],
  ])('%s succeeds with CF set and the other status flags clear', (_what, listing, value) => {
    const machine = execute(listing, (m) => {
      m.state.gpr[0] = 0xffff_ffff_ffff_ffffn;
      m.cpu.core.rflags = 0x8d6n;
    });
    expect(machine.state.gpr[0]).toBe(value);
    expect(machine.cpu.core.rflags).toBe(3n);
  });
});

describe('protection-key rights', () => {
  it('WRPKRU and RDPKRU move PKRU with CR4.PKE; without it they are #UD', () => {
    const pke = (m: TestMachine) => {
      m.state.set(STATE.CR4, m.state.get(STATE.CR4) | 0x40_0000n);
      m.state.gpr[0] = 0x5555_5554n;
    };
    const machine = execute('0f01ef 31c0 0f01ee ; wrpkru; xor eax, eax; rdpkru', pke);
    expect(machine.state.gpr[0]).toBe(0x5555_5554n);
    expect(execute('0f01ef').handled).toBe(6);
  });
});

describe('HLT, MONITOR, MWAIT', () => {
  it.each([
    ['MONITOR with an extension is #GP', '0f01c8', 1n, 13],
    ['MONITOR with one in the upper half of RCX, too', '0f01c8', 1n << 32n, 13],
    ['MONITOR of what FS makes no canonical address is #GP', '640f01c8', 0n, 13],
    ['MWAIT with a reserved extension is #GP', '0f01c9', 2n, 13],
    ['MWAIT with one in the upper half of RCX, too', '0f01c9', 1n << 63n, 13],
    ['MWAIT goes on at once', '0f01c9', 0n, undefined],
  ])('%s', (_what, listing, rcx, vector) => {
    const machine = execute(listing, (m) => {
      m.state.gpr[1] = rcx;
      m.state.gpr[0] = BigInt(AT.DATA);
      m.state.setSegment('FS', { ...m.state.segment('FS'), base: 0x7fff_ffff_ffffn });
    });
    expect(machine.handled).toBe(vector);
  });

  it.each([
    ['MONITOR', '0f01c8'],
    ['MWAIT', '0f01c9'],
    ['CLAC', '0f01ca'],
  ])('%s at CPL 3 is #UD', (_name, listing) => {
    expect(execute(listing, user).handled).toBe(6);
  });
});
