import { describe, expect, it } from 'vitest';
import type { FuzzCase, ListedMsr, NestedCase } from '../../src/fuzz/case.ts';
import { type Alteration, Chamber } from '../../src/fuzz/chamber.ts';
import { Examiner } from '../../src/fuzz/examine.ts';

const CASE: FuzzCase = {
  ...{ seed: 'in flight', index: 1, design: 'mediated', profile: 'sapphire-rapids' },
  ...{ exposure: 'half', cpl: 0, pce: false, lvtpc: 'nmi', registers: [], bitmap: [] },
  host: { secret: 1, events: [] },
  steps: [{ do: 'cpuid', leaf: 0 }],
};
/** Counter 0 counts instructions, 100 short of overflow, with a PMI. */
const SOON: FuzzCase['registers'] = [
  [0x4c1, '0xffffffffff9c'],
  [0x186, '0x5300c0'],
  [0x38f, '0x1'],
];
const HOST_EVENTS = [{ config: '0xc0', pinned: true, period: 0 }];
const OPEN: NestedCase = {
  bitmap: { exits: 'none', except: [] },
  rdpmcExiting: false,
  onExit: 'skip',
};
const examine = (fuzzed: Partial<FuzzCase>, alter?: Alteration) =>
  new Examiner(alter).examine({ ...CASE, ...fuzzed });

const listed = (list: ListedMsr['list'], address: number, value = '0x0'): ListedMsr => ({
  ...{ list, address, value },
});

describe('a PMI', () => {
  it('that waits at the first instruction comes once, and one more at the overflow', () => {
    const steps: FuzzCase['steps'] = [{ do: 'work', count: 200 }];
    const { trace, violations } = examine({ registers: SOON, pending: true, steps });
    expect([trace.nmis, violations]).toEqual([2, []]);
  });

  it('that comes twice for one overflow is found', () => {
    const twice: Alteration = ({ guest: { vcpu } }) => {
      const { apic } = vcpu;
      const real = apic.raisePmi.bind(apic);
      let raised = 0;
      apic.raisePmi = () => {
        real();
        raised += 1;
      };
      const { vpmu } = vcpu;
      const sync = vpmu.sync.bind(vpmu);
      vpmu.sync = () => {
        sync();
        if (raised === 1 && !vcpu.pmiMasked) apic.raisePmi();
      };
    };
    const { violations } = examine(
      { registers: SOON, steps: [{ do: 'work', count: 200 }, ...CASE.steps, ...CASE.steps] },
      twice,
    );
    expect(violations.map(({ oracle, channel }) => [oracle, channel])).toContainEqual([
      'invariants',
      13,
    ]);
  });
});

describe('a guest that does not come to its end', () => {
  it('is told, though the host, which has events, cannot look at them while it runs', () => {
    const host = { secret: 1, events: [{ config: '0xc0', pinned: true, period: 0 }] };
    const { violations } = examine({ host, steps: [{ do: 'work', count: 15_000_000 }] });
    expect(violations).toMatchObject([{ oracle: 'end', actual: 'budget' }]);
  });
});

describe('a PMI of a mediated vPMU', () => {
  it.each([undefined, OPEN])('that never comes is found, in a guest and in its guest', (nested) => {
    const steps: FuzzCase['steps'] = [{ do: 'work', count: 200 }];
    const { violations } = examine(
      { registers: SOON, steps, ...(nested && { nested }) },
      ({ guest: { vcpu } }) => {
        vcpu.vpmu.mediatedPmi = () => {};
      },
    );
    expect(violations).toMatchObject([
      { oracle: 'bare-machine', channel: 13, expected: '1 PMI', actual: '0 PMIs' },
    ]);
  });
});

describe('a guest that the host takes out again and again', () => {
  const fuzzed: Partial<FuzzCase> = {
    registers: SOON,
    interruptions: [1, 30, 60, 2000, 2001, 9000],
    steps: [
      { do: 'work', count: 40 },
      { do: 'rdmsr', register: 0xc1 },
      { do: 'rdmsr', register: 0x38e },
    ],
  };

  it('counts as if it had run in one piece', () => {
    expect(examine(fuzzed).violations).toEqual([]);
  });

  it('is found to have lost what it counted between two exits', () => {
    const { violations } = examine(fuzzed, ({ guest: { vcpu } }) => {
      const { vpmu } = vcpu;
      const put = vpmu.put.bind(vpmu);
      let puts = 0;
      vpmu.put = () => {
        put();
        puts += 1;
        if (puts === 3) vpmu.wrmsr(0x4c1, 0n);
      };
    });
    expect(violations.map(({ oracle }) => oracle)).toContain('pieces');
  });
});

describe('MSR lists of VM entry and VM exit', () => {
  it('are loaded and stored with the guest none the wiser', () => {
    const lists = [
      listed('entry-load', 0x4c8, '0x1234'),
      listed('exit-store', 0x38e),
      listed('exit-load', 0x4c7, '0x5678'),
    ];
    expect(examine({ lists }).violations).toEqual([]);
  });

  it.each([
    ['a register that is not there', 0x4c9, 2],
    ['IA32_FS_BASE', 0xc000_0100, 2],
    ['a register of the x2APIC', 0x834, 2],
    ['a reserved bit', 0x1_0000_04c8, 2],
  ])('fail at the entry that names %s', (_what, address, entry) => {
    const lists = [listed('entry-load', 0x4c8), listed('entry-load', address)];
    const { trace, violations } = examine({ lists });
    expect(violations).toEqual([]);
    expect(trace.end).toMatch(`MSR_LOAD_FAIL at RIP`);
    expect(trace.end).toMatch(`qualification 0x${entry}`);
  });

  it('that leave a register out are found', () => {
    const { violations } = examine({ lists: [listed('exit-store', 0x345)] }, ({ processor }) => {
      const { msrs } = processor;
      const real = msrs.rdmsr.bind(msrs);
      // What VM exit reads is another value than the host reads behind it.
      let exits = 0;
      msrs.rdmsr = (address) => {
        const value = real(address);
        if (address !== 0x345 || typeof value !== 'bigint') return value;
        exits += 1;
        return exits % 2 === 1 ? value ^ 1n : value;
      };
    });
    expect(violations[0]).toMatchObject({
      ...{ oracle: 'lists', channel: 19, register: 'IA32_PERF_CAPABILITIES (0x345)' },
    });
  });
});

describe('a machine whose VM entry has failed at a list', () => {
  it('executes the next case as a new one does, at a privilege level that it has not been to', () => {
    const failing: FuzzCase = { ...CASE, lists: [listed('entry-load', 0x800)] };
    const next: FuzzCase = {
      ...{ ...CASE, cpl: 3, registers: SOON, host: { secret: 2, events: HOST_EVENTS } },
      steps: [
        { do: 'rdpmc', register: 0 },
        { do: 'host', action: 'preempt' },
        { do: 'rdmsr', register: 0x186 },
      ],
    };
    const chamber = new Chamber(CASE);
    expect(chamber.run(failing).end).toMatch('MSR_LOAD_FAIL');
    expect(chamber.run(next)).toEqual(new Chamber(CASE).run(next));
  });
});
