import { describe, expect, it } from 'vitest';
import type { EngineFactory } from '../../src/cpu/engines/engine.ts';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { CODE, EPT, EPTP, Guest, HANDLERS } from './guest.ts';
import type { Fields } from './processor.ts';

const ACCESS_PAGE = 0x5_0000;
const VIRTUAL_PAGE = 0x1_9000;
const DESCRIPTOR = 0x1_a040;

/** VMCALL ends each guest; HLT of a handler exits too. */
const BASE: Fields = {
  PRIMARY_CONTROLS: 0x8420_61f2n,
  VIRTUAL_APIC_ADDRESS: BigInt(VIRTUAL_PAGE),
  APIC_ACCESS_ADDRESS: BigInt(ACCESS_PAGE),
};
const ACCESSES = { ...BASE, SECONDARY_CONTROLS: 1 };
const REGISTERS = { ...BASE, SECONDARY_CONTROLS: 0x101 };
const DELIVERY = { ...BASE, SECONDARY_CONTROLS: 0x201, PIN_BASED_CONTROLS: 0x17 };
const X2APIC = {
  ...BASE,
  SECONDARY_CONTROLS: 0x10,
  PRIMARY_CONTROLS: 0x9420_61f2n,
  MSR_BITMAP_ADDRESS: 0x1_b000n,
};
const X2_DELIVERY = { ...X2APIC, SECONDARY_CONTROLS: 0x310, PIN_BASED_CONTROLS: 0x17 };
const POSTED = {
  ...DELIVERY,
  PIN_BASED_CONTROLS: 0x97,
  VM_EXIT_CONTROLS: 0x3_effbn,
  POSTED_INTERRUPT_NOTIFICATION_VECTOR: 0xf2,
  POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: BigInt(DESCRIPTOR),
};

const ENGINES: readonly (readonly [string, EngineFactory])[] = [
  ['the oracle', (core) => new Oracle(core)],
  ['the interpreter', (core) => new Interpreter(core)],
];

describe.each(ENGINES)('on %s', (_name, engine) => {
  /** RBX points at the APIC-access page. */
  function guest(fields: Fields, code: string): Guest {
    const made = new Guest(fields, undefined, engine).code(`${code} 0f 01 c1`);
    made.state.gpr[3] = BigInt(ACCESS_PAGE);
    return made;
  }
  const virtual = ({ memory }: Guest, offset: number) => memory.read(VIRTUAL_PAGE + offset, 4);
  const put = ({ memory }: Guest, offset: number, value: number) =>
    memory.write(VIRTUAL_PAGE + offset, 4, BigInt(value));
  /** Executes up to an exit, and says where. */
  const run = (made: Guest) => {
    const { reason, qualification } = made.exit();
    return { reason, qualification, rip: Number(made.get('GUEST_RIP')) };
  };

  describe('the APIC-access page', () => {
    it('reads VTPR at offset 80H from the virtual-APIC page', () => {
      const made = guest(ACCESSES, '8b 83 80 00 00 00'); // mov eax,[rbx+80h]
      put(made, 0x80, 0x40);
      made.memory.write(ACCESS_PAGE + 0x80, 4, 0x99n);
      expect(run(made).reason).toBe(18);
      expect(made.state.gpr[0]).toBe(0x40n);
    });

    it('takes a write of VTPR, of which one byte is kept', () => {
      const made = guest(ACCESSES, 'c7 83 80 00 00 00 50 01 00 00'); // mov dword [rbx+80h],150h
      expect(run(made).reason).toBe(18);
      expect(virtual(made, 0x80)).toBe(0x50n);
      expect(made.memory.read(ACCESS_PAGE + 0x80, 4)).toBe(0n);
    });

    // biome-ignore format: a table
    it.each([
      ['a read of another register',             ACCESSES,  '8b 43 20',             0x0020n],
      ['a write of another register',            ACCESSES,  '89 43 30',             0x1030n],
      ['a read of eight bytes',                  ACCESSES,  '48 8b 83 80 00 00 00', 0x0080n],
      ['a read that is not of the low four bytes', ACCESSES, '8b 83 82 00 00 00',   0x0082n],
      ['a read of the current count, with virtualised registers', REGISTERS, '8b 83 90 03 00 00', 0x0390n],
      ['a write of the version, with virtualised registers',      REGISTERS, '89 43 30', 0x1030n],
      ['an instruction fetch',                   REGISTERS, 'ff e3',                0x2000n],
      ['a read-modify-write of one that is not readable', ACCESSES, '83 4b 30 01',  0x0030n],
    ])('exits on %s', (_what, fields, code, qualification) => {
      const made = guest(fields, code);
      const exit = run(made);
      expect(exit).toMatchObject({ reason: 44, qualification });
      expect(exit.rip).toBe(code === 'ff e3' ? ACCESS_PAGE : CODE);
    });

    it('exits on any access without the TPR shadow', () => {
      const made = guest({ ...ACCESSES, PRIMARY_CONTROLS: 0x8400_61f2n }, '8b 83 80 00 00 00');
      expect(run(made)).toMatchObject({ reason: 44, qualification: 0x80n });
    });

    it('exits when an event is delivered through it', () => {
      // The stack lies in the page: INT3 pushes there.
      const made = guest({ ...REGISTERS, GUEST_RSP: BigInt(ACCESS_PAGE + 0x800) }, 'cc');
      expect(run(made)).toMatchObject({ reason: 44 });
      expect(made.get('EXIT_QUALIFICATION') >> 12n).toBe(3n);
      expect(made.get('IDT_VECTORING_INFORMATION')).toBe(0x8000_0603n);
    });

    it('exits when a paging structure lies in it', () => {
      const made = guest({ ...ACCESSES, GUEST_CR3: BigInt(ACCESS_PAGE) }, '90');
      expect(run(made)).toMatchObject({ reason: 44, qualification: 0xf000n });
    });

    it('is the host-physical page, behind EPT', () => {
      const made = guest(
        { ...ACCESSES, SECONDARY_CONTROLS: 3, EPT_POINTER: EPTP },
        '8b 83 80 00 00 00',
      );
      made.memory.write(EPT.PT + 0x51 * 8, 8, BigInt(ACCESS_PAGE | 0x37));
      made.state.gpr[3] = 0x5_1000n;
      put(made, 0x80, 0x70);
      expect(run(made).reason).toBe(18);
      expect(made.state.gpr[0]).toBe(0x70n);
    });

    it('virtualises the registers when that is on', () => {
      const made = guest(REGISTERS, '8b 43 20 8b 8b 00 02 00 00 8b 93 e0 03 00 00'); // 20H, 200H, 3E0H
      put(made, 0x20, 0x1234);
      put(made, 0x200, 0x5678);
      put(made, 0x3e0, 0xb);
      expect(run(made).reason).toBe(18);
      expect([made.state.gpr[0], made.state.gpr[1], made.state.gpr[2]]).toEqual([
        0x1234n,
        0x5678n,
        0xbn,
      ]);
    });

    it('exits after the write of a virtualised register that somebody must act on', () => {
      const made = guest(REGISTERS, '89 83 20 03 00 00'); // mov [rbx+320h],eax
      made.state.gpr[0] = 0x2_00ecn;
      expect(run(made)).toEqual({ reason: 56, qualification: 0x320n, rip: CODE + 6 });
      expect(virtual(made, 0x320)).toBe(0x2_00ecn);
    });

    it('keeps bits 31:24 of ICR high, and does not exit', () => {
      const made = guest(REGISTERS, 'c7 83 10 03 00 00 ff ff ff 05'); // 5ffffffh
      expect(run(made).reason).toBe(18);
      expect(virtual(made, 0x310)).toBe(0x500_0000n);
    });
  });

  describe('the TPR threshold', () => {
    it('exits after a write of VTPR below it', () => {
      const made = guest({ ...ACCESSES, TPR_THRESHOLD: 4 }, 'c7 83 80 00 00 00 30 00 00 00');
      put(made, 0x80, 0x40);
      expect(run(made)).toEqual({ reason: 43, qualification: 0n, rip: CODE + 10 });
    });

    it('exits at once after a VM entry below it', () => {
      const made = guest({ ...ACCESSES, TPR_THRESHOLD: 4 }, '90');
      put(made, 0x80, 0x30);
      expect(run(made)).toEqual({ reason: 43, qualification: 0n, rip: CODE });
    });
  });

  describe('x2APIC mode', () => {
    const rdmsr = (address: number) =>
      `b9 ${(address & 0xff).toString(16).padStart(2, '0')} 08 00 00 0f 32`;
    const wrmsr = (address: number, value: number) =>
      `b9 ${(address & 0xff).toString(16).padStart(2, '0')} 08 00 00 b8 ${(value & 0xff).toString(16).padStart(2, '0')} ${(value >> 8).toString(16).padStart(2, '0')} 00 00 31 d2 0f 30`;

    it('reads and writes TPR by MSR 808H', () => {
      const made = guest(X2APIC, `${wrmsr(0x808, 0x60)} 31 c0 ${rdmsr(0x808)}`);
      expect(run(made).reason).toBe(18);
      expect(made.state.gpr[0]).toBe(0x60n);
      expect(virtual(made, 0x80)).toBe(0x60n);
    });

    it('faults on reserved bits of TPR', () => {
      const made = guest({ ...X2APIC, EXCEPTION_BITMAP: 1 << 13 }, wrmsr(0x808, 0x160));
      expect(run(made)).toMatchObject({ reason: 0 });
    });

    it('exits by the MSR bitmap first', () => {
      const made = guest(X2APIC, rdmsr(0x808));
      made.memory.write(0x1_b000 + 0x101, 1, 1n);
      expect(run(made).reason).toBe(31);
    });

    it('reads other registers from the virtual-APIC page when they are virtualised', () => {
      const made = guest(X2_DELIVERY, rdmsr(0x802));
      put(made, 0x20, 0x77);
      expect(run(made).reason).toBe(18);
      expect(made.state.gpr[0]).toBe(0x77n);
    });

    it('sends the guest an interrupt by MSR 83FH', () => {
      const made = guest(X2_DELIVERY, `fb 90 ${wrmsr(0x83f, 0x51)}`);
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x51 * 16 });
      expect(made.get('GUEST_INTERRUPT_STATUS')).toBe(0x5100n);
    });

    it('exits after a self-IPI of a vector below 16', () => {
      const made = guest(X2_DELIVERY, wrmsr(0x83f, 0x05));
      expect(run(made)).toMatchObject({ reason: 56, qualification: 0x3f0n });
    });

    it('ends an interrupt by MSR 80BH, which must get 0', () => {
      const made = guest(
        { ...X2_DELIVERY, GUEST_INTERRUPT_STATUS: 0x4100, EXCEPTION_BITMAP: 1 << 13 },
        `${wrmsr(0x80b, 0)} ${wrmsr(0x80b, 1)}`,
      );
      put(made, 0x100 + 2 * 16, 2); // vector 41H in service
      expect(run(made)).toMatchObject({ reason: 0, rip: CODE + 14 + 12 });
      expect(virtual(made, 0x120)).toBe(0n);
      expect(made.get('GUEST_INTERRUPT_STATUS')).toBe(0n);
    });
  });

  describe('virtual-interrupt delivery', () => {
    /** Requests vectors in VIRR and RVI. */
    const request = (made: Guest, ...vectors: number[]) => {
      for (const vector of vectors) {
        const at = 0x200 + (vector >> 5) * 16;
        put(made, at, Number(virtual(made, at)) | (1 << (vector & 31)));
      }
      made.set({
        GUEST_INTERRUPT_STATUS:
          (Number(made.get('GUEST_INTERRUPT_STATUS')) & 0xff00) | Math.max(...vectors),
      });
    };

    it('delivers what RVI requests right after VM entry', () => {
      const made = guest({ ...DELIVERY, GUEST_RFLAGS: 0x202n }, '90');
      request(made, 0x52, 0x41);
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x520 });
      expect(made.get('GUEST_INTERRUPT_STATUS')).toBe(0x5241n); // SVI, RVI
      expect(virtual(made, 0xa0)).toBe(0x50n);
      expect(virtual(made, 0x100 + 2 * 16)).toBe(1n << 18n);
      expect(virtual(made, 0x200 + 2 * 16)).toBe(2n);
    });

    it('waits for the guest to enable interrupts', () => {
      const made = guest({ ...DELIVERY, GUEST_RFLAGS: 2n }, '90 fb 90 90'); // nop; sti; nop
      request(made, 0x52);
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x520 });
      expect(made.memory.read(Number(made.get('GUEST_RSP')), 8)).toBe(BigInt(CODE + 3));
    });

    it('waits for a lower task priority', () => {
      const made = guest({ ...DELIVERY, GUEST_RFLAGS: 0x202n }, '90 44 0f 22 c0 90'); // mov cr8,rax
      put(made, 0x80, 0x60);
      request(made, 0x52);
      made.state.gpr[0] = 4n;
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x520 });
      expect(made.memory.read(Number(made.get('GUEST_RSP')), 8)).toBe(BigInt(CODE + 5));
    });

    it('waits for the end of an interrupt of the same class, whose EOI then lets it in', () => {
      const made = guest(
        { ...DELIVERY, GUEST_INTERRUPT_STATUS: 0x5100, GUEST_RFLAGS: 0x202n },
        '89 83 b0 00 00 00 90',
      );
      put(made, 0x100 + 2 * 16, 1 << 17); // 51H in service
      request(made, 0x52);
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x520 });
      expect(made.memory.read(Number(made.get('GUEST_RSP')), 8)).toBe(BigInt(CODE + 6));
    });

    it('wakes a halted guest', () => {
      const made = guest({ ...DELIVERY, GUEST_ACTIVITY_STATE: 1, GUEST_RFLAGS: 0x202n }, '90');
      request(made, 0x52);
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x520 });
    });

    it('gives way to interrupt-window exiting', () => {
      const made = guest(
        { ...DELIVERY, PRIMARY_CONTROLS: 0x8420_61f6n, GUEST_RFLAGS: 0x202n },
        '90',
      );
      request(made, 0x52);
      expect(run(made)).toMatchObject({ reason: 7, rip: CODE });
      expect(made.get('GUEST_INTERRUPT_STATUS')).toBe(0x52n);
    });

    it('exits after an EOI that the EOI-exit bitmap asks for', () => {
      const made = guest(
        { ...DELIVERY, GUEST_INTERRUPT_STATUS: 0x5100, EOI_EXIT_BITMAP_1: 1n << 0x11n },
        '89 83 b0 00 00 00',
      );
      put(made, 0x100 + 2 * 16, 1 << 17);
      expect(run(made)).toEqual({ reason: 45, qualification: 0x51n, rip: CODE + 6 });
    });

    it('takes a fixed, edge-triggered IPI to itself; exits after others', () => {
      const self = guest({ ...DELIVERY, GUEST_RFLAGS: 0x202n }, 'c7 83 00 03 00 00 53 40 04 00 90');
      expect(run(self)).toMatchObject({ reason: 12, rip: HANDLERS + 0x530 });
      const all = guest(DELIVERY, 'c7 83 00 03 00 00 53 40 08 00');
      expect(run(all)).toEqual({ reason: 56, qualification: 0x300n, rip: CODE + 10 });
    });
  });

  describe('posted interrupts', () => {
    const receive = ({ processor }: Guest, vector: number) =>
      processor.msrs.wrmsr(0x83f, BigInt(vector)); // SELF IPI of the local APIC itself

    it('are taken from the descriptor at the notification vector, without an exit', () => {
      const made = guest({ ...POSTED, GUEST_RFLAGS: 0x202n }, '90 eb fd');
      made.memory.write(DESCRIPTOR + 12, 1, 2n); // vector 61H
      made.memory.write(DESCRIPTOR + 32, 1, 1n); // outstanding notification
      receive(made, 0xf2);
      expect(run(made)).toMatchObject({ reason: 12, rip: HANDLERS + 0x610 });
      expect(made.memory.read(DESCRIPTOR + 12, 4)).toBe(0n);
      expect(made.memory.read(DESCRIPTOR + 32, 1)).toBe(0n);
      expect(made.get('GUEST_INTERRUPT_STATUS')).toBe(0x6100n);
      expect(made.processor.apic.pendingVector()).toBeUndefined();
    });

    it('leave other vectors to exit', () => {
      const made = guest(POSTED, '90 eb fd');
      receive(made, 0xf3);
      expect(run(made)).toMatchObject({ reason: 1 });
      expect(made.get('VM_EXIT_INTERRUPTION_INFORMATION')).toBe(0x8000_00f3n);
    });
  });
});
