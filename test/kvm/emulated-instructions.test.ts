import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode } from '../../src/lab/scenarios/guest-code.ts';
import { HostMachine } from '../../src/machine/host-machine.ts';
import { bareReadings, hostedReadings } from './bare-differential.ts';

const program = (start: GuestCode, ...bytes: number[]) =>
  Uint8Array.from([...start.bytes, ...bytes, ...new GuestCode().end().bytes]);
const [CPUID, NOP, PUSHF, POPF] = [[0x31, 0xc0, 0x0f, 0xa2], 0x90, 0x9c, 0x9d] as const;
/** OR and AND of the flags on the stack: TF on, TF off. */
const [SET_TF, CLEAR_TF] = [
  [0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00],
  [0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff],
] as const;
/** MOV ESI; MOV DX, the report port; MOV ECX; REP OUTSD. */
const repOuts = (from: number, count: number) => [
  ...[0xbe, from & 0xff, (from >> 8) & 0xff, (from >> 16) & 0xff, 0],
  ...[0x66, 0xba, 0x00, 0x20],
  ...[0xb9, count, 0, 0, 0],
  ...[0xf3, 0x6f],
];

describe.each(['emulated', 'mediated'] as const)(
  'instructions that KVM carries out (%s)',
  (design) => {
    it('end in a debug trap under TF, like the others', () => {
      const start = new GuestCode().onInterrupts([[1, (handler) => handler.reportInterrupted()]]);
      const code = program(
        start,
        ...[PUSHF, ...SET_TF, POPF],
        ...[...CPUID, NOP, ...CPUID],
        ...[PUSHF, ...CLEAR_TF, POPF, NOP],
      );
      const first = start.here + 9;
      // XOR, CPUID, NOP, XOR, CPUID, PUSHF, AND, and POPF, which clears TF after itself.
      const ends = [2, 4, 5, 7, 9, 10, 17].map((at) => BigInt(first + at));
      const bare = bareReadings(code);
      expect(bare.slice(0, ends.length)).toEqual(ends);
      expect(hostedReadings(code, design)).toEqual(bare);
    });

    it('write strings to ports, an element at a time, and retire once', () => {
      const code = program(new GuestCode(), ...repOuts(0x10_0000, 6));
      // The program's own first 24 bytes.
      const own = new DataView(code.buffer).getBigUint64.bind(new DataView(code.buffer));
      const expected = [0, 8, 16].map((at) => own(at, true));
      expect(bareReadings(code)).toEqual(expected);
      expect(hostedReadings(code, design)).toEqual(expected);
    });
  },
);

describe('HLT', () => {
  const SELF_IPI = 0x83f;
  const CLI = 0xfa;
  const STI_HLT = [0xfb, 0xf4];
  const HLT = 0xf4;
  /** An interrupt to itself while interrupts are off, then the bytes. */
  const run = (...bytes: number[]) => {
    const start = new GuestCode().onInterrupts([[0x40, (handler) => handler.reportMsr(0x1b)]]);
    start.lvtpc(0x1_0000n);
    const code = program(
      start,
      ...[CLI, ...new GuestCode().wrmsr(SELF_IPI, 0x40n).bytes, ...bytes],
    );
    const machine = new HostMachine();
    const guest = machine.start({ code, design: DESIGNS.emulated });
    machine.run(2_000_000);
    return { ended: guest.ended, interrupts: guest.readings.length };
  };

  it('ends by an interrupt that is pending, if RFLAGS.IF lets it', () => {
    expect(run(...STI_HLT)).toEqual({ ended: true, interrupts: 1 });
  });

  it('with interrupts off sleeps on beside it', () => {
    expect(run(HLT)).toEqual({ ended: false, interrupts: 0 });
  });

  it('is not ended by a counter that it makes overflow in software: that waits for the next interrupt', () => {
    const start = new GuestCode().lvtpc(0x40n).wrmsr(0x38f, 0n).wrmsr(0x186, 0x53_00c0n);
    // The enabling WRMSR is one, STI another, HLT the third.
    const code = program(start.wrmsr(0xc1, 0xffff_fffdn).wrmsr(0x38f, 1n), ...STI_HLT);
    const machine = new HostMachine({ perf: { minimumPeriod: 1n } });
    const guest = machine.start({ code, design: DESIGNS.emulated });
    machine.run(2_000_000);
    expect(guest.ended).toBe(false);
    expect(guest.vcpu.statistics.pmis).toBe(0);
  });
});
