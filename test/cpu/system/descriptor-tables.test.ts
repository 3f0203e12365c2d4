import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './machine.ts';

const ZF = 0x40n;

function execute(
  listing: string,
  prepare: (machine: TestMachine) => void = () => undefined,
): TestMachine {
  const machine = new TestMachine()
    .long()
    .load(AT.CODE, `${listing}\n f4`)
    .haltingHandlers(6, 11, 13);
  prepare(machine);
  machine.run();
  return machine;
}

describe('table registers', () => {
  it('LGDT and SGDT move ten bytes in 64-bit mode', () => {
    const machine = execute(
      '0f011425 00000400 0f010425 10000400 ; lgdt [40000H]; sgdt [40010H]',
      (m) => {
        m.memory.write(AT.DATA, 2, 0x123n);
        m.memory.write(AT.DATA + 2, 8, 0xffff_8000_1234_5678n);
      },
    );
    expect(machine.state.get32(STATE.GDTR_LIMIT)).toBe(0x123);
    expect(machine.memory.read(AT.DATA + 0x10, 8)).toBe(0x8000_1234_5678_0123n);
    expect(machine.memory.read(AT.DATA + 0x18, 4)).toBe(0x0000_ffffn);
  });

  it('a base that is not canonical is #GP(0)', () => {
    const machine = execute('0f011c25 00000400', (m) => m.memory.write(AT.DATA + 2, 8, 1n << 47n));
    expect(machine.handled).toBe(13);
  });

  it('with 16-bit operands the base has 24 bits', () => {
    const machine = new TestMachine().protected32().load(AT.CODE, '660f011500000400 f4');
    machine.memory.write(AT.DATA, 8, 0xff12_3456_0777n);
    machine.run();
    expect(machine.state.get(STATE.GDTR_BASE)).toBe(0x12_3456n);
  });

  it('LTR marks the task busy, and will not load it twice', () => {
    const machine = execute('0f00d8 ; ltr ax', (m) => {
      m.state.gpr[0] = BigInt(SELECTOR.TSS);
    });
    expect(machine.state.segment('TR')).toEqual({
      selector: SELECTOR.TSS,
      base: BigInt(AT.TSS),
      limit: 0x67,
      rights: 0x8b,
    });
    expect(machine.memory.read(AT.GDT + SELECTOR.TSS + 5, 1)).toBe(0x8bn);

    machine.state.rip = BigInt(AT.CODE);
    machine.state.set32(STATE.ACTIVITY, 0);
    machine.run();
    expect(machine.handled).toBe(13);
    expect(machine.stack(1)).toEqual([BigInt(SELECTOR.TSS)]);
  });

  it.each<[string, number, number, number]>([
    ['LTR of a null selector', 0xd8, 0, 0],
    ['LTR of a selector of the LDT', 0xd8, 0x3c, 0x3c],
    ['LTR of data', 0xd8, SELECTOR.DATA, SELECTOR.DATA],
    ['LLDT of a TSS', 0xd0, SELECTOR.TSS, SELECTOR.TSS],
    ['LLDT of a selector of the LDT', 0xd0, 0x0c, 0x0c],
  ])('%s is #GP', (_what, modrm, selector, error) => {
    const machine = execute(`0f00${modrm.toString(16)}`, (m) => {
      m.state.gpr[0] = BigInt(selector);
    });
    expect(machine.handled).toBe(13);
    expect(machine.stack(1)).toEqual([BigInt(error)]);
  });

  it('LLDT opens a table that selectors with TI reach; null closes it', () => {
    const machine = execute('0f00d0 8ed9 ; lldt ax; mov ds, ecx', (m) => {
      m.state.gpr[0] = BigInt(SELECTOR.LDT);
      m.state.gpr[1] = 0x0cn;
      m.memory.write(AT.LDT + 8, 8, 0x00cf_9312_3456_0fffn);
    });
    expect(machine.handled).toBeUndefined();
    expect(machine.state.segment('DS')).toMatchObject({ selector: 0x0c, base: 0x12_3456n });

    const closed = execute('0f00d0 8ed9', (m) => {
      m.state.gpr[1] = 0x0cn;
    });
    expect(closed.handled).toBe(13);
  });
});

describe('LAR, LSL, VERR, VERW', () => {
  /** Descriptors under a name, put at `SELECTOR.FREE`. */
  // biome-ignore format: a table
  const DESCRIPTOR: Readonly<Record<string, bigint>> = {
    data0:       0x00cf_9300_0000_ffffn,
    readOnly:    0x00cf_9100_0000_ffffn,
    executeOnly: 0x00af_9900_0000_ffffn,
    readable:    0x00af_9b00_0000_ffffn,
    conforming:  0x00af_9f00_0000_ffffn,
    absent:      0x00cf_1300_0000_ffffn,
    tss:         0x0000_8900_6000_0067n,
    tss16:       0x0000_8100_6000_0067n,
    ldt:         0x0000_8200_9000_00ffn,
    callGate:    0x0000_8c00_0008_8000n,
    interrupt:   0x0000_8e00_0008_8000n,
    bytes:       0x0040_9300_0000_0123n,
  };
  const LAR = '0f02c1';
  const LSL = '0f03c1';
  const VERR = '0f00e1';
  const VERW = '0f00e9';

  function inspect(listing: string, name: string, rpl = 0): TestMachine {
    return execute(listing, (m) => {
      m.descriptors(DESCRIPTOR[name]!);
      m.state.gpr[1] = BigInt(SELECTOR.FREE | rpl);
      m.state.gpr[0] = 0xffff_ffff_ffff_ffffn;
    });
  }

  // biome-ignore format: a table
  it.each<[string, string, string, number, boolean, bigint?]>([
    ['LAR of data',                            LAR,  'data0',       0, true,  0x00c0_9300n],
    ['LAR of an absent segment',               LAR,  'absent',      0, true,  0x00c0_1300n],
    ['LAR of a TSS',                           LAR,  'tss',         0, true,  0x0000_8900n],
    ['LAR of a 64-bit call gate',              LAR,  'callGate',    0, true,  0x0000_8c00n],
    ['LAR of an interrupt gate',               LAR,  'interrupt',   0, false],
    ['LAR of a 16-bit TSS in IA-32e mode',     LAR,  'tss16',       0, false],
    ['LAR with an RPL that may not see it',    LAR,  'data0',       3, false],
    ['LAR of conforming code with any RPL',    LAR,  'conforming',  3, true,  0x00a0_9f00n],
    ['LSL of data with pages',                 LSL,  'data0',       0, true,  0xffff_ffffn],
    ['LSL of data with bytes',                 LSL,  'bytes',       0, true,  0x123n],
    ['LSL of an LDT',                          LSL,  'ldt',         0, true,  0xffn],
    ['LSL of a call gate',                     LSL,  'callGate',    0, false],
    ['VERR of data',                           VERR, 'data0',       0, true],
    ['VERR of execute-only code',              VERR, 'executeOnly', 0, false],
    ['VERR of readable code',                  VERR, 'readable',    0, true],
    ['VERR of a TSS',                          VERR, 'tss',         0, false],
    ['VERW of data',                           VERW, 'data0',       0, true],
    ['VERW of read-only data',                 VERW, 'readOnly',    0, false],
    ['VERW of readable code',                  VERW, 'readable',    0, false],
    ['VERW with an RPL that may not see it',   VERW, 'data0',       3, false],
  ])('%s', (_what, listing, name, rpl, found, value) => {
    const machine = inspect(listing, name, rpl);
    expect(machine.handled).toBeUndefined();
    expect((machine.cpu.core.rflags & ZF) !== 0n).toBe(found);
    const expected = found ? value : 0xffff_ffff_ffff_ffffn;
    if (expected !== undefined) expect(machine.state.gpr[0]).toBe(expected);
  });

  it.each([
    ['null', 0],
    ['beyond the table', 0x100],
    ['of the absent LDT', 0x0c],
  ])('clear ZF for a selector that is %s', (_what, selector) => {
    for (const listing of [LAR, LSL, VERR, VERW]) {
      const machine = execute(listing, (m) => {
        m.state.gpr[1] = BigInt(selector);
      });
      expect(machine.handled).toBeUndefined();
      expect(machine.cpu.core.rflags & ZF).toBe(0n);
    }
  });
});

describe('ARPL', () => {
  it.each([
    ['raises a lower RPL and sets ZF', 0x10, 0x03, 0x13, ZF],
    ['leaves a higher one and clears ZF', 0x13, 0x01, 0x13, 0n],
  ])('%s', (_what, destination, source, result, zf) => {
    const machine = new TestMachine().protected32().load(AT.CODE, '63c8 f4 ; arpl ax, cx');
    machine.state.gpr[0] = BigInt(destination);
    machine.state.gpr[1] = BigInt(source);
    machine.run();
    expect(machine.state.gpr[0]).toBe(BigInt(result));
    expect(machine.cpu.core.rflags & ZF).toBe(zf);
  });
});

describe('segment registers in 64-bit mode', () => {
  it('a null selector in FS keeps nothing of the segment but is no fault', () => {
    const machine = execute('8ee1 ; mov fs, ecx', (m) => {
      m.msr.wrmsr(0xc000_0100, 0x1234n);
    });
    expect(machine.handled).toBeUndefined();
    expect(machine.state.segment('FS').selector).toBe(0);
  });

  it('SS may be null at CPL 0 only with its own RPL', () => {
    const null3 = execute('8ed1', (m) => {
      m.state.gpr[1] = 3n;
    });
    expect(null3.handled).toBe(13);
    expect(execute('8ed1').handled).toBeUndefined();
  });

  it('FS and GS add their bases, DS does not', () => {
    const machine = execute(
      '648b0425 00000000 8b0c25 00000400 f4 ; mov eax, fs:[0]; mov ecx, [40000H]',
      (m) => {
        m.msr.wrmsr(0xc000_0100, BigInt(AT.DATA));
        m.memory.write(AT.DATA, 4, 0x1234_5678n);
        m.state.setSegment('DS', { ...m.state.segment('DS'), base: 0x100n });
      },
    );
    expect(machine.state.gpr[0]).toBe(0x1234_5678n);
    expect(machine.state.gpr[1]).toBe(0x1234_5678n);
  });

  it.each([
    ['RDFSBASE and WRGSBASE move bases with CR4.FSGSBASE', 0x1_0000n, undefined],
    ['without it they are #UD', 0n, 6],
  ])('%s', (_what, cr4, vector) => {
    const machine = execute('f3480faec0 f3480faed8 ; rdfsbase rax; wrgsbase rax', (m) => {
      m.state.set(STATE.CR4, m.state.get(STATE.CR4) | cr4);
      m.msr.wrmsr(0xc000_0100, 0xffff_8000_0000_1000n);
    });
    expect(machine.handled).toBe(vector);
    if (vector === undefined) expect(machine.msr.rdmsr(0xc000_0101)).toBe(0xffff_8000_0000_1000n);
  });
});
