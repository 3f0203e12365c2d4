import { describe, expect, it } from 'vitest';
import { FlatMachine } from '../../flat-machine.ts';

describe('the oracle', () => {
  it('runs a loop and counts its instructions and branches', () => {
    // mov ecx,10; add rax,rcx; dec rcx; jnz $-6; hlt
    const { oracle, state } = new FlatMachine().code('b9 0a 00 00 00 48 01 c8 48 ff c9 75 f8 f4');
    expect(oracle.run(1000)).toMatchObject({ reason: 'system', insn: { op: 'HLT' } });
    expect(state.gpr[0]).toBe(55n);
    expect(state.rip).toBe(0x100dn);
    expect(state.total('instructions')).toBe(31n);
    expect(state.total('branches')).toBe(10n);
    expect(state.total('conditionalBranches')).toBe(10n);
    expect(state.total('conditionalTaken')).toBe(9n);
    expect(state.total('nearTaken')).toBe(9n);
  });

  it('stops at the exact tick', () => {
    const { oracle, state } = new FlatMachine().code('90 90 90 90');
    expect(oracle.run(3)).toEqual({ reason: 'slice' });
    expect(state.rip).toBe(0x1003n);
    expect(state.total('ticks')).toBe(3n);
  });

  it('retires REP once, and leaves it between iterations', () => {
    const { oracle, state, memory } = new FlatMachine().code('f3 aa f4'); // rep stosb; hlt
    state.gpr[0] = 0x5an;
    state.gpr[1] = 5n;
    state.gpr[7] = 0x2000n;
    expect(oracle.run(3)).toEqual({ reason: 'slice' });
    expect(state.rip).toBe(0x1000n);
    expect(state.gpr[1]).toBe(2n);
    expect(state.total('instructions')).toBe(0n);
    expect(state.total('repIterations')).toBe(3n);
    oracle.run(100);
    expect(state.total('instructions')).toBe(1n);
    expect(state.total('repIterations')).toBe(4n);
    expect(state.total('ticks')).toBe(5n);
    expect(state.total('stores')).toBe(1n);
    expect([...memory.slice(0x1fff, 7)]).toEqual([0, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0]);
  });

  it('changes nothing when an instruction faults', () => {
    const { oracle, state } = new FlatMachine().code('48 f7 f1'); // div rcx
    state.gpr[0] = 7n;
    expect(oracle.run(10)).toMatchObject({ reason: 'fault', fault: { exception: '#DE' } });
    expect(state.rip).toBe(0x1000n);
    expect(state.gpr[0]).toBe(7n);
    expect(state.total('instructions')).toBe(0n);
  });

  it('executes what it has just written over the next instruction', () => {
    // mov byte [rip],0x41: the nop that follows becomes a REX prefix, for inc r8d
    const { oracle, state } = new FlatMachine().code('c6 05 00 00 00 00 41 90 ff c0 f4');
    oracle.run(1);
    expect(state.rip).toBe(0x1007n);
    oracle.run(10);
    expect(state.gpr[8]).toBe(1n);
  });

  it('calls and returns', () => {
    // call +1; hlt; mov eax,7; ret
    const { oracle, state } = new FlatMachine().code('e8 01 00 00 00 f4 b8 07 00 00 00 c3');
    expect(oracle.run(100).reason).toBe('system');
    expect(state.gpr[0]).toBe(7n);
    expect(state.gpr[4]).toBe(0x8000n);
    expect(state.total('nearCalls')).toBe(1n);
    expect(state.total('nearReturns')).toBe(1n);
    expect(state.total('nearTaken')).toBe(2n);
    expect(state.total('loads')).toBe(1n);
    expect(state.total('stores')).toBe(1n);
  });

  it('refuses to jump to an address that is not canonical, before it has popped it', () => {
    const { oracle, state } = new FlatMachine().code('50 c3'); // push rax; ret
    state.gpr[0] = 0x8000_0000_0000n;
    expect(oracle.run(10)).toMatchObject({ reason: 'fault', fault: { exception: '#GP', code: 0 } });
    expect(state.gpr[4]).toBe(0x7ff8n);
    expect(state.rip).toBe(0x1001n);
  });

  it('wraps the target of a jump in 16-bit code', () => {
    const machine = new FlatMachine(2);
    machine.state.rip = 0xfff0n;
    machine.code('eb 20'); // jmp $+0x22
    machine.oracle.run(1);
    expect(machine.state.rip).toBe(0x12n);
  });

  it('runs into the limit of a 16-bit segment instead of wrapping', () => {
    const machine = new FlatMachine(2);
    machine.state.rip = 0xffffn;
    machine.code('90');
    expect(machine.oracle.run(1)).toEqual({ reason: 'slice' });
    expect(machine.state.rip).toBe(0x10000n);
    expect(machine.oracle.run(1)).toMatchObject({ fault: { exception: '#GP', code: 0 } });
  });
});
