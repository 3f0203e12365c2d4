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
});

describe('a triple fault', () => {
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
