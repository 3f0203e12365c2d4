import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, SELECTOR, TestMachine } from './machine.ts';

const LSTAR = 0x1_8000n;

/** STAR with kernel CS 08H and user base 23H: SYSCALL loads 08H and 10H, SYSRET 33H (64-bit) or 23H, and 2BH. */
const STAR = (0x23n << 48n) | (0x08n << 32n);

function machineWith(listing: string): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, listing).haltingHandlers(6, 13);
  const { state } = machine;
  state.set(STATE.EFER, state.get(STATE.EFER) | 1n);
  state.set(STATE.STAR, STAR);
  state.set(STATE.LSTAR, LSTAR);
  state.set(STATE.FMASK, 0x700n);
  return machine;
}

describe('SYSCALL', () => {
  it('saves RIP in RCX and RFLAGS in R11, masks RFLAGS, and loads flat CS and SS from STAR', () => {
    const machine = machineWith('0f05').load(Number(LSTAR), 'f4');
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x602n);

    machine.run();

    const { state } = machine;
    expect(state.gpr[1]).toBe(BigInt(AT.CODE + 2));
    expect(state.gpr[11]).toBe(0x602n);
    expect(state.rip).toBe(LSTAR + 1n);
    expect(state.get(STATE.RFLAGS_SYSTEM)).toBe(2n);
    expect(state.segment('CS')).toEqual({
      selector: 8,
      base: 0n,
      limit: 0xffff_ffff,
      rights: 0xa09b,
    });
    expect(state.segment('SS')).toEqual({
      selector: 0x10,
      base: 0n,
      limit: 0xffff_ffff,
      rights: 0xc093,
    });
  });

  it('is #UD without EFER.SCE', () => {
    const machine = machineWith('0f05');
    machine.state.set(STATE.EFER, machine.state.get(STATE.EFER) & ~1n);
    machine.run();
    expect(machine.handled).toBe(6);
  });
});

describe('single-stepping over SYSCALL and SYSRET goes by TF as they leave it', () => {
  const TF = 0x100n;

  it.each([
    ['SYSCALL with TF in FMASK is not followed by a trap', 0x700n, undefined],
    ['SYSCALL that keeps TF is, at the entry point', 0x600n, LSTAR],
  ])('%s', (_what, mask, trapped) => {
    const machine = machineWith('0f05').load(Number(LSTAR), '90 f4').haltingHandlers(1);
    machine.state.set(STATE.FMASK, mask);
    machine.state.set(STATE.RFLAGS_SYSTEM, 2n | TF);
    machine.run();
    expect([machine.handled, machine.stack(1)[0]]).toEqual(
      trapped === undefined ? [undefined, 0n] : [1, trapped],
    );
  });

  it.each([
    ['SYSRET to TF set traps before the first instruction', 2n, 2n | TF, AT.USER],
    ['SYSRET under TF to TF clear does not', 2n | TF, 2n, undefined],
  ])('%s', (_what, before, r11, trapped) => {
    const machine = machineWith('480f07').load(AT.USER, 'f4').haltingHandlers(1);
    machine.state.gpr[1] = BigInt(AT.USER);
    machine.state.gpr[11] = r11;
    machine.state.set(STATE.RFLAGS_SYSTEM, before);
    machine.run();
    // HLT at CPL 3 is #GP.
    expect(machine.handled).toBe(trapped === undefined ? 13 : 1);
    expect(machine.stack(2)[trapped === undefined ? 1 : 0]).toBe(BigInt(AT.USER));
  });
});

describe('SYSRET', () => {
  it('goes to RCX at CPL 3 with RFLAGS out of R11, in 64-bit code with REX.W', () => {
    const machine = machineWith('480f07').load(AT.USER, 'ebfe');
    machine.state.gpr[1] = BigInt(AT.USER);
    machine.state.gpr[11] = 0x1_0246n | 0x2_0000n;

    machine.run(2);

    const { state } = machine;
    expect(state.cpl).toBe(3);
    expect(state.segment('CS')).toMatchObject({ selector: 0x33, rights: 0xa0fb });
    expect(state.segment('SS')).toMatchObject({ selector: 0x2b, rights: 0xc0f3 });
    // RF and VM are not loaded.
    expect(machine.cpu.core.rflags).toBe(0x246n);
    expect(machine.modes).toEqual(['cpl 3']);
  });

  it('goes to 32-bit code without REX.W', () => {
    const machine = machineWith('0f07').load(AT.USER, 'ebfe');
    machine.state.gpr[1] = 0xabcd_0000_0000_0000n | BigInt(AT.USER);

    machine.run(2);

    expect(machine.state.rip).toBe(BigInt(AT.USER));
    expect(machine.state.segment('CS')).toMatchObject({ selector: 0x23, rights: 0xc0fb });
  });

  it('faults at CPL 0 on a target that is not canonical', () => {
    const machine = machineWith('480f07');
    machine.state.gpr[1] = 1n << 47n;

    machine.run();

    expect(machine.handled).toBe(13);
    expect(machine.stack(3).slice(1)).toEqual([BigInt(AT.CODE), 8n]);
  });
});

describe('SYSENTER and SYSEXIT', () => {
  it('go in and out by the three MSRs, RDX and RCX', () => {
    const machine = machineWith('0f34').load(AT.HANDLER, '480f35').load(AT.USER, 'ebfe');
    const { state } = machine;
    state.set(STATE.SYSENTER_CS, 8n);
    state.set(STATE.SYSENTER_ESP, BigInt(AT.STACK0));
    state.set(STATE.SYSENTER_EIP, BigInt(AT.HANDLER));
    state.set(STATE.RFLAGS_SYSTEM, 0x202n);
    state.gpr[2] = BigInt(AT.USER);
    state.gpr[1] = BigInt(AT.USER_STACK);

    machine.run(1);
    expect(state.rip).toBe(BigInt(AT.HANDLER));
    expect(state.gpr[4]).toBe(BigInt(AT.STACK0));
    expect(state.get(STATE.RFLAGS_SYSTEM)).toBe(2n);
    expect(state.segment('SS').selector).toBe(0x10);

    machine.run(1);
    expect(state.cpl).toBe(3);
    expect(state.rip).toBe(BigInt(AT.USER));
    expect(state.gpr[4]).toBe(BigInt(AT.USER_STACK));
    expect([state.segment('CS').selector, state.segment('SS').selector]).toEqual([0x2b, 0x33]);
  });

  it.each([
    ['SYSENTER', '0f34'],
    ['SYSEXIT', '0f35'],
  ])('%s is #GP(0) while IA32_SYSENTER_CS is null', (_name, listing) => {
    const machine = machineWith(listing);
    machine.run();
    expect(machine.handled).toBe(13);
  });
});

describe('SWAPGS', () => {
  it('exchanges the base of GS with IA32_KERNEL_GS_BASE', () => {
    const machine = machineWith('0f01f8 f4');
    machine.msr.wrmsr(0xc000_0101, 0x1234n);
    machine.msr.wrmsr(0xc000_0102, 0xffff_8000_0000_0000n);

    machine.run();

    expect(machine.msr.rdmsr(0xc000_0101)).toBe(0xffff_8000_0000_0000n);
    expect(machine.msr.rdmsr(0xc000_0102)).toBe(0x1234n);
  });

  it('is #GP at CPL 3', () => {
    const machine = machineWith('480f07').load(AT.USER, '0f01f8');
    machine.state.gpr[1] = BigInt(AT.USER);
    machine.state.gpr[11] = 2n;
    machine.run();
    expect(machine.handled).toBe(13);
    expect(machine.stack(3)[2]).toBe(BigInt(SELECTOR.USER_CODE64));
  });
});
