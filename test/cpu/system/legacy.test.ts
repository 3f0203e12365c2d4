import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './machine.ts';

/** 32-bit code at CPL 3 at `AT.USER`. */
const user32 = (listing: string) =>
  new TestMachine().protected32().load(AT.USER, listing).user(32).atUser();

const halts = (machine: TestMachine, vector: number, at: number = AT.HANDLER) =>
  machine.gate32(vector, at).load(at, 'f4');

describe('delivery through a 32-bit IDT', () => {
  it('pushes EFLAGS, CS and EIP on the same stack', () => {
    const machine = halts(new TestMachine().protected32().load(AT.CODE, 'cd80'), 0x80);

    machine.run();

    expect(machine.state.gpr[4]).toBe(BigInt(AT.STACK - 12));
    expect(machine.stack(3, 4)).toEqual([BigInt(AT.CODE + 2), BigInt(SELECTOR.CODE32), 2n]);
  });

  it('changes to the stack that the TSS has for an inner level, and comes back by IRET', () => {
    const machine = user32('cd80 ebfe');
    machine.gate32(0x80, AT.HANDLER, { dpl: 3 }).load(AT.HANDLER, 'cf');

    machine.run(1);
    expect(machine.state.cpl).toBe(0);
    expect(machine.stack(5, 4)).toEqual([
      BigInt(AT.USER + 2),
      BigInt(SELECTOR.USER_CODE32),
      2n,
      BigInt(AT.USER_STACK),
      BigInt(SELECTOR.USER_DATA),
    ]);

    machine.run(2);
    expect(machine.state.cpl).toBe(3);
    expect(machine.state.rip).toBe(BigInt(AT.USER + 2));
    expect(machine.state.gpr[4]).toBe(BigInt(AT.USER_STACK));
  });

  it('through a 16-bit gate pushes 16-bit values', () => {
    const machine = new TestMachine().protected32().load(AT.CODE, 'cd80');
    machine.gate32(0x80, 0x8000, { type: 6 }).load(0x8000, 'f4');

    machine.run();

    expect(machine.state.gpr[4]).toBe(BigInt(AT.STACK - 6));
    expect(machine.memory.read(AT.STACK - 6, 2)).toBe(BigInt((AT.CODE + 2) & 0xffff));
  });

  // biome-ignore format: a table
  it.each<[string, number, number, (machine: TestMachine) => void]>([
    ['a stack segment of the TSS that is null',          10, 0,              (m) => m.memory.write(AT.TSS + 8, 2, 0n)],
    ['one with the wrong DPL',                           10, 0x28,           (m) => m.memory.write(AT.TSS + 8, 2, 0x28n)],
    ['one with the wrong RPL',                           10, SELECTOR.DATA,  (m) => m.memory.write(AT.TSS + 8, 2, 0x13n)],
    ['one outside the GDT',                              10, 0x200,          (m) => m.memory.write(AT.TSS + 8, 2, 0x200n)],
    ['code as a stack segment',                          10, SELECTOR.CODE32, (m) => m.memory.write(AT.TSS + 8, 2, BigInt(SELECTOR.CODE32))],
    ['one that is not present',                          12, SELECTOR.FREE,  (m) => { m.memory.write(AT.TSS + 8, 2, BigInt(SELECTOR.FREE)); m.descriptors(0x00cf_1300_0000_ffffn); }],
    ['a TSS too short to hold one',                      10, SELECTOR.TSS,   (m) => m.state.setSegment('TR', { ...m.state.segment('TR'), limit: 8 })],
  ])('faults on %s', (_what, vector, error, prepare) => {
    const machine = user32('cd80');
    machine.gate32(0x80, AT.HANDLER, { dpl: 3 });
    // The fault's own handler is a task of its own stack: at CPL 3 through a conforming segment.
    machine.memory.write(AT.GDT + 0x70, 8, 0x00cf_9f00_0000_ffffn);
    machine.gate32(vector, AT.HANDLER + 0x100, { selector: 0x70 }).load(AT.HANDLER + 0x100, 'ebfe');
    prepare(machine);

    machine.run(3);

    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 0x100));
    expect(machine.stack(2, 4)).toEqual([BigInt(error), BigInt(AT.USER)]);
  });
});

describe('real-address mode', () => {
  function real(listing: string): TestMachine {
    const machine = new TestMachine().load(0x1_0000, listing);
    machine.state.setSegment('CS', {
      selector: 0x1000,
      base: 0x1_0000n,
      limit: 0xffff,
      rights: 0x93,
    });
    machine.state.rip = 0n;
    machine.state.setSegment('SS', {
      selector: 0x2000,
      base: 0x2_0000n,
      limit: 0xffff,
      rights: 0x93,
    });
    machine.state.gpr[4] = 0x1000n;
    machine.state.set(STATE.IDTR_BASE, 0n);
    return machine;
  }

  it('starts at FFFF0H below 4 GiB after RESET', () => {
    const { state } = new TestMachine();
    expect(state.segment('CS')).toMatchObject({ selector: 0xf000, base: 0xffff_0000n });
    expect(state.rip).toBe(0xfff0n);
    expect(state.get(STATE.CR0)).toBe(0x6000_0010n);
    expect(state.get(DR6)).toBe(0xffff_0ff0n);
    expect(state.get(STATE.DR + 56)).toBe(0x400n);
  });
  const DR6 = STATE.DR + 48;

  it('takes interrupts through the vector table at 0 and returns by IRET', () => {
    const machine = real('fb cd21 90 f4 ; sti; int 21H; nop; hlt').load(
      0x3_0000,
      'b005 cf ; mov al, 5; iret',
    );
    machine.memory.write(0x21 * 4, 4, 0x3000_0000n);

    machine.run(4);
    expect(machine.memory.read(0x2_0ffa, 2)).toBe(3n);
    expect(machine.memory.read(0x2_0ffc, 2)).toBe(0x1000n);
    expect(machine.memory.read(0x2_0ffe, 2)).toBe(0x202n);

    machine.run();
    expect(machine.state.gpr[0]).toBe(5n);
    expect(machine.state.rip).toBe(5n);
    expect(machine.state.gpr[4]).toBe(0x1000n);
  });

  it('loads segments as selector times 16, and keeps limits that protected mode left', () => {
    const machine = real('8ed8 a10000 f4 ; mov ds, ax; mov ax, [0]; hlt').load(0x4_5670, 'ef be');
    machine.state.gpr[0] = 0x4567n;
    machine.state.setSegment('DS', { selector: 0, base: 0n, limit: 0xffff_ffff, rights: 0xc093 });

    machine.run();

    expect(machine.state.gpr[0]).toBe(0xbeefn);
    expect(machine.state.segment('DS')).toMatchObject({ base: 0x4_5670n, limit: 0xffff_ffff });
  });

  it('faults on offsets beyond 64 KiB, without an error code', () => {
    const machine = real('66 67 a1 ffff0000 ; mov eax, [0ffffH] by a 32-bit address').load(
      0x3_0000,
      'f4',
    );
    machine.memory.write(13 * 4, 4, 0x3000_0000n);
    machine.state.gpr[3] = 0xffffn;
    machine.load(0x1_0000, '66678b03 ; mov eax, [ebx]');

    machine.run();

    expect(machine.state.segment('CS').selector).toBe(0x3000);
    expect(machine.state.gpr[4]).toBe(0x1000n - 6n);
  });

  it('reaches 64-bit mode as a loader does: LGDT, CR4.PAE, CR3, EFER.LME, CR0.PG|PE, far JMP', () => {
    const machine = new TestMachine().long();
    const state = machine.state;
    machine.cpu.reset();
    state.setSegment('CS', { selector: 0, base: 0n, limit: 0xffff, rights: 0x93 });
    state.rip = 0x7c00n;
    machine.memory.write(0x7e00, 2, 0xffn);
    machine.memory.write(0x7e02, 4, BigInt(AT.GDT));
    machine.load(
      0x7c00,
      `66 0f0116 007e        ; o32 lgdt [7e00H]
       0f20e0 660d20000000 0f22e0 ; mov eax, cr4; or eax, 20H; mov cr4, eax
       66b800100000 0f22d8   ; mov eax, 1000H; mov cr3, eax
       66b9800000c0 0f32 660d00010000 0f30 ; mov ecx, 0c0000080H; rdmsr; or eax, 100H; wrmsr
       0f20c0 660d01000080 0f22c0 ; mov eax, cr0; or eax, 80000001H; mov cr0, eax
       66 ea 00000100 0800   ; jmp 08H:10000H`,
    );
    machine.load(AT.CODE, '48b8 8877665544332211 f4 ; mov rax, 1122334455667788H; hlt');

    machine.run();

    expect(state.gpr[0]).toBe(0x1122_3344_5566_7788n);
    expect(state.get(STATE.EFER)).toBe(0x500n);
    expect(state.rip).toBe(BigInt(AT.CODE + 11));
  });
});

describe('virtual-8086 mode', () => {
  /** IRETs from CPL 0 into 16-bit code at 2000H:0 with IOPL 0 unless told. */
  function virtual8086(listing: string, iopl = 0n): TestMachine {
    const machine = new TestMachine().protected32().load(AT.CODE, 'cf').load(0x2_0000, listing);
    const frame = [
      0n,
      0x2000n,
      0x2_0002n | (iopl << 12n),
      0x100n,
      0x3000n,
      0x4000n,
      0x5000n,
      0x6000n,
      0x7000n,
    ];
    for (const [i, value] of frame.entries()) machine.memory.write(AT.STACK + i * 4, 4, value);
    return machine;
  }

  it('is entered by an IRET with VM set, and left by an interrupt that saves all segments', () => {
    const machine = halts(virtual8086('90 cc ; nop; int3'), 3);
    machine.gate32(3, AT.HANDLER, { dpl: 3 });

    machine.run(2);
    expect(machine.state.cpl).toBe(3);
    expect(machine.state.segment('DS')).toEqual({
      selector: 0x5000,
      base: 0x5_0000n,
      limit: 0xffff,
      rights: 0xf3,
    });

    machine.run();
    expect(machine.state.cpl).toBe(0);
    expect(machine.stack(9, 4)).toEqual([
      2n,
      0x2000n,
      0x2_0002n,
      0x100n,
      0x3000n,
      0x4000n,
      0x5000n,
      0x6000n,
      0x7000n,
    ]);
    expect(machine.state.segment('DS')).toMatchObject({ selector: 0, rights: 0x1_0000 });
  });

  it.each([
    ['CLI', 'fa'],
    ['INT n', 'cd80'],
    ['PUSHF', '9c'],
    ['IRET', 'cf'],
    ['HLT', 'f4'],
  ])('%s with IOPL 0 is #GP(0)', (_name, listing) => {
    const machine = halts(virtual8086(listing), 13);
    machine.run();
    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 1));
    expect(machine.stack(2, 4)).toEqual([0n, 0n]);
  });

  it('LTR, LAR and their kin are #UD', () => {
    const machine = halts(virtual8086('0f02c0 ; lar ax, ax'), 6);
    machine.run();
    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 1));
  });
});

describe('segment loads outside 64-bit mode', () => {
  const D = {
    readOnlyUser: 0x00cf_f100_0000_ffffn,
    executeOnly: 0x00cf_9900_0000_ffffn,
    conforming: 0x00cf_9f00_0000_ffffn,
    absent: 0x00cf_1300_0000_ffffn,
    data0: 0x00cf_9200_0000_ffffn,
    expandDown: 0x00c0_9600_0000_000fn,
  } as const;

  /** mov ds, cx (or ss) with the descriptor at selector 68H. */
  function loading(
    listing: string,
    descriptor: bigint,
    selector: number = SELECTOR.FREE,
    cpl = 0,
  ): TestMachine {
    const machine =
      cpl === 0 ? new TestMachine().protected32().load(AT.CODE, listing) : user32(listing);
    machine.descriptors(descriptor);
    machine.state.gpr[1] = BigInt(selector);
    for (const vector of [10, 11, 12, 13]) halts(machine, vector, AT.HANDLER + vector * 16);
    return machine;
  }

  // biome-ignore format: a table
  it.each<[string, string, bigint, number, number, number | undefined, number]>([
    ['DS from a null selector',                    '8ed9', 0n,             0,             0, undefined, 0],
    ['SS from a null selector',                    '8ed1', 0n,             0,             0, 13, 0],
    ['DS from beyond the table',                   '8ed9', 0n,             0x100,         0, 13, 0x100],
    ['DS from the absent LDT',                     '8ed9', 0n,             0x0c,          0, 13, 0x0c],
    ['DS from a system segment',                   '8ed9', 0n,             SELECTOR.TSS,  0, 13, SELECTOR.TSS],
    ['DS from execute-only code',                  '8ed9', D.executeOnly,  SELECTOR.FREE, 0, 13, SELECTOR.FREE],
    ['DS from an absent segment',                  '8ed9', D.absent,       SELECTOR.FREE, 0, 11, SELECTOR.FREE],
    ['SS from an absent segment',                  '8ed1', D.absent,       SELECTOR.FREE, 0, 12, SELECTOR.FREE],
    ['SS from read-only data',                     '8ed1', D.readOnlyUser, SELECTOR.FREE, 0, 13, SELECTOR.FREE],
    ['SS with another RPL',                        '8ed1', D.data0,        0x6b,          0, 13, 0x68],
    ['DS of level 0 with RPL 3',                   '8ed9', D.data0,        0x6b,          0, 13, 0x68],
    ['DS of level 0 at CPL 3',                     '8ed9', D.data0,        SELECTOR.FREE, 3, 13, SELECTOR.FREE],
    ['DS from read-only data',                     '8ed9', D.readOnlyUser, 0x6b,          3, undefined, 0],
    ['DS from conforming code of level 0 at CPL 3', '8ed9', D.conforming,  0x6b,          3, undefined, 0],
    ['SS of level 0',                              '8ed1', D.data0,        SELECTOR.FREE, 0, undefined, 0],
  ])('%s', (_what, listing, descriptor, selector, cpl, vector, error) => {
    const machine = loading(`${listing}\n ebfe`, descriptor, selector, cpl);

    machine.run(3);

    if (vector === undefined) {
      expect(machine.state.rip).toBe(BigInt((cpl === 0 ? AT.CODE : AT.USER) + 2));
      return;
    }
    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + vector * 16 + 1));
    expect(machine.stack(1, 4)).toEqual([BigInt(error)]);
  });

  it('set the accessed bit in memory', () => {
    const machine = loading('8ed9 ebfe', D.data0);
    machine.run(2);
    expect(machine.memory.read(AT.GDT + SELECTOR.FREE, 8)).toBe(D.data0 | (1n << 40n));
    expect(machine.state.segment('DS').rights).toBe(0xc093);
  });

  it.each([
    ['inside the limit of an expand-down segment', 0xffff, 13],
    ['above it', 0x1_0000, undefined],
  ])('an access %s', (_what, offset, vector) => {
    const machine = loading('8ed9 8a06 ebfe ; mov ds, ecx; mov al, [esi]', D.expandDown);
    machine.state.gpr[6] = BigInt(offset);
    machine.run(3);
    const expected = vector === undefined ? AT.CODE + 4 : AT.HANDLER + 13 * 16 + 1;
    expect(machine.state.rip).toBe(BigInt(expected));
  });

  it('LSS loads a stack in one instruction', () => {
    const machine = new TestMachine()
      .protected32()
      .load(AT.CODE, '0fb225 00000400 ebfe ; lss esp, [40000H]');
    machine.memory.write(AT.DATA, 4, 0x1234_5678n);
    machine.memory.write(AT.DATA + 4, 2, BigInt(SELECTOR.DATA));
    machine.run(1);
    expect(machine.state.gpr[4]).toBe(0x1234_5678n);
    expect(machine.state.segment('SS').selector).toBe(SELECTOR.DATA);
  });
});
