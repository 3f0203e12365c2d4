import { describe, expect, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';

const SAMPLING = 0x53_00c0n;
const LONG = 60_000;
const AROUND = 20;

/**
 * GP 0 wraps with the n-th instruction counted: the enabling WRMSR is the first, then 20 NOPs, XOR and CPUID,
 * 25 NOPs. Answers where the NMI found the guest, as the number of instructions counted before it.
 */
function interruptedAfter(design: DesignName, n: number, minimumPeriod: bigint): number {
  const machine = hostFor(design, { profile: 'skylake-server', perf: { minimumPeriod } });
  const code = new GuestCode()
    .onNmi((handler) => handler.wrmsr(MSR.GLOBAL_CTRL, 0n).reportInterrupted())
    .lvtpc(0x400n)
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .wrmsr(MSR.PERFEVTSEL0, SAMPLING)
    .wrmsr(MSR.PMC0, BigInt(2 ** 32 - n))
    .wrmsr(MSR.GLOBAL_CTRL, 1n);
  // Addresses of the instructions behind the enabling write, one by one.
  const starts: number[] = [];
  for (let i = 0; i < AROUND; i++) {
    starts.push(code.here);
    code.nop();
  }
  starts.push(code.here, code.here + 2);
  code.cpuid();
  for (let i = 0; i < AROUND + 5; i++) {
    starts.push(code.here);
    code.nop();
  }
  const guest = machine.start({
    code: code.wrmsr(MSR.GLOBAL_CTRL, 0n).end().bytes,
    design: DESIGNS[design],
  });
  machine.finish();
  expect(guest.readings).toHaveLength(1);
  return starts.indexOf(Number(guest.readings[0])) + 1;
}

/** Instruction that KVM carries out at the exit: the enabling write is 1, XOR 22, CPUID 23. */
const CPUID = 23;
const ALL = Array.from({ length: 2 * AROUND + 1 }, (_, i) => CPUID - AROUND + i);

describe.each(['emulated', 'emulated-identity', 'mediated', 'rfc-v1', 'blend'] as const)(
  'an overflow on each of ±20 instructions around a VM exit, %s',
  (design) => {
    it(
      'interrupts before the very next instruction',
      () => {
        expect(ALL.map((n) => interruptedAfter(design, n, 1n))).toEqual(ALL);
      },
      LONG,
    );
  },
);

describe('with the host’s shortest period of 2, as in Linux', () => {
  it(
    'only the overflow one instruction after an emulated one comes late, by one',
    () => {
      const late = ALL.filter((n) => interruptedAfter('emulated', n, 2n) !== n);
      expect(late).toEqual([CPUID + 1]);
      expect(interruptedAfter('emulated', CPUID + 1, 2n)).toBe(CPUID + 2);
    },
    LONG,
  );

  it(
    'a mediated guest knows nothing of it',
    () => {
      expect(interruptedAfter('mediated', CPUID + 1, 2n)).toBe(CPUID + 1);
    },
    LONG,
  );
});
