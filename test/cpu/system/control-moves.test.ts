import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from './machine.ts';

/** One instruction with RAX (and RCX) set, then HLT. */
function execute(
  listing: string,
  rax: bigint,
  prepare: (machine: TestMachine) => void = () => undefined,
): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, `${listing}\n f4`).haltingHandlers(6, 13);
  machine.state.gpr[0] = rax;
  prepare(machine);
  machine.run();
  return machine;
}

const user = (machine: TestMachine) => machine.user();

const LONG_CR0 = 0x8001_0033n;

describe('MOV to control registers', () => {
  // biome-ignore format: a table
  it.each<[string, string, bigint, number | undefined]>([
    ['CR0 with bit 32 set',                        '0f22c0', 1n << 32n | LONG_CR0, 13],
    ['CR0 with PG and without PE',                 '0f22c0', 0x8000_0010n,         13],
    ['CR0 with NW and without CD',                 '0f22c0', 0xa001_0033n,         13],
    ['CR0 with CD and NW',                         '0f22c0', 0xe001_0033n,         undefined],
    ['CR0 without PG in 64-bit mode',              '0f22c0', 0x0001_0033n,         13],
    ['CR0 with TS',                                '0f22c0', 0x8001_003bn,         undefined],
    ['CR3 beyond the physical width',              '0f22d8', 1n << 46n,            13],
    ['CR3 with bit 63 and CR4.PCIDE clear',        '0f22d8', 1n << 63n | 0x1000n,  13],
    ['CR3 with PWT and PCD',                       '0f22d8', 0x1018n,              undefined],
    ['CR4 without PAE in IA-32e mode',             '0f22e0', 0x600n,               13],
    ['CR4 with a reserved bit',                    '0f22e0', 0x0100_0620n,         13],
    ['CR4 with LA57 changed in IA-32e mode',       '0f22e0', 0x1620n,              13],
    ['CR4 with SMEP, SMAP, PGE, OSXSAVE, FSGSBASE', '0f22e0', 0x0035_06a0n,        undefined],
    ['CR4 with PCIDE',                             '0f22e0', 0x2_0620n,            undefined],
    ['CR8 above 15',                               '440f22c0', 16n,                13],
    ['CR8',                                        '440f22c0', 7n,                 undefined],
    ['CR2 with any value',                         '0f22d0', 0x8000_0000_0000_0000n, undefined],
    ['CR1',                                        '0f22c8', 0n,                   6],
    ['CR5',                                        '0f22e8', 0n,                   6],
  ])('%s', (_what, listing, value, vector) => {
    expect(execute(listing, value).handled).toBe(vector);
  });

  it('CR4 with PCIDE is #GP while CR3 has low bits set', () => {
    const machine = execute('0f22e0', 0x2_0620n, (m) => m.state.set(STATE.CR3, 0x1018n));
    expect(machine.handled).toBe(13);
  });

  it('CR3 with bit 63 keeps translations with CR4.PCIDE, and the bit is not stored', () => {
    const machine = execute('0f22d8', (1n << 63n) | 0x1005n, (m) =>
      m.state.set(STATE.CR4, m.state.get(STATE.CR4) | 0x2_0000n),
    );
    expect(machine.handled).toBeUndefined();
    expect(machine.state.get(STATE.CR3)).toBe(0x1005n);
  });

  it('CR8 is the task priority of the APIC, both ways', () => {
    const machine = execute('440f22c0 440f20c1', 9n);
    expect(machine.tpr).toBe(9);
    expect(machine.state.gpr[1]).toBe(9n);
  });

  it('at CPL 3 is #GP, but a register that does not exist is #UD', () => {
    expect(execute('0f22c0', LONG_CR0, user).handled).toBe(13);
    expect(execute('0f20c1', 0n, user).handled).toBe(13);
    expect(execute('0f22e8', 0n, user).handled).toBe(6);
  });

  it('ET of CR0 stays 1, undefined bits stay 0', () => {
    const machine = execute('0f22c0', 0x9fff_ffebn);
    expect(machine.state.get(STATE.CR0)).toBe(0x8005_003bn);
  });
});

describe('LMSW, SMSW and CLTS', () => {
  it('LMSW sets PE, MP, EM, TS, but cannot clear PE', () => {
    const machine = execute('0f01f0 ; lmsw ax', 0xfff8n);
    expect(machine.state.get(STATE.CR0)).toBe(0x8001_0039n);
  });

  it('CLTS clears TS only', () => {
    const machine = execute('0f06', 0n, (m) => m.state.set(STATE.CR0, LONG_CR0 | 8n));
    expect(machine.state.get(STATE.CR0)).toBe(LONG_CR0);
  });

  it('SMSW stores all of CR0 in a 64-bit register, 16 bits in memory', () => {
    const machine = execute('480f01e1 0f012425 00000400 ; smsw rcx; smsw [40000H]', 0n);
    expect(machine.state.gpr[1]).toBe(LONG_CR0);
    expect(machine.memory.read(AT.DATA, 4)).toBe(0x33n);
  });

  it.each([
    ['SMSW', '0f01e1'],
    ['SGDT', '0f010425 00000400'],
    ['SIDT', '0f010c25 00000400'],
    ['SLDT', '0f00c1'],
    ['STR', '0f00c9'],
  ])('%s at CPL 3 is #GP with CR4.UMIP only', (_name, listing) => {
    const umip = (machine: TestMachine) => {
      user(machine);
      machine.state.set(STATE.CR4, machine.state.get(STATE.CR4) | 0x800n);
    };
    expect(execute(listing, 0n, umip).handled).toBe(13);
    // HLT, which follows, is #GP at CPL 3: one instruction has retired.
    expect(execute(listing, 0n, user).state.total('instructions')).toBe(2n);
  });
});

describe('XGETBV and XSETBV', () => {
  const osxsave = (machine: TestMachine) =>
    machine.state.set(STATE.CR4, machine.state.get(STATE.CR4) | 0x4_0000n);

  it.each<[string, bigint, bigint, number | undefined]>([
    ['x87 and SSE', 3n, 0n, undefined],
    ['x87, SSE and PKRU', 0x203n, 0n, undefined],
    ['without x87', 2n, 0n, 13],
    ['AVX, which is not there', 7n, 0n, 13],
    ['another register than 0', 3n, 1n, 13],
  ])('XSETBV with %s', (_what, value, register, vector) => {
    const machine = execute('0f01d1', value, (m) => {
      osxsave(m);
      m.state.gpr[1] = register;
    });
    expect(machine.handled).toBe(vector);
    if (vector === undefined) expect(machine.state.get(STATE.XCR0)).toBe(value);
  });

  // Behind FNINIT, pcmpeqd xmm1, xmm1 puts SSE into use, FLD1 the x87.
  it.each([
    ['nothing is in use', '', 0n],
    ['SSE is', '660f76c9', 2n],
    ['x87 is', 'd9e8', 1n],
  ])('XGETBV of register 1 says what of XCR0 is in use: %s', (_what, before, inUse) => {
    const machine = execute(
      `dbe3 ${before}\n 31c9 ffc1 0f01d0 ; xor ecx, ecx; inc ecx; xgetbv`,
      0n,
      (m) => {
        osxsave(m);
        m.state.set(STATE.XCR0, 3n);
        m.state.set(STATE.CR4, m.state.get(STATE.CR4) | 0x200n);
        m.state.gpr[2] = -1n & 0xffff_ffff_ffff_ffffn;
      },
    );
    expect([machine.handled, machine.state.gpr[0], machine.state.gpr[2]]).toEqual([
      undefined,
      inUse,
      0n,
    ]);
  });

  it('are #UD without CR4.OSXSAVE', () => {
    expect(execute('0f01d0', 0n).handled).toBe(6);
    expect(execute('0f01d1', 3n).handled).toBe(6);
  });
});

describe('invalidation', () => {
  const pcid = (type: bigint, first: bigint, second: bigint) =>
    execute('660f38820425 00000400 ; invpcid rax, [40000H]', type, (m) => {
      m.memory.write(AT.DATA, 8, first);
      m.memory.write(AT.DATA + 8, 8, second);
    });

  it.each<[string, bigint, bigint, bigint, number | undefined]>([
    ['one address of PCID 0', 0n, 0n, 0x1234n, undefined],
    ['an address that is not canonical', 0n, 0n, 1n << 47n, 13],
    ['a PCID other than 0 while CR4.PCIDE is clear', 1n, 5n, 0n, 13],
    ['reserved bits of the descriptor', 0n, 1n << 12n, 0n, 13],
    ['the same where the type takes none of it', 3n, 1n << 12n, 0n, 13],
    ['everything', 2n, 5n, 0n, undefined],
    ['everything but global pages', 3n, 0n, 0n, undefined],
    ['a type that does not exist', 4n, 0n, 0n, 13],
  ])('INVPCID of %s', (_what, type, first, second, vector) => {
    expect(pcid(type, first, second).handled).toBe(vector);
  });

  it('INVLPG of an address that is not canonical does nothing', () => {
    const machine = execute('0f0138 ; invlpg [rax]', 1n << 47n);
    expect(machine.handled).toBeUndefined();
  });

  it.each([
    ['INVLPG', '0f0138'],
    ['INVPCID', '660f38820425 00000400'],
    ['WBINVD', '0f09'],
    ['INVD', '0f08'],
    ['CLTS', '0f06'],
    ['LMSW', '0f01f0'],
    ['LGDT', '0f011425 00000400'],
    ['LTR', '0f00d8'],
    ['RDMSR', '0f32'],
    ['WRMSR', '0f30'],
    ['HLT', 'f4'],
    ['SWAPGS', '0f01f8'],
    ['SYSEXIT', '0f35'],
    ['CLI', 'fa'],
    ['STI', 'fb'],
    ['IN', 'e480'],
    ['OUT', 'e680'],
    ['MOV from CR3', '0f20d8'],
    ['MOV to DR7', '0f23f8'],
  ])('%s is #GP(0) at CPL 3', (_name, listing) => {
    const machine = execute(listing, 0n, user);
    expect(machine.handled).toBe(13);
    expect(machine.stack(2)).toEqual([0n, BigInt(AT.CODE)]);
  });
});
