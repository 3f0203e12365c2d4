import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './machine.ts';

const FAULTS = [10, 11, 12, 13] as const;

/** Descriptors at `SELECTOR.FREE` and the slot after. */
function long(listing: string, descriptor = 0n, high = 0n): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, listing);
  return machine.haltingHandlers(...FAULTS).descriptors(descriptor, high);
}

/** A 64-bit far pointer in memory that `listing` goes through. */
function pointer(machine: TestMachine, selector: number, offset: bigint): TestMachine {
  machine.memory.write(AT.DATA, 8, offset);
  machine.memory.write(AT.DATA + 8, 2, BigInt(selector));
  return machine;
}

const JMP = '48ff2c25 00000400';
const CALL = '48ff1c25 00000400';

describe('far transfers in 64-bit mode', () => {
  it('JMP goes to another code segment of the same level', () => {
    const machine = pointer(long(JMP), SELECTOR.CODE64, 0x2_0000n).load(0x2_0000, 'f4');
    machine.run();
    expect(machine.state.rip).toBe(0x2_0001n);
    expect(machine.state.total('farBranches')).toBe(1n);
    expect(machine.state.total('branches')).toBe(1n);
  });

  it('CALL pushes CS and RIP, RETF comes back', () => {
    const machine = pointer(long(`${CALL} f4`), SELECTOR.CODE64, 0x2_0000n).load(0x2_0000, '48cb');
    machine.run(1);
    expect(machine.stack(2)).toEqual([BigInt(AT.CODE + 8), BigInt(SELECTOR.CODE64)]);
    machine.run();
    expect(machine.state.rip).toBe(BigInt(AT.CODE + 9));
    expect(machine.state.gpr[4]).toBe(BigInt(AT.STACK));
  });

  it('JMP to 32-bit code enters compatibility mode, and back', () => {
    const machine = pointer(long(JMP), SELECTOR.CODE32, 0x2_0000n);
    machine.load(0x2_0000, 'b8ffffffff 40 ea 00000300 0800 ; mov eax, -1; inc eax; jmp 08H:30000H');
    machine.load(0x3_0000, '48ffc8 f4 ; dec rax');
    machine.run();
    expect(machine.state.gpr[0]).toBe(0xffff_ffff_ffff_ffffn);
    expect(machine.state.rip).toBe(0x3_0004n);
  });

  // biome-ignore format: a table
  it.each<[string, number, bigint, number, number, (m: TestMachine) => void]>([
    ['a null selector',                           0,               0n,               13, 0,               () => undefined],
    ['a data segment',                            SELECTOR.DATA,   0n,               13, SELECTOR.DATA,   () => undefined],
    ['code of an outer level',                    0x30,            0n,               13, 0x30,            () => undefined],
    ['code that is not present',                  SELECTOR.FREE,   0n,               11, SELECTOR.FREE,   (m) => m.descriptors(0x00af_1b00_0000_ffffn)],
    ['code that is both 64-bit and 32-bit',       SELECTOR.FREE,   0n,               13, SELECTOR.FREE,   (m) => m.descriptors(0x00ef_9b00_0000_ffffn)],
    ['RIP that is not canonical',                 SELECTOR.CODE64, 1n << 47n,        13, 0,               () => undefined],
    ['EIP beyond the limit of 32-bit code',       SELECTOR.FREE,   0x1000n,          13, 0,               (m) => m.descriptors(0x0040_9b00_0000_0fffn)],
    ['a task-state segment',                      SELECTOR.TSS,    0n,               13, SELECTOR.TSS,    () => undefined],
    ['a task gate',                               SELECTOR.FREE,   0n,               13, SELECTOR.FREE,   (m) => m.descriptors(0x0000_8500_0038_0000n)],
    ['a 16-bit call gate',                        SELECTOR.FREE,   0n,               13, SELECTOR.FREE,   (m) => m.descriptors(0x0000_8400_0008_0000n)],
  ])('to %s fault', (_what, selector, offset, vector, error, prepare) => {
    const machine = pointer(long(JMP), selector, offset);
    prepare(machine);
    machine.run();
    expect(machine.handled).toBe(vector);
    expect(machine.stack(2)).toEqual([BigInt(error), BigInt(AT.CODE)]);
  });

  it('CALL through a 64-bit gate to an inner level changes stacks; RETF returns and nulls inner segments', () => {
    const gate = 0x0000_ec00_0008_8000n | (0x1n << 48n); // DPL 3, 08H:18000H
    const machine = long('', gate, 0n).load(AT.USER, `${CALL} ebfe`).load(AT.HANDLER, '48cb');
    const { state } = machine;
    machine.user().atUser();
    pointer(machine, SELECTOR.FREE | 3, 0n);

    machine.run(1);
    expect(state.cpl).toBe(0);
    expect(state.rip).toBe(BigInt(AT.HANDLER));
    expect(machine.stack(4)).toEqual([
      BigInt(AT.USER + 8),
      BigInt(SELECTOR.USER_CODE64),
      BigInt(AT.USER_STACK),
      BigInt(SELECTOR.USER_DATA),
    ]);
    expect(state.segment('SS').selector).toBe(0);

    machine.run(1);
    expect(state.cpl).toBe(3);
    expect(state.gpr[4]).toBe(BigInt(AT.USER_STACK));
    expect(state.segment('DS').rights & 0x1_0000).toBe(0x1_0000);
    expect(machine.modes).toEqual(['cpl 0', 'cpl 3']);
  });

  it('a gate whose upper half has a type is #GP', () => {
    const machine = pointer(long(CALL, 0x0000_8c00_0008_8000n, 1n << 40n), SELECTOR.FREE, 0n);
    machine.run();
    expect(machine.handled).toBe(13);
    expect(machine.stack(1)).toEqual([BigInt(SELECTOR.FREE)]);
  });
});

describe('IRETQ', () => {
  /** IRETQ of a frame: RIP, CS, RFLAGS, RSP, SS. */
  function returning(...frame: bigint[]): TestMachine {
    const machine = long('48cf');
    for (const [i, value] of frame.entries()) machine.memory.write(AT.STACK + i * 8, 8, value);
    return machine;
  }
  const TARGET = 0x2_0000n;
  const CODE64 = BigInt(SELECTOR.CODE64);
  const DATA = BigInt(SELECTOR.DATA);

  it('loads RSP and SS even when the level stays the same', () => {
    const machine = returning(TARGET, CODE64, 2n, 0x7_0000n, DATA).load(0x2_0000, 'f4');
    machine.run();
    expect(machine.state.gpr[4]).toBe(0x7_0000n);
  });

  it('accepts a null SS at CPL 0 in 64-bit mode', () => {
    const machine = returning(TARGET, CODE64, 2n, 0x7_0000n, 0n).load(0x2_0000, 'f4');
    machine.run();
    expect(machine.state.segment('SS').rights & 0x1_0000).toBe(0x1_0000);
  });

  it('loads IF, IOPL, NT, AC, ID at CPL 0, and never VM in IA-32e mode', () => {
    const machine = returning(TARGET, CODE64, 0x27_7202n, 0x7_0000n, DATA).load(0x2_0000, 'f4');
    machine.run();
    expect(machine.cpu.core.rflags).toBe(0x24_7202n);
  });

  // biome-ignore format: a table
  it.each<[string, bigint[], number, number]>([
    ['RIP is not canonical',            [1n << 63n, CODE64, 2n, 0n, DATA],           13, 0],
    ['CS is null',                      [TARGET, 0n, 2n, 0n, DATA],                  13, 0],
    ['CS is data',                      [TARGET, DATA, 2n, 0n, DATA],                13, 0x10],
    ['CS has an RPL of another level',  [TARGET, 0x0bn, 2n, 0n, DATA],               13, 0x08],
    ['SS is null for CPL 3',            [TARGET, 0x33n, 2n, 0n, 3n],                 13, 0],
    ['SS is of level 0 for CPL 3',      [TARGET, 0x33n, 2n, 0n, 0x13n],              13, 0x10],
    ['SS has another RPL',              [TARGET, 0x33n, 2n, 0n, 0x28n],              13, 0x28],
  ])('faults when %s', (_what, frame, vector, error) => {
    const machine = returning(...frame);
    machine.run();
    expect(machine.handled).toBe(vector);
    expect(machine.stack(2)).toEqual([BigInt(error), BigInt(AT.CODE)]);
  });

  it('with NT set is #GP(0) in IA-32e mode', () => {
    const machine = returning(TARGET, CODE64, 2n, 0n, DATA);
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x4002n);
    machine.run();
    expect(machine.handled).toBe(13);
  });

  it('unblocks NMIs even when it faults', () => {
    const machine = returning(TARGET, 0n, 2n, 0n, DATA);
    machine.state.set32(STATE.INTERRUPTIBILITY, 8);
    machine.run();
    expect(machine.handled).toBe(13);
    expect(machine.state.get32(STATE.INTERRUPTIBILITY)).toBe(0);
  });
});

describe('32-bit call gates', () => {
  it('copy parameters to the inner stack, and RET n releases them from both', () => {
    const machine = new TestMachine().protected32();
    const { state } = machine;
    machine.descriptors(0x0001_ec02_0018_8000n); // DPL 3, two parameters, 18H:18000H
    machine.load(AT.USER, '6a07 6a08 9a 00000000 6b00 ebfe ; push 7; push 8; call 6bH:0');
    machine.load(AT.HANDLER, '8b442408 ca0800 ; mov eax, [esp + 8]; retf 8');
    machine.user(32).atUser();

    machine.run(3);
    expect(state.cpl).toBe(0);
    expect(machine.stack(6, 4)).toEqual([
      BigInt(AT.USER + 11),
      BigInt(SELECTOR.USER_CODE32),
      8n,
      7n,
      BigInt(AT.USER_STACK - 8),
      BigInt(SELECTOR.USER_DATA),
    ]);

    machine.run(2);
    expect(state.gpr[0]).toBe(8n);
    expect(state.cpl).toBe(3);
    expect(state.gpr[4]).toBe(BigInt(AT.USER_STACK));
  });
});

it('IRETQ and far JMP to the instruction behind them go on there', () => {
  const machine = new TestMachine().long().load(
    AT.CODE,
    `4889e3 6a10 53 9c 6a08 488d0503000000 50 48cf ; the frame; iretq
     49ffc0 ; inc r8
     488d051a000000 48890425 00000400 66c70425 08000400 0800 ; [40000H] = 08H:here
     48ff2c25 00000400 ; jmp far [40000H]
     49ffc0 f4 ; here: inc r8; hlt`,
  );
  machine.run();
  expect(machine.state.gpr[8]).toBe(2n);
});

describe('hardware task switches', () => {
  const OTHER = 0xc_0000;
  const OTHER_SELECTOR = SELECTOR.FREE;

  /** A second task at `OTHER` that runs 18H:20000H. */
  function withTask(listing: string): TestMachine {
    const machine = new TestMachine().protected32().load(AT.CODE, listing);
    machine.memory.write(AT.GDT + OTHER_SELECTOR, 8, 0x0000_890c_0000_0067n);
    const put = (offset: number, value: number) =>
      machine.memory.write(OTHER + offset, 4, BigInt(value));
    put(0x20, 0x2_0000);
    put(0x24, 2);
    put(0x28, 0x1111_1111);
    put(0x38, AT.USER_STACK);
    for (const [i, selector] of [0x10, 0x18, 0x10, 0x10, 0, 0].entries())
      put(0x48 + i * 4, selector);
    for (const vector of [10, 11, 12, 13]) {
      machine.gate32(vector, AT.HANDLER + vector * 16).load(AT.HANDLER + vector * 16, 'f4');
    }
    return machine;
  }
  const CALL_TASK = '9a 00000000 6800 f4';
  const busy = (machine: TestMachine, selector: number) =>
    (machine.memory.read(AT.GDT + selector + 5, 1) & 2n) !== 0n;

  it('CALL nests: the old task stays busy, NT is set, the link leads back, IRET returns', () => {
    const machine = withTask(CALL_TASK).load(0x2_0000, 'cf');

    machine.run(1);
    const { state } = machine;
    expect(state.rip).toBe(0x2_0000n);
    expect(state.gpr[0]).toBe(0x1111_1111n);
    expect(state.gpr[4]).toBe(BigInt(AT.USER_STACK));
    expect(state.get(STATE.RFLAGS_SYSTEM) & 0x4000n).toBe(0x4000n);
    expect(state.get(STATE.CR0) & 8n).toBe(8n);
    expect(machine.memory.read(OTHER, 2)).toBe(BigInt(SELECTOR.TSS));
    expect([busy(machine, SELECTOR.TSS), busy(machine, OTHER_SELECTOR)]).toEqual([true, true]);
    expect(machine.memory.read(AT.TSS + 0x20, 4)).toBe(BigInt(AT.CODE + 7));

    machine.run();
    expect(state.rip).toBe(BigInt(AT.CODE + 8));
    expect(state.segment('TR').selector).toBe(SELECTOR.TSS);
    expect([busy(machine, SELECTOR.TSS), busy(machine, OTHER_SELECTOR)]).toEqual([true, false]);
    expect(state.get(STATE.RFLAGS_SYSTEM) & 0x4000n).toBe(0n);
  });

  it('JMP leaves the old task available, without NT', () => {
    const machine = withTask('ea 00000000 6800').load(0x2_0000, 'f4');
    machine.run();
    expect(machine.state.rip).toBe(0x2_0001n);
    expect([busy(machine, SELECTOR.TSS), busy(machine, OTHER_SELECTOR)]).toEqual([false, true]);
    expect(machine.state.get(STATE.RFLAGS_SYSTEM) & 0x4000n).toBe(0n);
  });

  it('an exception through a task gate pushes its error code on the new stack', () => {
    const machine = withTask('0f22d8 8ed9 ; mov cr3, eax; mov ds, ecx').load(0x2_0000, 'f4');
    machine.state.gpr[1] = 0x100n;
    machine.gate32(13, 0, { type: 5, selector: OTHER_SELECTOR });
    machine.run();
    expect(machine.state.rip).toBe(0x2_0001n);
    expect(machine.stack(1, 4)).toEqual([0x100n]);
    expect(machine.memory.read(AT.TSS + 0x20, 4)).toBe(BigInt(AT.CODE + 3));
    // The old task's EFLAGS has RF, as what a fault pushes.
    expect(machine.memory.read(AT.TSS + 0x24, 4)).toBe(0x1_0002n);
  });

  // biome-ignore format: a table
  it.each<[string, number, number, (m: TestMachine) => void, 'old' | 'new']>([
    ['a busy task',                              13, OTHER_SELECTOR, (m) => m.memory.write(AT.GDT + OTHER_SELECTOR + 5, 1, 0x8bn), 'old'],
    ['a task that is not present',               11, OTHER_SELECTOR, (m) => m.memory.write(AT.GDT + OTHER_SELECTOR + 5, 1, 0x09n), 'old'],
    ['a TSS that is too short',                  10, OTHER_SELECTOR, (m) => m.memory.write(AT.GDT + OTHER_SELECTOR, 2, 0x66n),     'old'],
    ['a task whose CS is data',                  10, SELECTOR.DATA,  (m) => m.memory.write(OTHER + 0x4c, 2, 0x10n),               'new'],
    ['a task whose SS is null',                  10, 0,              (m) => m.memory.write(OTHER + 0x50, 2, 0n),                  'new'],
    ['a task whose LDT is no LDT',               10, 0x10,           (m) => m.memory.write(OTHER + 0x60, 2, 0x10n),               'new'],
    ['a task whose DS is beyond the table',      10, 0x100,          (m) => m.memory.write(OTHER + 0x54, 2, 0x100n),              'new'],
  ])('to %s fault', (_what, vector, error, prepare, where) => {
    const machine = withTask(CALL_TASK);
    prepare(machine);
    // A faulting task may have no stack: its faults go to the first TSS's handler through a task gate.
    if (where === 'new') {
      const handler = 0xd_0000;
      machine.memory.write(AT.GDT + 0x70, 8, 0x0000_890d_0000_0067n);
      for (const [offset, value] of [[0x20, 0x3_0000], [0x24, 2], [0x38, AT.STACK0], [0x4c, 0x18], [0x50, 0x10]] as const) {
        machine.memory.write(handler + offset, 4, BigInt(value));
      }
      machine.load(0x3_0000, 'f4').gate32(vector, 0, { type: 5, selector: 0x70 });
    }
    machine.run();
    expect(machine.stack(1, 4)).toEqual([BigInt(error)]);
    if (where === 'old') {
      expect(machine.state.rip).toBe(BigInt(AT.HANDLER + vector * 16 + 1));
      expect(machine.state.segment('TR').selector).toBe(SELECTOR.TSS);
    } else {
      expect(machine.state.rip).toBe(0x3_0001n);
      expect(machine.memory.read(0xd_0000, 2)).toBe(BigInt(OTHER_SELECTOR));
      expect(machine.memory.read(OTHER + 0x20, 4)).toBe(0x2_0000n);
    }
  });

  it('with the T bit of the new TSS set end in a debug trap', () => {
    const machine = withTask(CALL_TASK);
    machine.memory.write(OTHER + 0x64, 2, 1n);
    machine.gate32(1, AT.HANDLER).load(AT.HANDLER, 'f4');
    machine.run();
    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 1));
    expect(machine.state.get(STATE.DR + 48)).toBe(0xffff_8ff0n);
  });
});
