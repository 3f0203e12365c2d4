import { describe, expect, it } from 'vitest';
import { profileNamed } from '../../src/machine/profiles.ts';
import { rootCpu } from '../../src/machine/root-cpu.ts';
import { CODE, Guest, HANDLERS } from './guest.ts';
import type { Fields } from './processor.ts';

const PMC0 = 0xc1;
const PMC1 = 0xc2;
const PERFEVTSEL0 = 0x186;
const PERFEVTSEL1 = 0x187;
const GLOBAL_STATUS = 0x38e;
const GLOBAL_CTRL = 0x38f;
const LVTPC = 0x834;
const INSTRUCTIONS = 0x0043_00c0n; // EN, OS, USR, event C0H
const INTERRUPTING = 0x0053_00c0n; // and INT

const HALT = 0x0400_61f2;
const CONTROLS: Fields = {
  PRIMARY_CONTROLS: HALT,
  VM_EXIT_CONTROLS: 0x4003_7ffbn,
  VM_ENTRY_CONTROLS: 0x33fb,
  GUEST_IA32_PERF_GLOBAL_CTRL: 1n,
  HOST_IA32_PERF_GLOBAL_CTRL: 2n,
};
const FIVE = '90 90 90 90 90 f4'; // five instructions, and HLT, which exits

/** A guest whose PMC0 and a host whose PMC1 count instructions; everything is off until GLOBAL_CTRL says so. */
function counting(fields: Fields = CONTROLS, code = FIVE, profile = 'sapphire-rapids'): Guest {
  const guest = new Guest(fields, profileNamed(profile)).code(code);
  const { msrs } = guest.processor;
  msrs.wrmsr(GLOBAL_CTRL, 0n);
  msrs.wrmsr(PERFEVTSEL0, INSTRUCTIONS);
  msrs.wrmsr(PERFEVTSEL1, INSTRUCTIONS);
  return guest;
}

/** Work of root-mode software: `instructions` at CPL 0. */
const hostWorks = (guest: Guest, instructions: number) =>
  rootCpu(guest.processor, guest.hardware).retire(
    { ticks: instructions, instructions, branches: 0 },
    false,
  );

const counts = ({ processor }: Guest) => [processor.msrs.rdmsr(PMC0), processor.msrs.rdmsr(PMC1)];

describe('IA32_PERF_GLOBAL_CTRL at the boundary', () => {
  it('loaded both ways: the guest counter counts the guest, the host counter the host', () => {
    const guest = counting();
    guest.processor.msrs.wrmsr(GLOBAL_CTRL, 2n);
    hostWorks(guest, 100);
    expect(guest.exit().reason).toBe(12);
    hostWorks(guest, 30);
    expect(counts(guest)).toEqual([5n, 130n]);
    guest.set({ GUEST_RIP: BigInt(CODE + 2) });
    guest.exit();
    hostWorks(guest, 7);
    expect(counts(guest)).toEqual([8n, 137n]);
    expect(guest.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(1n);
  });

  it('not loaded on exit: the host counts on under the guest enables', () => {
    const guest = counting({ ...CONTROLS, VM_EXIT_CONTROLS: 0x4003_6ffbn });
    guest.exit();
    hostWorks(guest, 30);
    expect(counts(guest)).toEqual([35n, 0n]);
  });

  it('not loaded on entry: the guest counts under the host enables', () => {
    const guest = counting({ ...CONTROLS, VM_ENTRY_CONTROLS: 0x13fb });
    guest.processor.msrs.wrmsr(GLOBAL_CTRL, 2n);
    guest.exit();
    expect(counts(guest)).toEqual([0n, 5n]);
    expect(guest.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(2n); // what the guest ran with
  });

  it('not saved on exit: the field keeps what software wrote, whatever the guest made of it', () => {
    // WRMSR of GLOBAL_CTRL = 3 passes through the bitmap.
    const code = 'b9 8f 03 00 00 b8 03 00 00 00 31 d2 0f 30 90 f4';
    const fields: Fields = {
      ...CONTROLS,
      PRIMARY_CONTROLS: 0x1400_61f2,
      MSR_BITMAP_ADDRESS: 0x1_3000n,
    };
    const saved = counting(fields, code);
    saved.exit();
    expect(saved.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(3n);
    const kept = counting({ ...fields, VM_EXIT_CONTROLS: 0x3_7ffb }, code);
    kept.exit();
    expect(kept.get('GUEST_IA32_PERF_GLOBAL_CTRL')).toBe(1n);
    // WRMSR and NOP are counted by the counter that WRMSR enabled; MOV, MOV and XOR only by the first.
    expect(counts(kept)).toEqual([5n, 2n]);
  });

  it('without the saving control the MSR-store list gets the value, on a part that has only that', () => {
    const code = 'b9 8f 03 00 00 b8 03 00 00 00 31 d2 0f 30 90 f4';
    const guest = counting(
      {
        ...CONTROLS,
        PRIMARY_CONTROLS: 0x1400_61f2,
        MSR_BITMAP_ADDRESS: 0x1_3000n,
        VM_EXIT_CONTROLS: 0x3_7ffb,
        VM_EXIT_MSR_STORE_ADDRESS: 0x3_0000n,
        VM_EXIT_MSR_STORE_COUNT: 1,
      },
      code,
      'skylake-server',
    );
    guest.memory.write(0x3_0000, 8, BigInt(GLOBAL_CTRL));
    guest.exit();
    expect(guest.memory.read(0x3_0008, 8)).toBe(3n);
    expect(guest.processor.msrs.rdmsr(GLOBAL_CTRL)).toBe(2n);
  });

  it('a failed entry leaves the host value and counts nothing for the guest', () => {
    const guest = counting({ ...CONTROLS, GUEST_RFLAGS: 0n });
    expect(guest.exit().reason).toBe(0x8000_0021);
    hostWorks(guest, 11);
    expect(counts(guest)).toEqual([0n, 11n]);
  });

  it('many round trips: no instruction is lost or counted twice', () => {
    const guest = counting();
    guest.processor.msrs.wrmsr(GLOBAL_CTRL, 2n);
    let expected = [0n, 0n];
    for (let i = 1; i <= 50; i++) {
      const instructions = i % 6;
      guest.set({ GUEST_RIP: BigInt(CODE + 5 - instructions) });
      expect(guest.exit().reason).toBe(12);
      hostWorks(guest, i);
      expected = [expected[0]! + BigInt(instructions), expected[1]! + BigInt(i)];
      expect(counts(guest)).toEqual(expected);
    }
  });
});

describe('RDPMC and RDMSR in the guest', () => {
  it('read the exact count where they do not exit', () => {
    const guest = counting({ ...CONTROLS, GUEST_CR4: 0x2120n }, '90 90 90 31 c9 0f 33 f4');
    guest.exit();
    expect(guest.state.gpr[0]).toBe(4n); // itself not included
    expect(guest.state.gpr[2]).toBe(0n);
  });

  it('an RDPMC that exits is not counted', () => {
    const guest = counting(
      { ...CONTROLS, PRIMARY_CONTROLS: 0x0400_69f2 },
      '90 90 90 31 c9 0f 33 f4',
    );
    expect(guest.exit().reason).toBe(15);
    expect(counts(guest)).toEqual([4n, 0n]);
  });
});

describe('a PMI of the guest', () => {
  /** PMC0 overflows with the third instruction. */
  function overflowing(fields: Fields, lvtpc: bigint, code = FIVE): Guest {
    const guest = counting({ ...CONTROLS, ...fields }, code);
    const { msrs } = guest.processor;
    msrs.wrmsr(PERFEVTSEL0, INTERRUPTING);
    msrs.wrmsr(PMC0, 0xffff_fffdn);
    msrs.wrmsr(LVTPC, lvtpc);
    return guest;
  }
  const FIXED = 0xf5n;
  const NMI = 0x400n;

  it('of fixed delivery exits as an external interrupt, after the very instruction that overflowed', () => {
    const guest = overflowing({ PIN_BASED_CONTROLS: 0x17, VM_EXIT_CONTROLS: 0x4003_fffbn }, FIXED);
    expect(guest.exit()).toMatchObject({ reason: 1, interruption: 0x8000_00f5 });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 3));
    expect(guest.processor.msrs.rdmsr(GLOBAL_STATUS)).toBe(1n);
    expect(guest.processor.msrs.rdmsr(PMC0)).toBe(0n);
  });

  it('of fixed delivery stays in the APIC without acknowledge-on-exit', () => {
    const guest = overflowing({ PIN_BASED_CONTROLS: 0x17 }, FIXED);
    expect(guest.exit()).toMatchObject({ reason: 1, interruption: 0 });
    expect(guest.processor.apic.pendingVector()).toBe(0xf5);
  });

  it('by NMI exits with NMI exiting, and reaches the guest IDT without', () => {
    const exiting = overflowing({ PIN_BASED_CONTROLS: 0x1e }, NMI);
    expect(exiting.exit()).toMatchObject({ reason: 0, interruption: 0x8000_0202 });
    expect(exiting.get('GUEST_RIP')).toBe(BigInt(CODE + 3));
    const through = overflowing({}, NMI);
    expect(through.exit().reason).toBe(12);
    expect(through.get('GUEST_RIP')).toBe(BigInt(HANDLERS + 2 * 16));
  });

  it('that the guest masks by IF stays pending across an exit, and is taken in root operation', () => {
    const guest = overflowing({ GUEST_RFLAGS: 2n }, FIXED, '90 90 90 90 0f a2');
    expect(guest.exit().reason).toBe(10);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 4));
    expect(guest.processor.apic.pendingVector()).toBe(0xf5);
    expect(guest.processor.msrs.rdmsr(GLOBAL_STATUS)).toBe(1n);
  });

  it('whose counter overflows with the last instruction before an exit comes first', () => {
    const guest = overflowing({ PIN_BASED_CONTROLS: 0x17 }, FIXED, '90 90 90 0f a2');
    expect(guest.exit().reason).toBe(1);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 3));
    expect(guest.processor.apic.acknowledge()).toBe(0xf5);
    expect(guest.exit().reason).toBe(10);
  });

  it('waits for the end of blocking by STI', () => {
    const guest = overflowing(
      { PIN_BASED_CONTROLS: 0x17, GUEST_RFLAGS: 2n },
      FIXED,
      '90 90 fb 90 90 f4',
    );
    expect(guest.exit().reason).toBe(1);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 4));
  });
});
