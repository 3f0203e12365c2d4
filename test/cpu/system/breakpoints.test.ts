import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './machine.ts';

const TF = 0x100n;
const RF = 0x1_0000n;
const DR6 = STATE.DR + 48;
const DR7 = STATE.DR + 56;
const BS = 0x4000n;
const BD = 0x2000n;
const DR6_NONE = 0xffff_0ff0n;

function armed(listing: string, dr0: number, dr7: bigint): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, listing).haltingHandlers(1, 6, 13);
  machine.state.set(STATE.DR, BigInt(dr0));
  machine.state.set(DR7, 0x400n | dr7);
  machine.cpu.core.engine.debugChanged();
  return machine;
}

describe('single-stepping', () => {
  it('traps after the instruction that TF was set before, with DR6.BS and TF clear in the handler', () => {
    const machine = new TestMachine().long().load(AT.CODE, '90 90').haltingHandlers(1);
    machine.state.set(STATE.RFLAGS_SYSTEM, TF | 2n);

    machine.run();

    expect(machine.handled).toBe(1);
    expect(machine.state.get(DR6)).toBe(DR6_NONE | BS);
    expect(machine.stack(3)).toEqual([BigInt(AT.CODE + 1), BigInt(SELECTOR.CODE64), TF | 2n]);
    expect(machine.state.get(STATE.RFLAGS_SYSTEM) & TF).toBe(0n);
  });

  it('begins one instruction after the POPF that sets TF', () => {
    const machine = new TestMachine().long().haltingHandlers(1);
    machine.load(
      AT.CODE,
      '9c 810c2400010000 9d 90 90 ; pushf; or dword [rsp], 100H; popf; nop; nop',
    );

    machine.run();

    expect(machine.stack(1)).toEqual([BigInt(AT.CODE + 10)]);
  });

  it('does not trap in the handler of INT n, and an exception comes without it', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'cd80').haltingHandlers(1, 0x80);
    machine.state.set(STATE.RFLAGS_SYSTEM, TF | 2n);
    machine.run();
    expect(machine.handled).toBe(0x80);

    const other = new TestMachine().long().load(AT.CODE, '0f0b').haltingHandlers(1, 6);
    other.state.set(STATE.RFLAGS_SYSTEM, TF | 2n);
    other.run();
    expect(other.handled).toBe(6);
    expect(other.stack(3)[2]).toBe(TF | RF | 2n);
  });

  it('traps once for each iteration of a repeated instruction', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'f3aa 90 ; rep stosb; nop');
    machine.gate(1, AT.HANDLER).load(AT.HANDLER, '49ffc0 48cf ; inc r8; iretq');
    machine.state.set(STATE.RFLAGS_SYSTEM, TF | 2n);
    machine.state.gpr[1] = 3n;
    machine.state.gpr[7] = BigInt(AT.DATA);

    machine.run(12);

    expect(machine.state.gpr[8]).toBe(4n);
    expect(machine.state.rip).toBe(BigInt(AT.CODE + 3));
  });

  it('waits behind the shadow of MOV SS', () => {
    const machine = new TestMachine().long().load(AT.CODE, '8ed1 90 90').haltingHandlers(1);
    machine.state.set(STATE.RFLAGS_SYSTEM, TF | 2n);
    machine.state.gpr[1] = BigInt(SELECTOR.DATA);

    machine.run();

    expect(machine.stack(1)).toEqual([BigInt(AT.CODE + 3)]);
  });
});

describe('the shadow of MOV SS', () => {
  const MOV_SS = '8ed1';
  /** mov ss, [DATA]: with a breakpoint on DATA, which waits until after the next instruction. */
  const MOV_SS_MEMORY = '8e1425 00000400';
  const ACCESS_2 = 1n | (0b0111n << 16n);

  function shadowed(listing: string, dr0: number, dr7: bigint, flags = 2n): TestMachine {
    const machine = armed(`${listing}`, dr0, dr7).haltingHandlers(3);
    machine.state.gpr[1] = BigInt(SELECTOR.DATA);
    machine.memory.write(AT.DATA, 2, BigInt(SELECTOR.DATA));
    machine.state.set(STATE.RFLAGS_SYSTEM, flags);
    machine.run();
    return machine;
  }

  it('suppresses a breakpoint on the next instruction, and only on that', () => {
    expect(shadowed(`${MOV_SS} 90 f4`, AT.CODE + 2, 1n).handled).toBeUndefined();
    expect(shadowed(`${MOV_SS} 90 90 f4`, AT.CODE + 3, 1n).handled).toBe(1);
  });

  it('suppresses the single-step trap of MOV SS itself: INT3 behind it goes to its handler', () => {
    const machine = shadowed(`${MOV_SS} cc`, 0, 0n, 2n | TF);
    expect([machine.handled, machine.delivered]).toEqual([3, [3]]);
  });

  it.each([
    ['INT3', 'cc', 3],
    ['UD2', '0f0b', 6],
  ])(
    'holds a data breakpoint of MOV SS back until %s behind it is delivered',
    (_name, next, vector) => {
      const machine = shadowed(`${MOV_SS_MEMORY} ${next}`, AT.DATA, ACCESS_2);
      expect(machine.delivered).toEqual([vector, 1]);
      expect(machine.stack(1)).toEqual([BigInt(AT.HANDLER + vector * 16)]);
      expect(machine.state.get(DR6)).toBe(DR6_NONE | 1n);
    },
  );
});

describe('RF between two iterations of a repeated instruction', () => {
  const REP_STOSB = 'f3aa f4';
  /** REP STOSB five times, and something that happens before it is done; the flags that are pushed. */
  function pushed(vector: number, happen: (machine: TestMachine) => void, before = 2): bigint {
    const machine = new TestMachine().long().load(AT.CODE, REP_STOSB).haltingHandlers(vector);
    machine.state.gpr[1] = 5n;
    machine.state.gpr[7] = BigInt(AT.DATA);
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x202n);
    machine.run(before);
    happen(machine);
    machine.run();
    expect(machine.handled).toBe(vector);
    return machine.stack(3)[2]!;
  }

  it.each<[string, number, (machine: TestMachine) => void]>([
    ['an interrupt', 0x30, (machine) => machine.vectors.push(0x30)],
    [
      'an NMI',
      2,
      (machine) => {
        machine.nmi = true;
      },
    ],
    ['a single-step trap', 1, ({ state }) => state.set(STATE.RFLAGS_SYSTEM, 0x202n | TF)],
  ])('is set in what %s pushes', (_what, vector, happen) => {
    expect(pushed(vector, happen) & RF).toBe(RF);
  });

  it('is not before the first iteration, nor after the last', () => {
    expect(pushed(0x30, (machine) => machine.vectors.push(0x30), 0) & RF).toBe(0n);
    expect(pushed(0x30, (machine) => machine.vectors.push(0x30), 5) & RF).toBe(0n);
  });

  it('stays until the last one, so that a breakpoint on the instruction is met once', () => {
    const machine = armed(REP_STOSB, AT.CODE, 1n);
    machine.load(
      AT.HANDLER + 16,
      '49ffc0 814c2410 00000100 48cf ; inc r8; or dword [rsp + 16], 10000H; iretq',
    );
    machine.state.gpr[1] = 5n;
    machine.state.gpr[7] = BigInt(AT.DATA);
    machine.run();
    expect(machine.state.gpr[8]).toBe(1n);
    expect(machine.state.rip).toBe(BigInt(AT.CODE + 3));
    expect(machine.state.get(STATE.RFLAGS_SYSTEM) & RF).toBe(0n);
  });
});

describe('an instruction breakpoint', () => {
  it('faults before the instruction, pushing RF clear, and not while RF is set', () => {
    const machine = armed('90 90 f4', AT.CODE + 1, 1n);

    machine.run();

    expect(machine.handled).toBe(1);
    expect(machine.state.get(DR6)).toBe(DR6_NONE | 1n);
    expect(machine.stack(3)).toEqual([BigInt(AT.CODE + 1), BigInt(SELECTOR.CODE64), 2n]);
    expect(machine.state.total('instructions')).toBe(2n);

    const resumed = armed('90 90 f4', AT.CODE, 1n);
    resumed.state.set(STATE.RFLAGS_SYSTEM, RF | 2n);
    resumed.run();
    expect(resumed.handled).toBeUndefined();
    expect(resumed.state.get(STATE.RFLAGS_SYSTEM) & RF).toBe(0n);
  });

  it('is passed by an IRET that loads RF', () => {
    const machine = armed('90 90 f4', AT.CODE + 1, 1n);
    machine.load(AT.HANDLER + 16, '814c2410 00000100 48cf ; or dword [rsp + 16], 10000H; iretq');

    machine.run();

    expect(machine.state.rip).toBe(BigInt(AT.CODE + 3));
  });
});

describe('a data breakpoint', () => {
  const WRITE_4 = 1n | (0b1101n << 16n);
  const ACCESS_8 = 1n | (0b1011n << 16n);
  const STORE = 'c60425 03000400 01 90 ; mov byte [40003H], 1; nop';
  const LOAD = '8a0425 03000400 90 ; mov al, [40003H]; nop';

  // biome-ignore format: a table
  it.each<[string, string, number, bigint, boolean]>([
    ['for writes of four bytes is met by a write inside',      STORE, AT.DATA,     WRITE_4,  true],
    ['for writes of four bytes is not met by a write beside',  STORE, AT.DATA + 4, WRITE_4,  false],
    ['for writes is not met by a read',                        LOAD,  AT.DATA,     WRITE_4,  false],
    ['for any access of eight bytes is met by a read',         LOAD,  AT.DATA + 5, ACCESS_8, true],
    ['for any access is met by a write',                       STORE, AT.DATA,     ACCESS_8, true],
    ['that DR7 does not enable is not met',                    STORE, AT.DATA,     WRITE_4 & ~1n, false],
  ])('%s', (_what, listing, dr0, dr7, met) => {
    const machine = armed(`${listing}\n f4`, dr0, dr7);

    machine.run();

    expect(machine.handled).toBe(met ? 1 : undefined);
    expect(machine.state.get(DR6)).toBe(met ? DR6_NONE | 1n : DR6_NONE);
    // A trap: the access is done.
    if (met) expect(machine.stack(1)[0]).toBe(BigInt(AT.CODE + (listing === STORE ? 8 : 7)));
    if (met && listing === STORE) expect(machine.memory.read(AT.DATA + 3, 1)).toBe(1n);
  });
});

describe('debug registers', () => {
  it('make a port a breakpoint with CR4.DE', () => {
    const machine = armed('e680 90 f4 ; out 80H, al; nop; hlt', 0x80, 1n | (0b0010n << 16n));
    machine.state.set(STATE.CR4, machine.state.get(STATE.CR4) | 8n);
    machine.cpu.core.engine.debugChanged();

    machine.run();

    expect(machine.handled).toBe(1);
    expect(machine.stack(1)).toEqual([BigInt(AT.CODE + 2)]);
  });

  it('are guarded by DR7.GD, which the exception clears', () => {
    const machine = armed('0f21c0 ; mov rax, dr0', 0, 0x2000n);

    machine.run();

    expect(machine.handled).toBe(1);
    expect(machine.state.get(DR6)).toBe(DR6_NONE | BD);
    expect(machine.state.get(DR7)).toBe(0x400n);
    // A fault that is no instruction breakpoint: RF is pushed set.
    expect(machine.stack(3)).toEqual([BigInt(AT.CODE), BigInt(SELECTOR.CODE64), RF | 2n]);
  });

  it.each([
    ['DR4 is DR6', '0f23e0 0f21f1 f4 ; mov dr4, rax; mov rcx, dr6', 0n, undefined],
    ['with CR4.DE it is #UD', '0f23e0 f4', 8n, 6],
  ])('%s', (_what, listing, cr4, vector) => {
    const machine = new TestMachine().long().load(AT.CODE, listing).haltingHandlers(6);
    machine.state.set(STATE.CR4, machine.state.get(STATE.CR4) | cr4);

    machine.run();

    expect(machine.handled).toBe(vector);
    if (vector === undefined) expect(machine.state.gpr[1]).toBe(DR6_NONE);
  });

  it('take reserved bits as they are, but nothing above bit 31 of DR6 and DR7', () => {
    const machine = new TestMachine()
      .long()
      .load(AT.CODE, '0f23f8 f4 ; mov dr7, rax')
      .haltingHandlers(13);
    machine.state.gpr[0] = 0xffff_ffffn;
    machine.run();
    expect(machine.state.get(DR7)).toBe(0xffff_27ffn);

    machine.state.rip = BigInt(AT.CODE);
    machine.state.set(DR7, 0x400n);
    machine.state.gpr[0] = 1n << 32n;
    machine.state.set32(STATE.ACTIVITY, 0);
    machine.run();
    expect(machine.handled).toBe(13);
  });
});
