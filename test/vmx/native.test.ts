import { describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state/layout.ts';
import { CODE, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

/** Where the hypervisor, in guest code itself, executes VMRESUME, and where VM exits find it. */
const LAUNCH = 0x8000;
const HOST = 0xa000;
const PMC0 = 0xc1;
const PMC1 = 0xc2;
const INSTRUCTIONS = 0x0043_00c0n;

/** A guest that a hypervisor in guest code has entered once already, by VMLAUNCH at LAUNCH. */
function native(fields: Fields, guestCode: string, hostCode = 'f4'): Guest {
  const guest = new Guest(fields).code(guestCode).code(`0f 01 c2 f4`, LAUNCH).code(hostCode, HOST);
  const { msrs } = guest.processor;
  guest.state.rip = BigInt(LAUNCH);
  guest.state.gpr[4] = 0x9000n;
  msrs.wrmsr(0x38f, 0n);
  msrs.wrmsr(0x186, INSTRUCTIONS);
  msrs.wrmsr(0x187, INSTRUCTIONS);
  return guest;
}

describe('VM entry and VM exit of a hypervisor in guest code', () => {
  const BOTH: Fields = {
    VM_EXIT_CONTROLS: 0x4003_7ffbn,
    VM_ENTRY_CONTROLS: 0x33fb,
    GUEST_IA32_PERF_GLOBAL_CTRL: 1n,
    HOST_IA32_PERF_GLOBAL_CTRL: 2n,
  };

  it('VMLAUNCH is the host’s instruction, what exits is nobody’s, what follows the exit is the host’s', () => {
    const guest = native(BOTH, '90 90 90 0f a2', '90 90 f4');
    guest.processor.msrs.wrmsr(0x38f, 2n);
    expect(guest.processor.cpu.run(1000).reason).toBe('halted');
    expect(guest.processor.msrs.rdmsr(PMC0)).toBe(3n); // three NOPs
    expect(guest.processor.msrs.rdmsr(PMC1)).toBe(4n); // VMLAUNCH, two NOPs, HLT
    expect(guest.state.rip).toBe(BigInt(HOST + 3));
  });

  it('the totals miss nothing of either', () => {
    const guest = native({}, '90 90 90 0f a2', '90 90 f4');
    guest.processor.cpu.run(1000);
    expect(guest.state.total('instructions')).toBe(7n);
    expect(guest.state.total('ticks')).toBe(guest.state.total('instructions'));
  });

  it('a failed entry goes on at the host’s RIP and retires VMLAUNCH once', () => {
    const guest = native({ ...BOTH, GUEST_RFLAGS: 0n }, '90', 'f4');
    guest.processor.msrs.wrmsr(0x38f, 2n);
    expect(guest.processor.cpu.run(1000).reason).toBe('halted');
    expect(guest.state.rip).toBe(BigInt(HOST + 1));
    expect(guest.processor.msrs.rdmsr(PMC0)).toBe(0n);
    expect(guest.processor.msrs.rdmsr(PMC1)).toBe(2n); // VMLAUNCH, HLT
  });

  it('what the host single-steps or blocks does not reach into the guest', () => {
    const guest = native({ EXCEPTION_BITMAP: 2, GUEST_INTERRUPTIBILITY_STATE: 1 }, '0f a2', 'f4');
    guest.processor.cpu.core.rflags = 0x302n; // TF
    expect(guest.processor.cpu.run(1000).reason).toBe('halted');
    expect(guest.get('EXIT_REASON')).toBe(10n);
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(1n);
    expect(guest.get('GUEST_PENDING_DEBUG_EXCEPTIONS')).toBe(0n);
  });

  it('INIT stays pending in root operation', () => {
    const guest = native({}, '0f a2', '90 f4');
    guest.processor.msrs.wrmsr(0x830, 0x4_4500n); // ICR: INIT, level, assert, self
    expect(guest.processor.cpu.run(1000).reason).toBe('halted');
    expect(guest.state.rip).toBe(BigInt(HOST + 2));
  });
});

describe('activity states and signals', () => {
  it('shutdown takes an NMI exit and no external interrupt', () => {
    const guest = new Guest({ PIN_BASED_CONTROLS: 0x1f, GUEST_ACTIVITY_STATE: 2 }).code('0f a2');
    const { msrs } = guest.processor;
    msrs.wrmsr(0x83f, 0x41n);
    expect(guest.vmx.vmlaunch()).toBe('VMsucceed');
    expect(guest.processor.cpu.run(100).reason).not.toBe('vm-exit');
    msrs.wrmsr(0x830, 0x4_0400n); // NMI
    expect(guest.processor.cpu.run(100).reason).toBe('vm-exit');
    expect(guest.get('EXIT_REASON')).toBe(0n);
    expect(guest.get('VM_EXIT_INTERRUPTION_INFORMATION')).toBe(0x8000_0202n);
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(2n);
  });

  // Vol. 3, "Interrupt-Window Exiting and Virtual-Interrupt Delivery", "NMI-Window Exiting".
  it('an open interrupt window ends HLT, but not shutdown; an open NMI window ends both', () => {
    const [HLT, SHUTDOWN] = [1, 2];
    const INTERRUPT_WINDOW = { PRIMARY_CONTROLS: 0x0401_e176n, GUEST_RFLAGS: 0x202n };
    const NMI_WINDOW = { PIN_BASED_CONTROLS: 0x3e, PRIMARY_CONTROLS: 0x0441_e172n };
    const reasonIn = (GUEST_ACTIVITY_STATE: number, fields: Fields) => {
      const guest = new Guest({ ...fields, GUEST_ACTIVITY_STATE });
      expect(guest.vmx.vmlaunch()).toBe('VMsucceed');
      const { reason } = guest.processor.cpu.run(100);
      return reason === 'vm-exit' ? Number(guest.get('EXIT_REASON')) : reason;
    };
    expect(reasonIn(HLT, INTERRUPT_WINDOW)).toBe(7);
    expect(reasonIn(SHUTDOWN, INTERRUPT_WINDOW)).not.toBe(7);
    expect(reasonIn(HLT, NMI_WINDOW)).toBe(8);
    expect(reasonIn(SHUTDOWN, NMI_WINDOW)).toBe(8);
  });

  it('the preemption timer runs in shutdown', () => {
    const guest = new Guest({
      PIN_BASED_CONTROLS: 0x56,
      GUEST_ACTIVITY_STATE: 2,
      VMX_PREEMPTION_TIMER_VALUE: 2,
    });
    expect(guest.exit().reason).toBe(52);
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(2n);
  });

  it('HLT without exiting halts the guest, and an interrupt through its IDT wakes it', () => {
    const guest = new Guest({ PRIMARY_CONTROLS: 0x0400_6172 }).code('f4 0f a2');
    guest.memory.load(0xf410, Uint8Array.from([0x48, 0xcf])); // handler of 41H: IRETQ
    expect(guest.vmx.vmlaunch()).toBe('VMsucceed');
    guest.processor.cpu.run(100);
    expect(guest.state.get32(STATE.ACTIVITY)).toBe(1);
    guest.processor.msrs.wrmsr(0x83f, 0x41n);
    expect(guest.processor.cpu.run(100).reason).toBe('vm-exit');
    expect(guest.get('EXIT_REASON')).toBe(10n);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 1));
  });
});

describe('task switches', () => {
  /** 32-bit protected mode without paging; an available TSS at selector 20H. */
  const FLAT: Fields = {
    PRIMARY_CONTROLS: 0x8400_61f2n,
    SECONDARY_CONTROLS: 0x82,
    EPT_POINTER: 0x2_001en,
    VM_ENTRY_CONTROLS: 0x11fb,
    GUEST_CR0: 0x21n,
    GUEST_CR4: 0x2000n,
    GUEST_CS_ACCESS_RIGHTS: 0xc09b,
  };
  const withTss = (code: string) => {
    const guest = new Guest(FLAT).code(code);
    guest.memory.write(0xb008, 8, 0x00cf_9b00_0000_ffffn);
    guest.memory.write(0xb020, 8, 0x0000_8900_9000_0067n);
    return guest;
  };

  // biome-ignore format: a table
  it.each([
    ['JMP',  'ea 00 00 00 00 20 00', 0x8000_0020n, 7],
    ['CALL', '9a 00 00 00 00 20 00', 0x0000_0020n, 7],
  ])('%s to a TSS exits', (_name, code, qualification, length) => {
    const guest = withTss(code);
    expect(guest.exit()).toMatchObject({ reason: 9, qualification, length, vectoring: 0 });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.get('GUEST_TR_SELECTOR')).toBe(0x18n);
  });

  it('INT through a task gate exits with IDT-vectoring information', () => {
    const guest = withTss('cd 40');
    guest.memory.write(0xc000 + 0x40 * 8, 8, 0x0000_8500_0020_0000n);
    expect(guest.exit()).toMatchObject({
      reason: 9,
      qualification: 0xc000_0020n,
      length: 2,
      vectoring: 0x8000_0440,
    });
  });
});
