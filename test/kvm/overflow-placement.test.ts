import { describe, expect, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';

const SAMPLING = 0x53_00c0n;
const LVTPC = 0x834;
const TO_NMI = 0x400n;
const LONG = 60_000;
const AROUND = 20;
/** Instruction that KVM carries out at the exit: the enabling write is 1, XOR 22, CPUID 23. */
const CPUID = 23;
const ALL = Array.from({ length: 2 * AROUND + 1 }, (_, i) => CPUID - AROUND + i);

/**
 * For each n in turn GP 0 wraps with the n-th instruction counted: the enabling WRMSR is the first, then 20 NOPs,
 * XOR and CPUID, 25 NOPs. The selector is off while the counter is written, or an identity map, where GLOBAL_CTRL does
 * not exit, would have it written while KVM takes it to run. Answers where each NMI found the guest, as the number of instructions counted before it.
 */
function interruptedAfter(design: DesignName, profile: string, minimumPeriod: bigint): number[] {
  const machine = hostFor(design, { profile, perf: { minimumPeriod } });
  const code = new GuestCode()
    .onNmi((handler) => handler.wrmsr(MSR.GLOBAL_CTRL, 0n).reportInterrupted().wrmsr(LVTPC, TO_NMI))
    .lvtpc(TO_NMI);
  const starts = ALL.map((n) => {
    code.wrmsr(MSR.GLOBAL_CTRL, 0n).wrmsr(MSR.GLOBAL_OVF_CTRL, 1n).wrmsr(MSR.PERFEVTSEL0, 0n);
    code.wrmsr(MSR.PERFEVTSEL0, SAMPLING).wrmsr(MSR.PMC0, BigInt(2 ** 32 - n));
    code.wrmsr(MSR.GLOBAL_CTRL, 1n);
    // Addresses of the instructions behind the enabling write, one by one.
    const addresses: number[] = [];
    for (let i = 0; i < AROUND; i++) {
      addresses.push(code.here);
      code.nop();
    }
    addresses.push(code.here, code.here + 2);
    code.cpuid();
    for (let i = 0; i < AROUND + 5; i++) {
      addresses.push(code.here);
      code.nop();
    }
    return addresses;
  });
  const { bytes } = code.wrmsr(MSR.GLOBAL_CTRL, 0n).end();
  const guest = machine.start({ code: bytes, design: DESIGNS[design] });
  machine.finish();
  expect(guest.readings).toHaveLength(ALL.length);
  return guest.readings.map((rip, at) => starts[at]!.indexOf(Number(rip)) + 1);
}

describe.each(Object.keys(DESIGNS) as DesignName[])(
  'an overflow on each of ±20 instructions around a VM exit, %s',
  (design) => {
    it.each(['sapphire-rapids', 'skylake-server'])(
      'interrupts before the very next instruction on %s',
      (profile) => {
        expect(interruptedAfter(design, profile, 1n)).toEqual(ALL);
      },
      LONG,
    );
  },
);

describe('with the host’s shortest period of 2, as in Linux', () => {
  it(
    'only the overflow one instruction after an emulated one comes late, by one',
    () => {
      const late = ALL.map((n) => (n === CPUID + 1 ? n + 1 : n));
      expect(interruptedAfter('emulated', 'skylake-server', 2n)).toEqual(late);
    },
    LONG,
  );

  it(
    'a mediated guest knows nothing of it',
    () => {
      expect(interruptedAfter('mediated', 'skylake-server', 2n)).toEqual(ALL);
    },
    LONG,
  );
});
