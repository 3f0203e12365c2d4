import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { perfEventAttr } from '../../src/perf/attr.ts';
import { STATE } from '../../src/perf/event.ts';
import { SKYLAKE_SERVER } from '../../src/pmu/profiles.ts';
import { guestOn } from './vpmu-rig.ts';

const [PMC0, EVTSEL0, A_PMC0] = [0xc1, 0x186, 0x4c1];
const [FIXED_CTR_CTRL, STATUS, GLOBAL_CTRL, OVF_CTRL] = [0x38d, 0x38e, 0x38f, 0x390];
const INSTRUCTIONS = 0x43_00c0n;
const SAMPLING = 0x53_00c0n;

const mediated = (told = {}) => guestOn({ design: DESIGNS.mediated, ...told });

describe('the interception policy', () => {
  it('traps GLOBAL_CTRL and RDPMC while the guest has fewer counters than the host', () => {
    // Sapphire Rapids has four fixed counters, KVM shows three.
    const { vpmu } = mediated();
    expect(vpmu.intercepts(GLOBAL_CTRL, 'write')).toBe(true);
    expect(vpmu.rdpmcExits).toBe(true);
  });

  it('lets them pass where the guest has them all', () => {
    for (const { vpmu } of [
      mediated({ profile: SKYLAKE_SERVER }),
      mediated({ exposure: { fixed: 4 } }),
    ]) {
      expect(vpmu.rdpmcExits).toBe(false);
      for (const address of [GLOBAL_CTRL, STATUS, OVF_CTRL, PMC0, A_PMC0, 0x309]) {
        expect(vpmu.intercepts(address, 'write')).toBe(false);
      }
    }
  });

  it.each([
    ['PERFEVTSEL0', EVTSEL0],
    ['FIXED_CTR_CTRL', FIXED_CTR_CTRL],
    ['a counter beyond the guest’s', 0xc1 + 8],
    ['slots', 0x30c],
    ['GLOBAL_STATUS_SET', 0x391],
    ['GLOBAL_INUSE', 0x392],
    ['PERF_CAPABILITIES', 0x345],
  ])('always traps %s', (_name, address) => {
    const { vpmu } = mediated({ profile: SKYLAKE_SERVER });
    expect(vpmu.intercepts(address, 'read')).toBe(true);
    expect(vpmu.intercepts(address, 'write')).toBe(true);
  });
});

describe('a counted region', () => {
  it('holds the work and no host instruction', () => {
    const guest = mediated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.wrmsr(GLOBAL_CTRL, 1n);
    guest.work(1000);
    guest.host.work(10_000, 5_000);
    guest.vpmu.instructionRetired({ branch: false, cpl: 0 });
    guest.work(234);
    guest.wrmsr(GLOBAL_CTRL, 0n);
    expect(guest.vpmu.rdmsr(PMC0)).toBe(1236n);
  });
});

describe('overflow', () => {
  const armed = () => {
    const guest = mediated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, SAMPLING);
    guest.vpmu.wrmsr(A_PMC0, -1000n & 0xffff_ffff_ffffn);
    guest.wrmsr(GLOBAL_CTRL, 1n);
    return guest;
  };

  it('ends guest mode by the dedicated vector and reaches the guest as a PMI', () => {
    const guest = armed();
    expect(guest.run(5000)).toBe(999);
    guest.requests();
    expect(guest.state.pmis).toBe(1);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
    expect(guest.host.unknownNmis).toBe(0);
  });

  it('with the guest’s LVTPC masked sets status and costs no exit', () => {
    const guest = armed();
    guest.lvtpc(0x1_0000n);
    expect(guest.run(5000)).toBe(5000);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
    expect(guest.state.pmis).toBe(0);
  });

  it('by an emulated instruction sets status and asks for a PMI', () => {
    const guest = armed();
    guest.work(998);
    guest.vpmu.instructionRetired({ branch: false, cpl: 0 });
    guest.requests();
    expect(guest.state.pmis).toBe(1);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
    expect(guest.vpmu.rdmsr(PMC0)).toBe(0n);
  });
});

describe('the registers, one by one', () => {
  const value = (guest: ReturnType<typeof mediated>, address: number) =>
    guest.cpu.bus.rdmsr(address);

  /** A guest of all counters that has left something in every register, and a host that has too. */
  const dirty = () => {
    const guest = mediated({ profile: SKYLAKE_SERVER });
    guest.perf.createMediatedPmu();
    const event = guest.perf.create(perfEventAttr({ config: 0xc4n, excludeGuest: true }), {
      cpu: 0,
    });
    guest.lvtpc(0x1_0000n);
    guest.vpmu.wrmsr(EVTSEL0 + 2, SAMPLING);
    guest.vpmu.wrmsr(A_PMC0 + 2, 0x1234n);
    guest.vpmu.wrmsr(0x30a, 0x5678n);
    guest.vpmu.wrmsr(FIXED_CTR_CTRL, 0xb0n);
    guest.vpmu.wrmsr(GLOBAL_CTRL, 0x2_0000_0004n);
    guest.vpmu.pmu.globalStatus = 0x4n;
    guest.cpu.bus.wrmsr(0x391, 0x1n); // the host has an overflow of its own, unacknowledged
    return { guest, event };
  };

  it('LOAD makes each what the guest left, GLOBAL_CTRL closed', () => {
    const { guest, event } = dirty();
    guest.vpmu.load();
    expect(event.state).toBe(STATE.INACTIVE);
    expect(value(guest, GLOBAL_CTRL)).toBe(0n);
    expect(guest.cpu.lvtpc()).toBe(0x1_00f5n);
    expect(value(guest, EVTSEL0 + 2)).toBe(SAMPLING);
    expect(value(guest, EVTSEL0)).toBe(0n);
    expect(value(guest, PMC0 + 2)).toBe(0x1234n);
    expect(value(guest, 0x30a)).toBe(0x5678n);
    expect(value(guest, FIXED_CTR_CTRL)).toBe(0xb0n);
    expect(value(guest, STATUS)).toBe(0x4n);
    expect(guest.vpmu.globalCtrlSwitch()).toEqual({ guest: 0x2_0000_0004n, host: 0n, save: true });
  });

  it('PUT takes each back and leaves zero, then the host’s own', () => {
    const { guest, event } = dirty();
    guest.vpmu.load();
    guest.cpu.bus.wrmsr(A_PMC0 + 3, 0x9abcn); // the guest writes what passes
    guest.cpu.bus.wrmsr(0x391, 0x8n);
    guest.vpmu.exited(0x2_0000_000cn);
    guest.vpmu.put();
    for (const address of [PMC0 + 2, PMC0 + 3, EVTSEL0 + 2, 0x30a, FIXED_CTR_CTRL, STATUS]) {
      expect(value(guest, address)).toBe(0n);
    }
    expect(guest.cpu.lvtpc()).toBe(0x400n);
    expect(event.state).toBe(STATE.ACTIVE);
    expect(guest.vpmu.rdmsr(PMC0 + 2)).toBe(0x1234n);
    expect(guest.vpmu.rdmsr(PMC0 + 3)).toBe(0x9abcn);
    expect(guest.vpmu.rdmsr(0x30a)).toBe(0x5678n);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(0xcn);
    expect(guest.vpmu.rdmsr(GLOBAL_CTRL)).toBe(0x2_0000_000cn);
    expect(guest.vpmu.rdmsr(EVTSEL0 + 2)).toBe(SAMPLING);
  });

  it('a status bit that the guest acknowledges is gone, others stay', () => {
    const { guest } = dirty();
    guest.vpmu.pmu.globalStatus = 0x5n;
    guest.vpmu.wrmsr(OVF_CTRL, 0x4n);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(0x1n);
  });

  it('where selectors pass, PUT learns what the guest wrote', () => {
    const guest = guestOn({ design: DESIGNS['rfc-v1'], profile: SKYLAKE_SERVER });
    guest.vpmu.load();
    guest.cpu.bus.wrmsr(EVTSEL0, SAMPLING);
    guest.cpu.bus.wrmsr(FIXED_CTR_CTRL, 0x3n);
    guest.vpmu.put();
    expect(value(guest, EVTSEL0)).toBe(0n);
    expect(value(guest, FIXED_CTR_CTRL)).toBe(0n);
    expect(guest.vpmu.rdmsr(EVTSEL0)).toBe(SAMPLING);
    expect(guest.vpmu.rdmsr(FIXED_CTR_CTRL)).toBe(0x3n);
  });

  it('before each entry the physical LVTPC follows the guest’s', () => {
    const { guest } = dirty();
    guest.vpmu.load();
    guest.lvtpc(0n);
    guest.vpmu.sync();
    expect(guest.cpu.lvtpc()).toBe(0xf5n);
    guest.cpu.bus.wrmsr(0x834, 0x1_00f5n); // a PMI was delivered, which masks
    guest.vpmu.mediatedPmi();
    guest.vpmu.sync();
    expect(guest.cpu.lvtpc()).toBe(0xf5n);
    expect(guest.state.pmiRequested).toBe(true);
  });

  it('a selector written while the PMU stays loaded takes effect at once', () => {
    const { guest } = dirty();
    guest.vpmu.load();
    guest.vpmu.wrmsr(EVTSEL0 + 1, INSTRUCTIONS);
    expect(value(guest, EVTSEL0 + 1)).toBe(INSTRUCTIONS);
  });

  it('the filter takes a denied fixed counter’s enables out of the hardware copy', () => {
    const { guest } = dirty();
    guest.setFilter({ action: 'deny', events: [], fixedCounterBitmap: 0b10 });
    guest.vpmu.load();
    expect(value(guest, FIXED_CTR_CTRL)).toBe(0n);
    expect(guest.vpmu.rdmsr(FIXED_CTR_CTRL)).toBe(0xb0n);
  });

  it('an emulated instruction adds one, asks for a PMI only where the counter does', () => {
    const { guest } = dirty();
    guest.vpmu.wrmsr(EVTSEL0 + 2, INSTRUCTIONS);
    guest.vpmu.wrmsr(A_PMC0 + 2, 0xffff_ffff_ffffn);
    guest.vpmu.instructionRetired({ branch: false, cpl: 0 });
    expect(guest.vpmu.rdmsr(PMC0 + 2)).toBe(0n);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(0x4n);
    expect(guest.state.pmiRequested).toBe(false);
  });
});

describe('load and put', () => {
  const operations = (guest: ReturnType<typeof mediated>) => {
    const before = { ...guest.host.operations };
    guest.run(1);
    const { rdmsr, wrmsr, rdpmc } = guest.host.operations;
    return {
      rdmsr: rdmsr - before.rdmsr,
      wrmsr: wrmsr - before.wrmsr,
      rdpmc: rdpmc - before.rdpmc,
    };
  };

  it('of an idle PMU reads each counter twice and elides the writes', () => {
    // 11 counters: LOAD writes 8 selectors, GLOBAL_CTRL, LVTPC, FIXED_CTR_CTRL; PUT writes LVTPC. perf adds its own.
    const guest = mediated();
    expect(operations(guest)).toMatchObject({ rdmsr: 2, rdpmc: 22 });
    const rfc = guestOn({ design: { ...DESIGNS.mediated, elides: false } });
    expect(operations(rfc).wrmsr - operations(mediated()).wrmsr).toBe(11);
  });

  it('leaves nothing of the guest in the hardware', () => {
    const guest = mediated();
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.wrmsr(FIXED_CTR_CTRL, 3n);
    guest.work(1000);
    for (const address of [PMC0, EVTSEL0, 0x309, FIXED_CTR_CTRL, STATUS]) {
      expect(guest.cpu.bus.rdmsr(address)).toBe(0n);
    }
    expect(guest.cpu.lvtpc()).toBe(0x400n);
  });

  it('schedules the host’s events out and back in', () => {
    const guest = mediated();
    guest.perf.createMediatedPmu();
    const event = guest.perf.create(perfEventAttr({ config: 0xc0n, excludeGuest: true }), {
      cpu: 0,
    });
    guest.host.work(1000, 500);
    const before = guest.perf.read(event)!.count;
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.work(100_000);
    expect(event.state).toBe(STATE.ACTIVE);
    // Only what the host did around the entries was added.
    expect(guest.perf.read(event)!.count - before).toBeLessThan(2_000n);
  });
});

describe('the event filter', () => {
  it('clears EN in the hardware copy only', () => {
    const guest = mediated();
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.setFilter({ action: 'deny', events: [0xc0n], fixedCounterBitmap: 1 });
    guest.work(100);
    expect(guest.vpmu.rdmsr(EVTSEL0)).toBe(INSTRUCTIONS);
    // The write that enabled it retired under the new state; nothing since.
    expect(guest.vpmu.rdmsr(PMC0)).toBe(1n);
  });
});
