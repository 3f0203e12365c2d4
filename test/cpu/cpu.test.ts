import { describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './system/machine.ts';

const IF = 0x200n;

describe('the run loop', () => {
  it('runs to the budget, one tick an instruction', () => {
    const machine = new TestMachine()
      .long()
      .load(AT.CODE, '48ffc0  ebfb ; again: inc rax, jmp again');

    expect(machine.run(100)).toEqual({ reason: 'budget' });

    expect(machine.state.total('ticks')).toBe(100n);
    expect(machine.state.total('instructions')).toBe(100n);
    expect(machine.state.gpr[0]).toBe(50n);
  });

  it('never lets a slice pass the horizon', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'ebfe ; jmp $');
    const seen: bigint[] = [];
    machine.horizon = () => 7;
    machine.boundary = () => seen.push(machine.state.total('ticks'));

    machine.run(20);

    expect(seen).toEqual([7n, 14n, 20n]);
  });

  it('halts for ever with interrupts off and says so', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'fa f4 ; cli, hlt');

    expect(machine.run()).toEqual({ reason: 'halted' });

    expect(machine.state.total('halts')).toBe(1n);
    expect(machine.state.total('instructions')).toBe(2n);
    expect(machine.state.rip).toBe(BigInt(AT.CODE + 2));
  });

  it('skips halted time to the deadline that wakes it, counting no unhalted ticks', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'fb f4 90 f4 ; sti, hlt, nop, hlt');
    machine.gate(0x40, AT.HANDLER).load(AT.HANDLER, '48cf ; iretq');
    machine.horizon = () => 1000;
    machine.boundary = () => {
      if (machine.state.total('ticks') >= 1000n && machine.inService.length === 0) {
        machine.vectors = [0x40];
      }
    };

    machine.run(2000);

    expect(machine.inService).toEqual([0x40]);
    // STI, HLT, IRETQ, NOP, HLT
    expect(machine.state.total('instructions')).toBe(5n);
    expect(machine.state.total('unhaltedTicks')).toBe(5n);
    expect(machine.modes).toEqual(['halted', 'cpl 0', 'halted']);
  });

  it('wakes before the instruction after HLT, with RIP behind it', () => {
    const machine = new TestMachine()
      .long()
      .load(AT.CODE, 'fb f4 ; sti, hlt')
      .haltingHandlers(0x40);
    machine.horizon = () => 10;
    machine.boundary = () => {
      if (machine.state.total('halts') === 1n) machine.vectors = [0x40];
    };

    machine.run(100);

    expect(machine.handled).toBe(0x40);
    expect(machine.stack(1)).toEqual([BigInt(AT.CODE + 2)]);
  });

  it('tells a watcher before each execution of an instruction, and stops telling', () => {
    const machine = new TestMachine().long().load(AT.CODE, '48ffc0 ebfb');
    const seen: bigint[] = [];
    const end = machine.cpu.watch(BigInt(AT.CODE), () => seen.push(machine.state.gpr[0]!));

    machine.run(6);
    end();
    machine.run(6);

    expect(seen).toEqual([0n, 1n, 2n]);
  });
});

describe('interrupts between instructions', () => {
  it('takes an external interrupt only with IF set', () => {
    const machine = new TestMachine().long().load(AT.CODE, '90 90 fb 90 90').haltingHandlers(0x30);
    machine.vectors = [0x30];

    machine.run();

    expect(machine.handled).toBe(0x30);
    // STI holds the interrupt off for one more instruction.
    expect(machine.stack(3)).toEqual([BigInt(AT.CODE + 4), BigInt(SELECTOR.CODE64), IF | 2n]);
    expect(machine.state.get(STATE.RFLAGS_SYSTEM) & IF).toBe(0n);
  });

  it('takes an NMI before a maskable interrupt, and blocks further NMIs until IRET', () => {
    const machine = new TestMachine().long().load(AT.CODE, '90 90 ; nop, nop');
    machine.gate(2, AT.HANDLER + 0x1000).load(AT.HANDLER + 0x1000, '90 48cf ; nop, iretq');
    machine.haltingHandlers(0x30);
    machine.state.set(STATE.RFLAGS_SYSTEM, IF | 2n);
    machine.vectors = [0x30];
    machine.nmi = true;
    machine.run(1);
    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 0x1001));

    machine.nmi = true;
    machine.run(1);
    expect(machine.nmi).toBe(true);
    expect(machine.state.rip).toBe(BigInt(AT.CODE));

    machine.run(1);
    expect(machine.nmi).toBe(false);
    expect(machine.state.rip).toBe(BigInt(AT.HANDLER + 0x1001));
    expect(machine.inService).toEqual([]);
    expect(machine.state.total('hardwareInterrupts')).toBe(2n);
  });

  it('holds everything off for one instruction after MOV SS', () => {
    const machine = new TestMachine().long().haltingHandlers(2);
    machine.load(AT.CODE, '8ed1 90 90 ; mov ss, ecx; nop; nop');
    machine.state.gpr[1] = BigInt(SELECTOR.DATA);
    machine.run(1);
    machine.nmi = true;

    machine.run();

    expect(machine.handled).toBe(2);
    expect(machine.stack(1)).toEqual([BigInt(AT.CODE + 3)]);
  });

  it('holds nothing off any longer than that, however long the slice that MOV SS is in', () => {
    const machine = new TestMachine().long().haltingHandlers(2);
    machine.load(AT.CODE, '8ed1 90 90 90 90 ; mov ss, ecx; four nops');
    machine.state.gpr[1] = BigInt(SELECTOR.DATA);
    machine.run(3);
    machine.nmi = true;

    machine.run();

    expect(machine.handled).toBe(2);
    expect(machine.stack(1)).toEqual([BigInt(AT.CODE + 4)]);
  });
});

describe('MWAIT', () => {
  it('after MONITOR lets time pass to the next deadline, unhalted ticks standing still', () => {
    const machine = new TestMachine().long();
    machine.load(AT.CODE, '0f01c8 0f01c9 90 ebfe ; monitor; mwait; nop; jmp $');
    machine.state.gpr[0] = BigInt(AT.DATA);
    machine.horizon = () => 500;

    machine.run(503);

    expect(machine.state.total('unhaltedTicks')).toBe(3n);
    expect(machine.state.rip).toBe(BigInt(AT.CODE + 7));
    expect(machine.state.total('halts')).toBe(0n);
    expect(machine.modes).toEqual(['halted', 'cpl 0']);
  });

  it('goes on at once when no deadline is armed', () => {
    const machine = new TestMachine().long().load(AT.CODE, '0f01c8 0f01c9 90 f4');
    machine.state.gpr[0] = BigInt(AT.DATA);
    machine.run(Infinity);
    expect(machine.state.total('instructions')).toBe(4n);
  });
});

describe('priority between two instructions', () => {
  it('is debug trap, NMI, external interrupt, instruction breakpoint, fault of the instruction', () => {
    const machine = new TestMachine().long().load(AT.CODE, '90 90 0f0b ; nop; nop; ud2');
    machine.haltingHandlers(1, 2, 6, 0x30);
    // Whoever handles #DB goes on without TF and with RF.
    machine.load(AT.HANDLER + 16, '48c7442410 02020100 48cf ; mov qword [rsp + 16], 10202H; iretq');
    machine.load(AT.HANDLER + 2 * 16, '48cf').load(AT.HANDLER + 0x30 * 16, '48cf');
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x302n);
    machine.state.set(STATE.DR, BigInt(AT.CODE + 2));
    machine.state.set(STATE.DR + 56, 0x401n);
    machine.cpu.core.engine.debugChanged();
    // The shadow of MOV SS keeps all of them pending until the first NOP is done.
    machine.state.set32(STATE.INTERRUPTIBILITY, 2);
    machine.nmi = true;
    machine.vectors = [0x30];

    machine.run();

    // The NMI comes before the first instruction of the debug handler, to which its IRET then returns.
    expect(machine.delivered).toEqual([1, 2, 1, 0x30, 1, 6]);
  });

  it('puts INIT first, which restarts the bootstrap processor at the reset vector', () => {
    const machine = new TestMachine().long().load(AT.CODE, '90 90').haltingHandlers(2);
    machine.signal = 'INIT';
    machine.nmi = true;
    machine.state.set(STATE.IDTR_BASE, 0x1234n);
    machine.state.set(STATE.LSTAR, 0x5678n);
    machine.state.set(STATE.XCR0, 3n);

    machine.run(1);

    expect(machine.state.get(STATE.CR0)).toBe(0x10n);
    expect(machine.state.get(STATE.IDTR_BASE)).toBe(0n);
    // MSRs and XCR0 live through it.
    expect(machine.state.get(STATE.LSTAR)).toBe(0x5678n);
    expect(machine.state.get(STATE.XCR0)).toBe(3n);
    expect(machine.signal).toBeUndefined();
  });
});

describe('a snapshot', () => {
  it('goes on exactly as the machine it was taken from', () => {
    const machine = new TestMachine().long().load(AT.CODE, '48ffc0 ebfb');
    machine.run(7);
    const saved = structuredClone(machine.cpu.save());
    machine.run(10);
    const later = machine.cpu.save();

    machine.cpu.restore(saved);
    expect(machine.state.gpr[0]).toBe(4n);
    machine.run(10);

    expect(machine.cpu.save()).toEqual(later);
  });
});

describe('a triple fault', () => {
  const ABSENT = { present: false };

  // biome-ignore format: a table
  it.each<[string, string, (m: TestMachine) => void]>([
    ['an empty IDT',                                 '0f0b',      (m) => m.state.set32(STATE.IDTR_LIMIT, 0)],
    ['an IDT that is not mapped',                    '0f0b',      (m) => m.state.set(STATE.IDTR_BASE, 0x1000_0000n)],
    ['an IDT base that is not canonical',            '0f0b',      (m) => m.state.set(STATE.IDTR_BASE, 1n << 47n)],
    ['absent gates',                                 '0f0b',      (m) => [6, 8, 11].forEach((v) => void m.gate(v, AT.HANDLER, ABSENT))],
    ['gates of no interrupt type',                   '0f0b',      (m) => [6, 8, 13].forEach((v) => void m.gate(v, AT.HANDLER, { type: 12 }))],
    ['handlers in null segments',                    '0f0b',      (m) => [6, 8, 13].forEach((v) => void m.gate(v, AT.HANDLER, { selector: 0 }))],
    ['handlers in 32-bit code',                      '0f0b',      (m) => [6, 8, 13].forEach((v) => void m.gate(v, AT.HANDLER, { selector: SELECTOR.CODE32 }))],
    ['a GDT that is not mapped',                     '0f0b',      (m) => { m.haltingHandlers(6, 8, 13, 14); m.state.set(STATE.GDTR_BASE, 0x1000_0000n); }],
    ['a stack that is not mapped',                   '0f0b',      (m) => { m.haltingHandlers(6, 8, 13, 14); m.state.gpr[4] = 0x1000_0000n; }],
    ['a stack pointer that is not canonical',        '0f0b',      (m) => { m.haltingHandlers(6, 8, 12); m.state.gpr[4] = 1n << 47n; }],
    ['interrupt stacks that are not mapped',         '0f0b',      (m) => { [6, 8, 14].forEach((v) => void m.gate(v, AT.HANDLER, { ist: 3 })); m.memory.write(AT.TSS + 0x34, 8, 0x1000_0000n); }],
    ['a page table that is gone',                    '0f22d8',    (m) => { m.haltingHandlers(6, 8, 13, 14); m.state.gpr[0] = 0x1f_f000n; }],
    ['a TSS too short for a double fault\'s stack',  '0f0b',      (m) => { m.gate(8, AT.HANDLER, { ist: 7 }).gate(6, AT.HANDLER, ABSENT).gate(11, AT.HANDLER, ABSENT); m.state.setSegment('TR', { ...m.state.segment('TR'), limit: 0x50 }); }],
  ])('comes from %s', (_what, listing, prepare) => {
    const machine = new TestMachine().long().load(AT.CODE, listing);
    prepare(machine);

    const stop = machine.run();

    expect(stop.reason).toBe('shutdown');
    expect(machine.run().reason).toBe('shutdown');
    if (stop.reason === 'shutdown') {
      expect(stop.faults.length).toBeGreaterThanOrEqual(2);
      expect(stop.faults[0]?.rip).toBe(machine.state.rip);
    }
  });

  it('ends the run with the chain of exceptions', () => {
    const machine = new TestMachine().long().load(AT.CODE, '0f0b ; ud2');
    machine.state.set32(STATE.IDTR_LIMIT, 0);

    const stop = machine.run();

    expect(stop).toMatchObject({
      reason: 'shutdown',
      faults: [
        { vector: 6, rip: BigInt(AT.CODE) },
        { vector: 13, code: 6 * 8 + 2 + 1 },
        { vector: 13, code: 13 * 8 + 2 + 1 },
        { vector: 13, code: 8 * 8 + 2 + 1 },
      ],
    });
  });
});
