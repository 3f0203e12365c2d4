import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './machine.ts';

const INT_80 = 'cd80';
const RF = 0x1_0000n;

/** A machine at CPL 3 in 64-bit code at `AT.USER`. */
const user = (listing: string) => new TestMachine().long().load(AT.USER, listing).user().atUser();

describe('delivery through the 64-bit IDT', () => {
  it('pushes SS, RSP, RFLAGS, CS and RIP on the current stack, aligned to 16 bytes', () => {
    const machine = new TestMachine().long().load(AT.CODE, INT_80).haltingHandlers(0x80);
    machine.state.gpr[4] = BigInt(AT.STACK - 4);

    machine.run();

    expect(machine.state.gpr[4]).toBe(BigInt(AT.STACK - 16 - 40));
    expect(machine.stack(5)).toEqual([
      BigInt(AT.CODE + 2),
      BigInt(SELECTOR.CODE64),
      2n,
      BigInt(AT.STACK - 4),
      BigInt(SELECTOR.DATA),
    ]);
  });

  it('pushes the error code of a fault below RIP, RIP at the instruction and RF set', () => {
    const machine = new TestMachine().long().haltingHandlers(13);
    machine.load(AT.CODE, '0f22 d8 ; mov cr3, rax');
    machine.state.gpr[0] = 1n << 60n;

    machine.run();

    expect(machine.handled).toBe(13);
    expect(machine.stack(4)).toEqual([0n, BigInt(AT.CODE), BigInt(SELECTOR.CODE64), RF | 2n]);
  });

  it.each([
    ['an interrupt gate clears IF', 14, 0n],
    ['a trap gate leaves IF', 15, 0x200n],
  ])('%s', (_what, type, flag) => {
    const machine = new TestMachine().long().load(AT.CODE, INT_80).load(AT.HANDLER, 'f4');
    machine.gate(0x80, AT.HANDLER, { type });
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x202n);

    machine.run();

    expect(machine.state.get(STATE.RFLAGS_SYSTEM) & 0x200n).toBe(flag);
  });

  it('goes to RSP0 from CPL 3, with SS null at the new level', () => {
    const machine = user(INT_80).load(AT.HANDLER, 'f4');
    machine.gate(0x80, AT.HANDLER, { dpl: 3 });

    machine.run();

    expect(machine.state.cpl).toBe(0);
    expect(machine.state.segment('SS')).toMatchObject({ selector: 0, rights: 0x1_0000 });
    expect(machine.state.gpr[4]).toBe(BigInt(AT.STACK0 - 40));
    expect(machine.stack(5)).toEqual([
      BigInt(AT.USER + 2),
      BigInt(SELECTOR.USER_CODE64),
      2n,
      BigInt(AT.USER_STACK),
      BigInt(SELECTOR.USER_DATA),
    ]);
    expect(machine.modes).toEqual(['cpl 0', 'halted']);
  });

  it('goes to the interrupt stack that the gate names, whatever the level', () => {
    const machine = new TestMachine().long().load(AT.CODE, INT_80).load(AT.HANDLER, 'f4');
    machine.gate(0x80, AT.HANDLER, { ist: 1 });

    machine.run();

    expect(machine.state.gpr[4]).toBe(BigInt(AT.IST1 - 40));
  });

  it('returns by IRETQ to where it came from', () => {
    const machine = user('cd80 90 ebfd ; int 80h, nop, jmp $-1').load(AT.HANDLER, '48cf');
    machine.gate(0x80, AT.HANDLER, { dpl: 3 });

    machine.run(3);

    expect(machine.state.cpl).toBe(3);
    expect(machine.state.rip).toBe(BigInt(AT.USER + 3));
    expect(machine.state.gpr[4]).toBe(BigInt(AT.USER_STACK));
    expect(machine.modes).toEqual(['cpl 0', 'cpl 3']);
  });
});

describe('what goes wrong in delivery is #GP, #NP, #SS or #TS with the culprit as its error code', () => {
  const named = 0x80 * 8 + 2;

  // biome-ignore format: a table
  it.each<[string, number, number, (machine: TestMachine) => void]>([
    ['the vector is outside the IDT',            13, named,           (m) => m.state.set32(STATE.IDTR_LIMIT, 0x80 * 16 - 1)],
    ['the gate is a call gate',                  13, named,           (m) => m.gate(0x80, AT.HANDLER, { type: 12 })],
    ['the gate is a task gate',                  13, named,           (m) => m.gate(0x80, AT.HANDLER, { type: 5 })],
    ['the gate is not present',                  11, named,           (m) => m.gate(0x80, AT.HANDLER, { present: false })],
    ['the handler\'s selector is null',          13, 0,               (m) => m.gate(0x80, AT.HANDLER, { selector: 0 })],
    ['the selector is outside the GDT',          13, 0x100,           (m) => m.gate(0x80, AT.HANDLER, { selector: 0x100 })],
    ['the selector is of the absent LDT',        13, 0x0c,            (m) => m.gate(0x80, AT.HANDLER, { selector: 0x0c })],
    ['the handler is in a data segment',         13, SELECTOR.DATA,   (m) => m.gate(0x80, AT.HANDLER, { selector: SELECTOR.DATA })],
    ['the handler is in 32-bit code',            13, SELECTOR.CODE32, (m) => m.gate(0x80, AT.HANDLER, { selector: SELECTOR.CODE32 })],
    ['the handler is at a lower privilege',      13, 0x30,            (m) => m.gate(0x80, AT.HANDLER, { selector: 0x30 })],
    ['the handler\'s segment is not present',    11, SELECTOR.FREE,   (m) => { m.gate(0x80, AT.HANDLER, { selector: SELECTOR.FREE }); m.descriptors(0x00af_1b00_0000_ffffn); }],
    ['RIP in the gate is not canonical',         13, 0,               (m) => { m.gate(0x80, AT.HANDLER); m.memory.write(AT.IDT + 0x808, 4, 0x8000n); }],
    ['the TSS is too short for the stack',       10, SELECTOR.TSS,    (m) => { m.gate(0x80, AT.HANDLER, { ist: 7 }); m.state.setSegment('TR', { ...m.state.segment('TR'), limit: 0x50 }); }],
    ['the new stack pointer is not canonical',   12, 0,               (m) => { m.gate(0x80, AT.HANDLER, { ist: 1 }); m.memory.write(AT.TSS + 0x2a, 2, 0x8000n); }],
  ])('%s', (_what, vector, error, prepare) => {
    const machine = new TestMachine().long().load(AT.CODE, INT_80);
    prepare(machine);
    machine.load(AT.HANDLER + 0x1000, 'f4').gate(vector, AT.HANDLER + 0x1000);

    machine.run();

    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 0x1001));
    expect(machine.stack(2)).toEqual([BigInt(error), BigInt(AT.CODE)]);
  });

  it('INT n to a gate of higher privilege is #GP, while the same vector from outside is delivered', () => {
    const machine = user(INT_80).haltingHandlers(0x80, 13);
    machine.run();
    expect(machine.handled).toBe(13);
    expect(machine.stack(1)).toEqual([BigInt(named)]);

    const other = user('90 90').haltingHandlers(0x80, 13);
    other.state.set(STATE.RFLAGS_SYSTEM, 0x202n);
    other.vectors = [0x80];
    other.run();
    expect(other.handled).toBe(0x80);
  });

  it('sets EXT when what was being delivered came from outside the program', () => {
    const machine = new TestMachine().long().load(AT.CODE, '90').haltingHandlers(11);
    machine.gate(0x80, AT.HANDLER, { present: false });
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x202n);
    machine.vectors = [0x80];

    machine.run();

    expect(machine.handled).toBe(11);
    expect(machine.stack(1)).toEqual([BigInt(named + 1)]);
  });
});

describe('a stack that is not mapped', () => {
  it('faults at the first word that would be pushed on it', () => {
    const machine = new TestMachine().long().load(AT.CODE, INT_80).gate(0x80, AT.HANDLER);
    machine.load(AT.HANDLER + 0x100, 'f4').gate(14, AT.HANDLER + 0x100, { ist: 1 });
    machine.state.gpr[4] = 0x1000_0000n;

    machine.run();

    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 0x101));
    expect(machine.state.get(STATE.CR2)).toBe(0x0fff_fff8n);
    expect(machine.stack(2)).toEqual([2n, BigInt(AT.CODE)]);
  });
});

describe('a fault in the delivery of a fault', () => {
  // Vol. 3, table "Conditions for Generating a Double Fault": first, second, what is delivered.
  // biome-ignore format: a table
  const FIRST: Readonly<Record<string, readonly [listing: string, vector: number]>> = {
    benign:       ['0f0b', 6],
    contributory: ['f7f1 ; div ecx', 0],
    'page fault': ['48a1 0000 0000 1000 0000 ; mov rax, [10000000H]', 14],
  };
  const BROKEN: Readonly<Record<string, (machine: TestMachine, vector: number) => void>> = {
    contributory: (machine, vector) => machine.gate(vector, AT.HANDLER, { present: false }),
    'page fault': (machine, vector) => {
      machine.gate(vector, AT.HANDLER, { ist: 2 });
      machine.memory.write(AT.TSS + 0x2c, 8, 0x1000_0000n);
    },
  };
  const SECOND: Readonly<Record<string, number>> = { contributory: 11, 'page fault': 14 };

  it.each([
    ['benign', 'contributory', 'contributory'],
    ['benign', 'page fault', 'page fault'],
    ['contributory', 'contributory', 'double'],
    ['contributory', 'page fault', 'page fault'],
    ['page fault', 'contributory', 'double'],
    ['page fault', 'page fault', 'double'],
  ])('%s, then %s: %s', (first, second, delivered) => {
    const [listing, vector] = FIRST[first]!;
    const machine = new TestMachine().long().load(AT.CODE, listing);
    // A page fault cannot have two gates, so the second one goes through the first's and doubles.
    machine.haltingHandlers(8, ...[11, 14].filter((other) => other !== vector));
    BROKEN[second]!(machine, vector);

    machine.run();

    expect(machine.handled).toBe(delivered === 'double' ? 8 : SECOND[delivered]);
    if (delivered === 'double') expect(machine.stack(2)).toEqual([0n, BigInt(AT.CODE)]);
  });
});
