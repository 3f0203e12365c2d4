import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { perfEventAttr } from '../../src/perf/attr.ts';
import { STATE } from '../../src/perf/event.ts';
import { guestOn } from './vpmu-rig.ts';

const [PMC0, EVTSEL0, FIXED0] = [0xc1, 0x186, 0x309];
const [FIXED_CTR_CTRL, STATUS, GLOBAL_CTRL, OVF_CTRL] = [0x38d, 0x38e, 0x38f, 0x390];
/** EN | OS | USR with the event. */
const INSTRUCTIONS = 0x43_00c0n;
const BRANCHES = 0x43_00c4n;
const LOADS = 0x43_81d0n;
/** INT as well. */
const SAMPLING = 0x53_00c0n;

const emulated = (told = {}) => guestOn({ design: DESIGNS.emulated, ...told });

describe('a counted region', () => {
  it('holds the work, one of the two bounding writes, and no host instruction', () => {
    const guest = emulated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.wrmsr(GLOBAL_CTRL, 1n);
    guest.work(1000, 200);
    guest.host.work(50_000, 25_000);
    guest.work(234, 34);
    guest.wrmsr(GLOBAL_CTRL, 0n);
    expect(guest.rdmsr(PMC0)).toBe(1235n);
  });

  it('counts an instruction that KVM carries out once, a branch twice over', () => {
    const guest = emulated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.wrmsr(EVTSEL0 + 1, BRANCHES);
    guest.wrmsr(GLOBAL_CTRL, 3n);
    guest.work(100, 10);
    guest.vpmu.instructionRetired({ branch: false, cpl: 0 });
    guest.vpmu.instructionRetired({ branch: true, cpl: 0 });
    guest.work(100, 10);
    guest.wrmsr(GLOBAL_CTRL, 0n);
    expect(guest.rdmsr(PMC0)).toBe(203n);
    expect(guest.rdmsr(PMC0 + 1)).toBe(21n);
  });

  it('does not count an emulated instruction at a privilege level the counter leaves out', () => {
    const guest = emulated();
    guest.wrmsr(EVTSEL0, 0x41_00c0n); // EN | USR
    const before = guest.rdmsr(PMC0);
    guest.vpmu.instructionRetired({ branch: false, cpl: 0 });
    guest.vpmu.instructionRetired({ branch: false, cpl: 3 });
    expect(guest.rdmsr(PMC0) - before).toBe(1n);
  });

  it('reads fixed counter 0 like the general-purpose one on the same event', () => {
    const guest = emulated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.wrmsr(FIXED_CTR_CTRL, 3n);
    guest.wrmsr(GLOBAL_CTRL, 0x1_0000_0001n);
    guest.work(777);
    guest.wrmsr(GLOBAL_CTRL, 0n);
    expect(guest.rdmsr(FIXED0)).toBe(778n);
    expect(guest.rdmsr(PMC0)).toBe(778n);
  });
});

describe('overflow', () => {
  const armed = (left: bigint) => {
    const guest = emulated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, SAMPLING);
    guest.wrmsr(PMC0, -left & 0xffff_ffffn);
    guest.wrmsr(GLOBAL_CTRL, 1n);
    return guest;
  };

  it('reaches the guest as one PMI at the exact instruction, with its status bit', () => {
    const guest = armed(1000n);
    // The enabling write is the first of the thousand.
    expect(guest.run(5000)).toBe(999);
    guest.requests();
    expect(guest.state.pmis).toBe(1);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
    expect(guest.vpmu.rdmsr(PMC0)).toBe(0n);
    guest.wrmsr(OVF_CTRL, 1n);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(0n);
    expect(guest.host.unknownNmis).toBe(0);
  });

  it('of a counter whose LVTPC is masked costs the NMI exit all the same, and sets status', () => {
    const guest = armed(1000n);
    guest.lvtpc(0x1_0000n);
    expect(guest.run(5000)).toBe(999);
    guest.requests();
    expect(guest.state.pmis).toBe(0);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
  });

  it('by an emulated instruction asks for a PMI before the next entry', () => {
    const guest = armed(101n);
    guest.work(99);
    expect(guest.state.pmis).toBe(0);
    guest.vpmu.instructionRetired({ branch: false, cpl: 0 });
    guest.requests();
    expect(guest.state.pmis).toBe(1);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
  });

  it('of a period of 1 comes one event late, because the host never programs 1', () => {
    const guest = armed(2n);
    // The enabling write brought the counter to -1.
    expect(guest.run(10)).toBe(2);
    const exact = guestOn({ design: DESIGNS.emulated, minimumPeriod: 1n });
    exact.wrmsr(GLOBAL_CTRL, 0n);
    exact.wrmsr(EVTSEL0, SAMPLING);
    exact.wrmsr(PMC0, 0xffff_fffen);
    exact.wrmsr(GLOBAL_CTRL, 1n);
    expect(exact.run(10)).toBe(1);
  });

  it('of a counter written while it runs comes late by what it had counted since it was last folded', () => {
    const guest = emulated();
    guest.wrmsr(EVTSEL0, SAMPLING);
    guest.work(300);
    // No emulated instruction folds it here: the write is the one access between two entries.
    const counted = guest.vpmu.rdmsr(PMC0) as bigint;
    guest.vpmu.wrmsr(PMC0, -100n & 0xffff_ffffn);
    expect(guest.run(5000)).toBe(100 + Number(counted) - 1);
  });
});

describe('the event behind a counter', () => {
  const behind = (guest: ReturnType<typeof emulated>) =>
    [...guest.perf.events].filter(({ attr }) => attr.excludeHost);

  it('does not exist while GLOBAL_CTRL has the counter closed', () => {
    const guest = emulated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    expect(behind(guest)).toEqual([]);
    guest.wrmsr(GLOBAL_CTRL, 1n);
    expect(behind(guest)).toHaveLength(1);
  });

  it.each([
    ['OS', 0x42_00c0n, true, false],
    ['USR', 0x41_00c0n, false, true],
    ['OS and USR', 0x43_00c0n, false, false],
  ] as const)('of a counter for %s excludes the rest', (_levels, select, user, kernel) => {
    const guest = emulated();
    guest.wrmsr(EVTSEL0, select);
    const { attr } = behind(guest)[0]!;
    expect([attr.excludeUser, attr.excludeKernel]).toEqual([user, kernel]);
    expect([attr.pinned, attr.excludeHost, attr.excludeIdle]).toEqual([true, true, true]);
  });

  it('that overflows without INT sets status and asks for no PMI', () => {
    const guest = emulated();
    guest.wrmsr(GLOBAL_CTRL, 0n);
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.wrmsr(PMC0, 0xffff_ff00n);
    guest.wrmsr(GLOBAL_CTRL, 1n);
    guest.work(1000);
    expect(guest.vpmu.rdmsr(STATUS)).toBe(1n);
    expect(guest.state.pmis).toBe(0);
  });

  it('is given back when a scheduling slice did not touch its counter', () => {
    const guest = emulated();
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.work(100);
    guest.wrmsr(EVTSEL0, 0n);
    const value = guest.rdmsr(PMC0);
    for (let slice = 0; slice < 2; slice++) {
      guest.vpmu.schedIn();
      guest.requests();
    }
    expect(behind(guest)).toEqual([]);
    expect(guest.rdmsr(PMC0)).toBe(value);
  });
});

describe('sharing with the host', () => {
  it('a host event that is CPU-pinned steals a guest counter, which stands still without a fault', () => {
    const guest = emulated();
    for (let i = 0; i < 8; i++) guest.wrmsr(EVTSEL0 + i, LOADS);
    guest.wrmsr(EVTSEL0 + 7, BRANCHES);
    for (let i = 0; i < 8; i++) {
      guest.perf.create(perfEventAttr({ config: 0xc4n, pinned: true }), { cpu: 0 });
    }
    const before = guest.rdmsr(PMC0 + 7);
    guest.work(1000, 300);
    expect(guest.rdmsr(PMC0 + 7)).toBe(before);
    const states = [...guest.perf.events].filter(({ attr }) => attr.excludeHost);
    expect(states.every(({ state }) => state === STATE.ERROR)).toBe(true);
  });

  it('guest counter 0 lives on whatever host counter perf gives it', () => {
    const guest = emulated();
    guest.perf.create(perfEventAttr({ config: 0xc4n, pinned: true }), { cpu: 0 });
    guest.wrmsr(EVTSEL0, BRANCHES);
    guest.work(1);
    const [event] = [...guest.perf.events].filter(({ attr }) => attr.excludeHost);
    expect(event?.hw.index).toBe(1);
  });
});

describe('the event filter', () => {
  it('freezes a denied counter and lets it go on when it is lifted', () => {
    const guest = emulated();
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.work(100);
    guest.setFilter({ action: 'deny', events: [0xc0n], fixedCounterBitmap: 0 });
    const frozen = guest.rdmsr(PMC0);
    guest.work(500);
    expect(guest.rdmsr(PMC0)).toBe(frozen);
    guest.setFilter(undefined);
    guest.work(500);
    expect(guest.vpmu.rdmsr(PMC0)).toBe(frozen + 500n);
  });
});

describe('register rules', () => {
  it.each([
    ['a reserved bit of PERFEVTSEL0 (AnyThread)', EVTSEL0, 1n << 21n],
    ['a fixed counter the guest was not given', 0x30c, 0n],
    ['GLOBAL_STATUS', STATUS, 0n],
    ['GLOBAL_CTRL of an absent counter', GLOBAL_CTRL, 1n << 8n],
    ['FIXED_CTR_CTRL AnyThread', FIXED_CTR_CTRL, 4n],
    ['bit 48 of a full-width counter', 0x4c1, 1n << 48n],
  ])('WRMSR to %s is refused', (_what, address, value) => {
    expect(emulated().vpmu.wrmsr(address, value)).not.toBe('done');
  });

  it('RDPMC takes bit 30 for fixed counters and refuses bits 31 and 29', () => {
    const { vpmu } = emulated();
    expect(vpmu.rdpmc(0x4000_0002)).toBe(0n);
    for (const ecx of [0x8000_0000, 0x2000_0000, 8, 0x4000_0003]) {
      expect(vpmu.rdpmc(ecx)).toBe('#GP');
    }
  });
});

describe('save and restore', () => {
  it('keeps every counter', () => {
    const guest = emulated();
    guest.wrmsr(EVTSEL0, INSTRUCTIONS);
    guest.work(100);
    const saved = { vpmu: guest.vpmu.save(), perf: guest.perf.save(), pmu: guest.cpu.pmu.save() };
    const value = guest.vpmu.rdmsr(PMC0);
    guest.work(100);
    guest.perf.restore(saved.perf);
    guest.vpmu.restore(saved.vpmu);
    guest.cpu.pmu.restore(saved.pmu);
    expect(guest.vpmu.rdmsr(PMC0)).toBe(value);
    guest.work(100);
    expect(guest.vpmu.rdmsr(PMC0)).toBe((value as bigint) + 100n);
  });
});
