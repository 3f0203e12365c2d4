import { describe, expect, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR, SELECT } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';

const TSC_DEADLINE = 0x6e0;
const FAR = 1n << 40n;

/** A guest that arms its TSC-deadline timer five times, its counter closed or open. */
function deadlines(design: DesignName, counting: boolean) {
  const machine = hostFor(design, { profile: 'skylake-server' });
  const code = new GuestCode()
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .lvtpc(0x1_0000n)
    .wrmsr(0x832, 0x4_0040n)
    .wrmsr(MSR.PERFEVTSEL0, SELECT.INSTRUCTIONS);
  if (counting) code.wrmsr(MSR.GLOBAL_CTRL, 1n);
  for (let i = 0; i < 5; i++) code.wrmsr(TSC_DEADLINE, FAR + BigInt(i));
  code.wrmsr(MSR.GLOBAL_CTRL, 0n).reportMsr(MSR.PMC0);
  const guest = machine.start({ code: code.end().bytes, design: DESIGNS[design] });
  machine.finish();
  return { ...guest.vcpu.statistics, read: guest.readings[0] };
}

describe('a write of TSC_DEADLINE', () => {
  it('is a fastpath exit under a mediated vPMU, which stays loaded', () => {
    const { fastpath, loads, entries } = deadlines('mediated', false);
    expect(fastpath).toBe(5);
    expect(entries - loads).toBe(5);
  });

  it('is not one while the guest counts instructions', () => {
    const { fastpath, read } = deadlines('mediated', true);
    expect(fastpath).toBe(0);
    // The enabling write, five times four, and three MOVs.
    expect(read).toBe(24n);
  });

  it('is none where the PMU is switched at every entry and exit', () => {
    expect(deadlines('rfc-v1', false).fastpath).toBe(0);
    expect(deadlines('rfc-v1', true).read).toBe(24n);
  });
});

describe('a write of the x2APIC’s ICR that faults', () => {
  it('leaves the fastpath, so that the guest gets its #GP', () => {
    const machine = hostFor('mediated', { profile: 'skylake-server' });
    const reserved = 1n << 20n;
    const code = new GuestCode().skipFaults().wrmsr(0x830, reserved).reportMsr(MSR.PMC0);
    const guest = machine.start({ code: code.end().bytes, design: DESIGNS.mediated });
    machine.finish();
    expect(guest.readings).toEqual([0n]);
    expect(guest.vcpu.statistics.fastpath).toBe(1);
    expect(guest.vcpu.statistics.exits.get(32)).toBe(1);
  });
});
