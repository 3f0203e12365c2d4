import { describe, expect, it } from 'vitest';
import { DESIGNS, type VpmuDesign } from '../../src/kvm/vpmu/designs.ts';
import type { PmuExposure } from '../../src/kvm/vpmu/exposure.ts';
import { GuestCode, MSR } from '../../src/lab/scenarios/guest-code.ts';
import { HostMachine } from '../../src/machine/host-machine.ts';
import { PROFILES } from '../../src/machine/profiles.ts';
import { SAPPHIRE_RAPIDS_WHOLE } from '../../src/pmu/profiles.ts';

const WHOLE = { ...PROFILES['sapphire-rapids']!, pmu: SAPPHIRE_RAPIDS_WHOLE };
const [FIXED_CTR3, PERF_METRICS, LBR_CTL, LBR_FROM0, LBR_TO0] = [
  0x30c, 0x329, 0x14ce, 0x1500, 0x1600,
];
const SWITCHED = DESIGNS['mediated-extras'];
/** The same registers, handed over once and never taken back. */
const KEPT: VpmuDesign = { ...SWITCHED, switchPoint: 'sched', hostRule: 'none' };

const run = (code: GuestCode, design: VpmuDesign, exposure: PmuExposure) => {
  const machine = new HostMachine({ profile: WHOLE });
  const guest = machine.start({ code: code.end().bytes, design, exposure });
  machine.finish();
  return { machine, guest };
};

const SLOTS_AND_METRICS = (1n << 35n) | (1n << 48n);
const metrics = () => {
  const code = new GuestCode()
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .wrmsr(MSR.FIXED_CTR_CTRL, 0x3000n)
    .wrmsr(FIXED_CTR3, 0n)
    .wrmsr(PERF_METRICS, 0n)
    .wrmsr(MSR.GLOBAL_CTRL, SLOTS_AND_METRICS);
  for (let i = 0; i < 10; i++) code.loop(500).cpuid();
  return code.wrmsr(MSR.GLOBAL_CTRL, 0n).reportMsr(FIXED_CTR3).reportMsr(PERF_METRICS);
};

const branches = () => {
  const code = new GuestCode().wrmsr(LBR_CTL, 0x7f_0007n);
  for (let i = 0; i < 5; i++) code.loop(3).cpuid().jump();
  code.wrmsr(LBR_CTL, 0n);
  for (let entry = 0; entry < 8; entry++)
    code.reportMsr(LBR_FROM0 + entry).reportMsr(LBR_TO0 + entry);
  return code;
};

describe('PERF_METRICS and slots, handed over', () => {
  const exposure = { metrics: true };

  it('read the same whether they are switched at every exit or not at all', () => {
    const [switched, kept] = [SWITCHED, KEPT].map((design) => run(metrics(), design, exposure));
    expect(switched!.guest.readings).toEqual(kept!.guest.readings);
    expect(switched!.guest.readings[0]).toBeGreaterThan(0n);
    expect(switched!.guest.vcpu.statistics.loads).toBeGreaterThan(10);
  });

  it('leave nothing in the hardware', () => {
    const { machine } = run(metrics(), SWITCHED, exposure);
    const { msrs } = machine.hardware.processors[0]!;
    expect(msrs.rdmsr(FIXED_CTR3)).toBe(0n);
    expect(msrs.rdmsr(PERF_METRICS)).toBe(0n);
  });
});

describe('last branch records, handed over', () => {
  const exposure = { lbr: true };

  it('hold the guest’s branches across exits', () => {
    const [switched, kept] = [SWITCHED, KEPT].map((design) => run(branches(), design, exposure));
    expect(switched!.guest.readings).toEqual(kept!.guest.readings);
    expect(switched!.guest.readings.every((address) => address !== 0n)).toBe(true);
  });

  it('leave no address in the hardware', () => {
    const { machine } = run(branches(), SWITCHED, exposure);
    const { msrs } = machine.hardware.processors[0]!;
    for (let entry = 0; entry < 32; entry++) {
      expect(msrs.rdmsr(LBR_FROM0 + entry)).toBe(0n);
      expect(msrs.rdmsr(LBR_TO0 + entry)).toBe(0n);
    }
    expect(msrs.rdmsr(LBR_CTL)).toBe(0n);
  });

  it('cost a write or a read of each register, on every exit', () => {
    const cost = (exposed: PmuExposure) => {
      const exits = (count: number) => {
        const code = new GuestCode();
        for (let i = 0; i < count; i++) code.cpuid();
        return run(code, SWITCHED, exposed).machine.hosts[0]!.account.total();
      };
      return exits(2) - exits(1);
    };
    // CTL, DEPTH and 32 × 3 registers: LOAD writes 98 (120 ticks each), PUT reads 98 (60) and writes DEPTH back.
    expect(cost({ lbr: true }) - cost({})).toBe(98 * 120 + 98 * 60 + 120);
  });
});

describe('where they are not handed over', () => {
  it.each(['emulated', 'mediated', 'blend'] as const)('%s shows the guest none of them', (name) => {
    const machine = new HostMachine({ profile: WHOLE });
    const guest = machine.start({
      code: new GuestCode().end().bytes,
      design: DESIGNS[name],
      exposure: { metrics: true, lbr: true },
    });
    const { vpmu } = guest.vcpu;
    expect(vpmu.pmu.shape.perfMetrics).toBe(false);
    expect(vpmu.pmu.shape.lbr).toBeUndefined();
    for (const address of [FIXED_CTR3, PERF_METRICS, LBR_CTL, LBR_FROM0]) {
      expect(vpmu.intercepts(address, 'read')).toBe(true);
      expect(vpmu.rdmsr(address)).toBe('unclaimed');
    }
  });
});
