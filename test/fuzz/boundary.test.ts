import { describe, expect, it } from 'vitest';
import type { FuzzCase, Step } from '../../src/fuzz/case.ts';
import type { Alteration } from '../../src/fuzz/chamber.ts';
import { Examiner } from '../../src/fuzz/examine.ts';

const CASE: FuzzCase = {
  ...{ seed: 'boundary', index: 1, design: 'mediated', profile: 'sapphire-rapids' },
  ...{ exposure: 'half', cpl: 0, pce: false, lvtpc: 'masked', registers: [], bitmap: [] },
  host: { secret: 5, events: [] },
  steps: [],
};
const told = (fuzzed: Partial<FuzzCase>, alter?: Alteration): string[] =>
  new Examiner(alter)
    .examine({ ...CASE, ...fuzzed })
    .violations.map(({ oracle, actual }) => `${oracle}: ${actual}`);

describe('a WRMSR that KVM answers in the fastpath', () => {
  const steps: Step[] = [
    { do: 'wrmsr', register: 0x186, value: '0x5300c0' },
    { do: 'wrmsr', register: 0x38f, value: '0x7000000ff' },
    { do: 'wrmsr', register: 0x6e0, value: '0x0' },
    { do: 'rdmsr', register: 0xc1 },
  ];
  const careless: Alteration = ({ guest: { vcpu } }) => {
    vcpu.vpmu.countsRetired = () => false;
  };

  it('is not in it while a counter of the guest counts instructions', () => {
    expect(told({ steps })).toEqual([]);
  });

  it('is told where it is in it all the same', () => {
    expect(told({ steps }, careless)).toEqual([
      'provenance: answered in the fastpath though a counter counts what retires',
    ]);
  });

  it('may be in it while counters count something else', () => {
    const [select, ...rest] = steps as [Step, ...Step[]];
    const cycles = { ...select, value: '0x53003c' } as Step;
    expect(told({ steps: [cycles, ...rest] }, careless)).toEqual([]);
  });
});

describe('an event of the host that excludes guests', () => {
  const fuzzed: Partial<FuzzCase> = {
    host: { secret: 5, events: [{ config: '0xc0', pinned: true, period: 0 }] },
    steps: [
      { do: 'work', count: 40 },
      { do: 'host', action: 'preempt' },
      { do: 'cpuid', leaf: 0 },
      { do: 'host', action: 'preempt' },
    ],
  };

  it.each(['mediated', 'emulated'])('counts what the host does on its own, %s', (design) => {
    expect(told({ ...fuzzed, design })).toEqual([]);
  });

  it.each<[string, Alteration]>([
    ['come back', ({ machine: { perf } }) => Object.assign(perf.cpu(0), { resume: () => {} })],
    ['make room', ({ machine: { perf } }) => Object.assign(perf.cpu(0), { displace: () => {} })],
  ])('is told to count something else where events do not %s around the guest', (_, alter) => {
    const [first] = told(fuzzed, alter);
    expect(first).toMatch(/^host: \d+$/);
  });
});
