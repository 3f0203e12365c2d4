import { describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state/layout.ts';
import { CODE, Guest, HANDLERS } from './guest.ts';
import type { Fields } from './processor.ts';

const PRIMARY = (bits: number): Fields => ({ PRIMARY_CONTROLS: 0x0400_6172 | bits });
const HALT = PRIMARY(1 << 7);
const NOPS = '90 90 90 90 90 90 90 90 f4';
const handler = (vector: number) => BigInt(HANDLERS + vector * 16);

/** Sends the processor an interrupt of its own APIC. */
function interrupt(guest: Guest, vector: number): void {
  guest.processor.msrs.wrmsr(0x83f, BigInt(vector)); // SELF IPI
}

const nmi = (guest: Guest) => guest.processor.msrs.wrmsr(0x830, 0x4_0400n); // ICR: NMI to self

describe('exceptions', () => {
  it('exit by the exception bitmap, before anything of their delivery', () => {
    const guest = new Guest({ EXCEPTION_BITMAP: 1 << 13 }).code('8e d8'); // MOV DS, AX
    guest.state.gpr[0] = 0x23n; // an empty descriptor
    const exit = guest.exit();
    expect(exit).toMatchObject({ reason: 0, interruption: 0x8000_0b0d, error: 0x20, vectoring: 0 });
    expect(guest.get('GUEST_RSP')).toBe(0xd000n);
    expect(guest.get('GUEST_RFLAGS')).toBe(0x1_0202n); // RF, as delivery of a fault would push it
  });

  it('go through the guest IDT when their bit is 0', () => {
    const guest = new Guest(HALT).code('0f 0b');
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RIP')).toBe(handler(6));
  });

  // biome-ignore format: a table
  it.each([
    ['INT3',  'cc',    3, 1, 0x8000_0603],
    ['INT1',  'f1',    1, 1, 0x8000_0501],
    ['UD2',   '0f 0b', 6, 0, 0x8000_0306],
    ['DIV 0', 'f7 f1', 0, 0, 0x8000_0300],
  ])('%s exits with its type and, if it is software, its length', (_name, code, vector, length, interruption) => {
    const guest = new Guest({ EXCEPTION_BITMAP: 1 << vector }).code(code);
    guest.state.gpr[1] = 0n;
    expect(guest.exit()).toMatchObject({ reason: 0, interruption, length });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
  });

  it('INT n never exits by the bitmap', () => {
    const guest = new Guest({ ...HALT, EXCEPTION_BITMAP: 0xffff_ffffn }).code('cd 0d');
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RIP')).toBe(handler(13));
  });

  // The access is a supervisor read of a page that is not present: error code 0. A write has 2.
  // biome-ignore format: a table
  it.each([
    ['bit 14 set, mask and match 0: all exit',            1 << 14, 0, 0, '8b 03', true],
    ['bit 14 clear, mask and match 0: none exits',        0,       0, 0, '8b 03', false],
    ['bit 14 set, match not met: does not exit',          1 << 14, 2, 2, '8b 03', false],
    ['bit 14 set, match met: exits',                      1 << 14, 2, 2, '89 03', true],
    ['bit 14 clear, match not met: exits',                0,       2, 2, '8b 03', true],
    ['bit 14 clear, match met: does not exit',            0,       2, 2, '89 03', false],
    ['bit 14 set, match outside the mask: never exits',   1 << 14, 0, 1, '8b 03', false],
    ['bit 14 clear, match outside the mask: always exits', 0,      0, 1, '8b 03', true],
  ])('#PF with %s', (_name, bitmap, mask, match, code, exits) => {
    const guest = new Guest({
      ...HALT, EXCEPTION_BITMAP: bitmap, PAGE_FAULT_ERROR_CODE_MASK: mask, PAGE_FAULT_ERROR_CODE_MATCH: match,
    }).code(code);
    guest.state.gpr[3] = 0x4000_1234n;
    guest.state.set(STATE.CR2, 0x77n);
    const exit = guest.exit();
    if (exits) {
      expect(exit).toMatchObject({ reason: 0, interruption: 0x8000_0b0e, qualification: 0x4000_1234n });
      expect(guest.state.get(STATE.CR2)).toBe(0x77n);
    } else {
      expect(exit.reason).toBe(12);
      expect(guest.state.get(STATE.CR2)).toBe(0x4000_1234n);
    }
  });

  it('a #DB that exits reports its DR6 conditions and leaves DR6 alone', () => {
    const guest = new Guest({ EXCEPTION_BITMAP: 2, GUEST_RFLAGS: 0x302n }).code(NOPS);
    guest.state.set(STATE.DR + 48, 0xffff_0ff0n);
    expect(guest.exit()).toMatchObject({
      reason: 0,
      interruption: 0x8000_0301,
      qualification: 0x4000n,
    });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 1));
    expect(guest.state.get(STATE.DR + 48)).toBe(0xffff_0ff0n);
    expect(guest.get('GUEST_PENDING_DEBUG_EXCEPTIONS')).toBe(0n);
  });

  it('one in the delivery of another: IDT-vectoring information names the first', () => {
    // INT 40H through a gate that is not present: #NP exits.
    const guest = new Guest({ EXCEPTION_BITMAP: 1 << 11 }).code('cd 40');
    guest.memory.write(0xc000 + 0x40 * 16, 8, 0n | 0x0e00_0008_0000n);
    expect(guest.exit()).toMatchObject({
      reason: 0,
      interruption: 0x8000_0b0b,
      error: 0x40 * 8 + 2,
      vectoring: 0x8000_0440,
      length: 2,
    });
  });

  it('#DF that exits is reported without IDT-vectoring information', () => {
    const guest = new Guest({ EXCEPTION_BITMAP: 1 << 8 }).code('8e d8');
    guest.state.gpr[0] = 0x23n;
    guest.memory.write(0xc000 + 13 * 16, 8, 0x0e00_0008_0000n);
    expect(guest.exit()).toMatchObject({
      reason: 0,
      interruption: 0x8000_0b08,
      error: 0,
      vectoring: 0,
    });
  });

  it('a triple fault exits with reason 2', () => {
    const guest = new Guest({ GUEST_IDTR_LIMIT: 0 }).code('0f 0b');
    expect(guest.exit()).toMatchObject({
      reason: 2,
      qualification: 0n,
      interruption: 0,
      vectoring: 0,
    });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(0n);
  });
});

describe('external interrupts', () => {
  it('exit with IF 0 too, and stay pending without acknowledge-on-exit', () => {
    const guest = new Guest({ PIN_BASED_CONTROLS: 0x17, GUEST_RFLAGS: 2n }).code(NOPS);
    interrupt(guest, 0x41);
    expect(guest.exit()).toMatchObject({ reason: 1, interruption: 0 });
    expect(guest.processor.apic.pendingVector()).toBe(0x41);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
  });

  it('are acknowledged and reported with acknowledge-on-exit', () => {
    const guest = new Guest({ PIN_BASED_CONTROLS: 0x17, VM_EXIT_CONTROLS: 0x3_effb }).code(NOPS);
    interrupt(guest, 0x41);
    expect(guest.exit()).toMatchObject({ reason: 1, interruption: 0x8000_0041 });
    expect(guest.processor.apic.pendingVector()).toBeUndefined();
  });

  it('go through the guest IDT without external-interrupt exiting, once IF is 1', () => {
    const guest = new Guest(HALT).code(NOPS);
    interrupt(guest, 0x41);
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RIP')).toBe(handler(0x41));
  });

  it('end a halt, which the guest is saved in', () => {
    const guest = new Guest({
      PIN_BASED_CONTROLS: 0x17,
      GUEST_ACTIVITY_STATE: 1,
      GUEST_RFLAGS: 2n,
    }).code(NOPS);
    interrupt(guest, 0x41);
    expect(guest.exit().reason).toBe(1);
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(1n);
    expect(guest.state.get32(STATE.ACTIVITY)).toBe(0);
  });

  it('wait for the end of blocking by STI', () => {
    const guest = new Guest({ PIN_BASED_CONTROLS: 0x17, GUEST_INTERRUPTIBILITY_STATE: 1 }).code(
      NOPS,
    );
    interrupt(guest, 0x41);
    expect(guest.exit().reason).toBe(1);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 1));
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(0n);
  });

  it('interrupt windows open with IF and without blocking, also in HLT', () => {
    const WINDOW = { PRIMARY_CONTROLS: 0x0400_6176 };
    expect(new Guest(WINDOW).code(NOPS).exit()).toMatchObject({ reason: 7 });
    const halted = new Guest({ ...WINDOW, GUEST_ACTIVITY_STATE: 1 }).code(NOPS);
    expect(halted.exit()).toMatchObject({ reason: 7 });
    const blocked = new Guest({ ...WINDOW, GUEST_INTERRUPTIBILITY_STATE: 1 }).code(NOPS);
    expect(blocked.exit().reason).toBe(7);
    expect(blocked.get('GUEST_RIP')).toBe(BigInt(CODE + 1));
    // CLI state: STI at CODE + 1, its shadow covers one instruction.
    const late = new Guest({ ...WINDOW, GUEST_RFLAGS: 2n }).code('90 fb 90 90 f4');
    expect(late.exit().reason).toBe(7);
    expect(late.get('GUEST_RIP')).toBe(BigInt(CODE + 3));
  });
});

describe('NMIs', () => {
  const EXITING = { PIN_BASED_CONTROLS: 0x1e };
  const VIRTUAL = { PIN_BASED_CONTROLS: 0x3e };

  it('exit with NMI exiting, and are blocked in root operation afterwards', () => {
    const guest = new Guest(EXITING).code(NOPS);
    nmi(guest);
    expect(guest.exit()).toMatchObject({ reason: 0, interruption: 0x8000_0202, error: 0 });
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(0n);
    expect(guest.state.get32(STATE.INTERRUPTIBILITY)).toBe(8);
    expect(guest.processor.apic.nmiPending()).toBe(false);
  });

  it('go through the guest IDT without NMI exiting and block others until IRET', () => {
    const guest = new Guest(HALT).code(NOPS);
    nmi(guest);
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RIP')).toBe(handler(2));
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(8n);
  });

  it('stay pending while the guest is entered with blocking by NMI and without virtual NMIs', () => {
    const guest = new Guest({ ...EXITING, ...HALT, GUEST_INTERRUPTIBILITY_STATE: 8 }).code(NOPS);
    nmi(guest);
    expect(guest.exit().reason).toBe(12);
    expect(guest.processor.apic.nmiPending()).toBe(true);
  });

  it('are not blocked by virtual-NMI blocking', () => {
    const guest = new Guest({ ...VIRTUAL, GUEST_INTERRUPTIBILITY_STATE: 8 }).code(NOPS);
    nmi(guest);
    expect(guest.exit()).toMatchObject({ reason: 0, interruption: 0x8000_0202 });
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(8n);
  });

  it('an injected one sets virtual-NMI blocking, IRET ends it, the NMI window opens', () => {
    const guest = new Guest({
      ...VIRTUAL,
      PRIMARY_CONTROLS: 0x0440_6172,
      VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0202n,
    })
      .code(NOPS)
      .code('90 48 cf', HANDLERS + 2 * 16);
    expect(guest.exit().reason).toBe(8);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(0n);
    expect(guest.get('GUEST_RSP')).toBe(0xd000n);
  });

  it('a fault of IRET that exits says that it has unblocked NMIs', () => {
    const guest = new Guest({
      ...VIRTUAL,
      EXCEPTION_BITMAP: 1 << 13,
      GUEST_INTERRUPTIBILITY_STATE: 8,
    }).code('48 cf');
    guest.memory.write(0xd008, 8, 0x20n); // CS of the frame: no descriptor there
    expect(guest.exit()).toMatchObject({ reason: 0, interruption: 0x8000_1b0d });
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(0n);
  });

  it('IRET leaves blocking alone with NMI exiting and without virtual NMIs', () => {
    const guest = new Guest({
      ...EXITING,
      EXCEPTION_BITMAP: 1 << 13,
      GUEST_INTERRUPTIBILITY_STATE: 8,
    }).code('48 cf');
    guest.memory.write(0xd008, 8, 0x20n);
    expect(guest.exit()).toMatchObject({ reason: 0, interruption: 0x8000_0b0d });
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(8n);
  });
});

describe('the VMX-preemption timer', () => {
  const TIMER = { PIN_BASED_CONTROLS: 0x56 };
  const LOOP = 'eb fe';

  it('exits before the first instruction when it is entered with 0', () => {
    const guest = new Guest({ ...TIMER, VMX_PREEMPTION_TIMER_VALUE: 0 }).code(LOOP);
    expect(guest.exit()).toMatchObject({ reason: 52, qualification: 0n });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
  });

  it('counts down once every 32 ticks of the TSC', () => {
    const guest = new Guest({ ...TIMER, VMX_PREEMPTION_TIMER_VALUE: 3 }).code(LOOP);
    const before = guest.state.total('ticks');
    expect(guest.exit().reason).toBe(52);
    expect(guest.state.total('ticks') - before).toBe(96n);
  });

  it('is saved only with its exit control', () => {
    const code = `${'90 '.repeat(40)} f4`;
    const saved = new Guest({
      ...TIMER,
      ...HALT,
      VM_EXIT_CONTROLS: 0x43_6ffb,
      VMX_PREEMPTION_TIMER_VALUE: 9,
    }).code(code);
    expect(saved.exit().reason).toBe(12);
    expect(saved.get('VMX_PREEMPTION_TIMER_VALUE')).toBe(8n);
    const kept = new Guest({ ...TIMER, ...HALT, VMX_PREEMPTION_TIMER_VALUE: 9 }).code(code);
    expect(kept.exit().reason).toBe(12);
    expect(kept.get('VMX_PREEMPTION_TIMER_VALUE')).toBe(9n);
  });

  it('runs in HLT', () => {
    const guest = new Guest({ ...TIMER, VMX_PREEMPTION_TIMER_VALUE: 5, GUEST_RFLAGS: 2n }).code(
      'f4',
    );
    expect(guest.exit().reason).toBe(52);
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(1n);
  });
});

describe('the monitor trap flag', () => {
  const TRAP = PRIMARY(1 << 27);

  it('exits after one instruction', () => {
    const guest = new Guest(TRAP).code(NOPS);
    expect(guest.exit()).toMatchObject({ reason: 37, qualification: 0n });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 1));
  });

  it('exits after the delivery of an injected event, before its handler', () => {
    const guest = new Guest({ ...TRAP, VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0041n }).code(
      NOPS,
    );
    expect(guest.exit().reason).toBe(37);
    expect(guest.get('GUEST_RIP')).toBe(handler(0x41));
  });

  it('exits after a fault of the first instruction has been delivered', () => {
    const guest = new Guest(TRAP).code('0f 0b');
    expect(guest.exit().reason).toBe(37);
    expect(guest.get('GUEST_RIP')).toBe(handler(6));
  });

  it('injected as an other event exits at once, without the control', () => {
    const guest = new Guest({ VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0700n }).code(NOPS);
    expect(guest.exit().reason).toBe(37);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.get('VM_ENTRY_INTERRUPTION_INFORMATION')).toBe(0x700n);
  });

  it('exits after one iteration of a string instruction', () => {
    const guest = new Guest(TRAP).code('f3 aa');
    guest.state.gpr[1] = 3n;
    guest.state.gpr[7] = 0x5000n;
    expect(guest.exit().reason).toBe(37);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.state.gpr[1]).toBe(2n);
  });
});

describe('event injection', () => {
  const inject = (information: bigint, more: Fields = {}): Fields => ({
    ...HALT,
    VM_ENTRY_INTERRUPTION_INFORMATION: information,
    ...more,
  });
  const frame = (guest: Guest, words: number) =>
    Array.from({ length: words }, (_, i) =>
      guest.memory.read(Number(guest.get('GUEST_RSP')) + i * 8, 8),
    );

  // biome-ignore format: a table
  it.each([
    ['an external interrupt',            inject(0x8000_0041n),                                      0x41, [0xe000n, 8n, 0x202n]],
    ['an NMI',                           inject(0x8000_0202n),                                      2,    [0xe000n, 8n, 0x202n]],
    ['a hardware exception',             inject(0x8000_0306n),                                      6,    [0xe000n, 8n, 0x202n]],
    ['a hardware exception with a code', inject(0x8000_0b0dn, { VM_ENTRY_EXCEPTION_ERROR_CODE: 0x1234 }), 13, [0x1234n, 0xe000n, 8n, 0x202n]],
    ['a software interrupt',             inject(0x8000_0480n, { VM_ENTRY_INSTRUCTION_LENGTH: 2 }),  0x80, [0xe002n, 8n, 0x202n]],
    ['a privileged software exception',  inject(0x8000_0501n, { VM_ENTRY_INSTRUCTION_LENGTH: 1 }),  1,    [0xe001n, 8n, 0x202n]],
    ['a software exception',             inject(0x8000_0603n, { VM_ENTRY_INSTRUCTION_LENGTH: 1 }),  3,    [0xe001n, 8n, 0x202n]],
  ])('of %s goes through the guest IDT', (_name, fields, vector, pushed) => {
    const guest = new Guest({ ...fields, EXCEPTION_BITMAP: 0xffff_ffffn });
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RIP')).toBe(handler(vector));
    expect(frame(guest, pushed.length)).toEqual(pushed);
    expect(guest.get('VM_ENTRY_INTERRUPTION_INFORMATION') >> 31n).toBe(0n);
  });

  it('that itself faults exits with the injected event as IDT-vectoring information', () => {
    const guest = new Guest(
      inject(0x8000_0b0dn, {
        VM_ENTRY_EXCEPTION_ERROR_CODE: 0x18,
        EXCEPTION_BITMAP: 1 << 14,
        GUEST_RSP: 0x4000_2000n,
      }),
    );
    expect(guest.exit()).toMatchObject({
      reason: 0,
      interruption: 0x8000_0b0e,
      error: 2,
      vectoring: 0x8000_0b0d,
      vectoringError: 0x18,
      qualification: 0x4000_1ff8n,
    });
  });

  it('of #PF and #DB leaves CR2 and DR6 alone', () => {
    for (const information of [0x8000_0b0en, 0x8000_0301n]) {
      const guest = new Guest(inject(information));
      guest.state.set(STATE.CR2, 0x1111n);
      guest.state.set(STATE.DR + 48, 0xffff_0ff0n);
      guest.exit();
      expect(guest.state.get(STATE.CR2)).toBe(0x1111n);
      expect(guest.state.get(STATE.DR + 48)).toBe(0xffff_0ff0n);
    }
  });

  it('wakes a halted guest', () => {
    const guest = new Guest(inject(0x8000_0041n, { GUEST_ACTIVITY_STATE: 1 })).code(NOPS);
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(0n);
    expect(guest.get('GUEST_RIP')).toBe(handler(0x41));
  });
});

describe('pending debug exceptions', () => {
  it('loaded by VM entry are delivered before the first instruction', () => {
    const guest = new Guest({ EXCEPTION_BITMAP: 2, GUEST_PENDING_DEBUG_EXCEPTIONS: 0x4000n }).code(
      NOPS,
    );
    expect(guest.exit()).toMatchObject({
      reason: 0,
      interruption: 0x8000_0301,
      qualification: 0x4000n,
    });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
  });

  it('wait behind blocking by MOV SS, and are saved by an exit meanwhile', () => {
    const fields = {
      EXCEPTION_BITMAP: 2,
      GUEST_RFLAGS: 0x302n,
      GUEST_PENDING_DEBUG_EXCEPTIONS: 0x4000n,
      GUEST_INTERRUPTIBILITY_STATE: 2,
    };
    const guest = new Guest(fields).code('0f a2');
    expect(guest.exit().reason).toBe(10);
    expect(guest.get('GUEST_PENDING_DEBUG_EXCEPTIONS')).toBe(0x4000n);
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(2n);
  });
});

describe('a single step held back by MOV SS', () => {
  const UNDER_TF = 'b8 10 00 00 00 68 02 01 00 00 9d 8e d0'; // mov eax, 10H; push 102H; popfq; mov ss, eax

  // biome-ignore format: a table
  it.each<[string, Fields, string, number]>([
    ['an instruction that exits', {},                         '0f a2', 10],
    ['an exception that exits',   { EXCEPTION_BITMAP: 1 << 6 }, '0f 0b', 0],
  ])('is saved as pending by %s behind it, and VM entry takes it so', (_what, fields, code, reason) => {
    const guest = new Guest(fields).code(`${UNDER_TF} ${code}`);
    expect(guest.exit().reason).toBe(reason);
    expect(guest.get('GUEST_PENDING_DEBUG_EXCEPTIONS')).toBe(0x4000n);
    expect(guest.get('GUEST_INTERRUPTIBILITY_STATE')).toBe(2n);
    expect(guest.exit().reason).toBe(reason);
  });
});

describe('the TPR shadow', () => {
  const SHADOW: Fields = { PRIMARY_CONTROLS: 0x0420_61f2, VIRTUAL_APIC_ADDRESS: 0x1_9000n };

  it('is what MOV CR8 reads and writes', () => {
    const guest = new Guest(SHADOW).code('b8 05 00 00 00 44 0f 22 c0 44 0f 20 c3 f4');
    expect(guest.exit().reason).toBe(12);
    expect(guest.memory.read(0x1_9080, 4)).toBe(0x50n);
    expect(guest.state.gpr[3]).toBe(5n);
    expect(guest.processor.apic.taskPriority()).toBe(0);
  });

  it('below the threshold exits after the instruction', () => {
    const guest = new Guest({ ...SHADOW, TPR_THRESHOLD: 4 }).code('b8 03 00 00 00 44 0f 22 c0 f4');
    guest.memory.write(0x1_9080, 4, 0x40n);
    expect(guest.exit()).toMatchObject({ reason: 43, qualification: 0n });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 9));
    expect(guest.memory.read(0x1_9080, 4)).toBe(0x30n);
  });
});

describe('control registers under masks', () => {
  it('read as the shadow where masked and keep masked bits when written', () => {
    const guest = new Guest({
      ...HALT,
      CR0_GUEST_HOST_MASK: 0x8n,
      CR0_READ_SHADOW: 0x8n,
      CR4_GUEST_HOST_MASK: 0x2000n,
      CR4_READ_SHADOW: 0n,
    }).code('0f 20 c0 0f 20 e3 48 89 c1 48 83 c9 02 0f 22 c1 f4');
    expect(guest.exit().reason).toBe(12);
    expect(guest.state.gpr[0]).toBe(0x8000_0039n); // TS from the shadow
    expect(guest.state.gpr[3]).toBe(0x20n); // VMXE from the shadow
    expect(guest.get('GUEST_CR0')).toBe(0x8000_0033n); // MP written, TS kept clear
  });

  it('CLTS with TS masked and not shadowed changes nothing', () => {
    const guest = new Guest({ ...HALT, GUEST_CR0: 0x8000_0039n, CR0_GUEST_HOST_MASK: 8n }).code(
      '0f 06 f4',
    );
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_CR0')).toBe(0x8000_0039n);
  });
});

describe('the TSC', () => {
  it('is scaled and offset for RDTSC and RDMSR alike', () => {
    const fields: Fields = {
      PRIMARY_CONTROLS: 0x9400_61fan,
      SECONDARY_CONTROLS: 0x0200_0000,
      MSR_BITMAP_ADDRESS: 0x1_3000n,
      TSC_OFFSET: 0x1_0000_0000n,
      TSC_MULTIPLIER: 3n << 48n,
    };
    const guest = new Guest(fields).code('0f 31 89 c3 89 d6 b9 10 00 00 00 0f 32 f4');
    const start = guest.processor.tsc();
    guest.exit();
    const [rax, , rdx, rbx] = guest.state.gpr;
    expect(guest.state.gpr[6]).toBe(1n);
    expect(rbx).toBe(start * 3n);
    expect(rdx).toBe(1n);
    expect(rax).toBe((start + 4n) * 3n);
  });
});

describe('INIT and SIPI', () => {
  const signal = (guest: Guest, mode: number, vector = 0) =>
    guest.processor.apic.deliver({
      mode,
      vector,
      level: false,
      assert: true,
      logical: false,
      shorthand: 0,
      destination: 0,
      broadcast: 0xff,
    });
  const [INIT, STARTUP] = [5, 6];

  it('INIT exits once; neither the processor nor its APIC is reset', () => {
    const guest = new Guest(HALT).code(NOPS);
    guest.processor.msrs.wrmsr(0x834, 0x42n); // LVTPC
    signal(guest, INIT);
    expect(guest.exit()).toMatchObject({
      reason: 3,
      qualification: 0n,
      interruption: 0,
      length: 0,
    });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(guest.processor.msrs.rdmsr(0x834)).toBe(0x42n);
    expect(guest.exit().reason).toBe(12);
  });

  it('SIPI exits a guest that VM entry put into wait-for-SIPI, with its vector', () => {
    const guest = new Guest({ GUEST_ACTIVITY_STATE: 3 }).code(NOPS);
    expect(() => guest.exit()).toThrow(/no VM exit: waiting/);
    signal(guest, STARTUP, 0x9f);
    expect(guest.processor.cpu.run(1000).reason).toBe('vm-exit');
    expect(guest.get('EXIT_REASON')).toBe(4n);
    expect(guest.get('EXIT_QUALIFICATION')).toBe(0x9fn);
    expect(guest.get('GUEST_ACTIVITY_STATE')).toBe(3n);
    expect(guest.state.get32(STATE.ACTIVITY)).toBe(0);
    // It is gone: the guest goes on where the hypervisor says.
    guest.set({ GUEST_ACTIVITY_STATE: 0, ...HALT });
    expect(guest.exit().reason).toBe(12);
  });

  it('SIPI is lost in VMX root operation and on a guest that does not wait', () => {
    const guest = new Guest({ GUEST_ACTIVITY_STATE: 3 }).code(NOPS);
    signal(guest, STARTUP, 0x9f);
    expect(() => guest.exit()).toThrow(/no VM exit: waiting/);
    const running = new Guest(HALT).code(NOPS);
    signal(running, STARTUP, 0x9f);
    expect(running.exit().reason).toBe(12);
  });

  it('in wait-for-SIPI interrupts, NMIs and INITs wait', () => {
    const guest = new Guest({ GUEST_ACTIVITY_STATE: 3 }).code(NOPS);
    interrupt(guest, 0x41);
    nmi(guest);
    expect(() => guest.exit()).toThrow(/no VM exit: waiting/);
    signal(guest, INIT);
    expect(guest.processor.cpu.run(1000).reason).toBe('waiting');
  });
});
