import { describe, expect, it } from 'vitest';
import { probeDesign, probeLeakyTwin } from '../../src/fuzz/leaks/leaky-twin.ts';

/** Where each channel shows first when it is opened: instruction, register. */
// biome-ignore format: a table
const SHOWS: readonly (readonly [channel: number, instruction: string, register: string])[] = [
  [1,  'RDMSR',          'IA32_PMC0 (0xc1)'],
  [2,  'RDMSR',          'IA32_A_PMC4 (0x4c5)'],
  [3,  'RDMSR',          'IA32_PMC4 (0xc5)'],
  [4,  'RDMSR',          'IA32_FIXED_CTR2 (0x30b)'],
  [5,  'RDMSR',          'MSR_PERF_METRICS (0x329)'],
  [6,  'RDPMC',          'counter 0 (0x0)'],
  [7,  'RDPMC',          'counter 0 (0x0)'],
  [8,  'RDMSR',          'IA32_PERFEVTSEL4 (0x18a)'],
  [9,  'WRMSR',          'IA32_FIXED_CTR_CTRL (0x38d)'],
  [10, 'RDMSR',          'IA32_PERF_GLOBAL_STATUS (0x38e)'],
  [11, 'WRMSR',          'IA32_PERF_GLOBAL_STATUS_SET (0x391)'],
  [12, 'CPUID',          'IA32_PERF_GLOBAL_CTRL (0x38f)'],
  [13, 'WORK',           'IA32_X2APIC_LVT_PMI (0x834)'],
  [14, 'WORK',           'IA32_X2APIC_LVT_PMI (0x834)'],
  [15, 'RDMSR',          'IA32_LBR_FROM_IP0 (0x1500)'],
  [16, 'RDMSR',          'IA32_PEBS_ENABLE (0x3f1)'],
  [17, 'RDMSR',          'IA32_MISC_ENABLE (0x1a0)'],
  [18, 'EMULATED-RDMSR', 'IA32_A_PMC7 (0x4c8)'],
  [19, 'RDMSR',          'IA32_PMC4 (0xc5)'],
  [20, 'RDMSR',          'IA32_PMC0 (0xc1)'],
  [21, 'RDMSR',          'IA32_PMC0 (0xc1)'],
  [22, 'RDMSR',          'IA32_A_PMC0 (0x4c1)'],
  [23, 'RDMSR',          'IA32_APERF (0xe8)'],
  [24, 'RDMSR',          'IA32_PMC0 (0xc1)'],
  [25, 'KVM_GET_MSRS',   'IA32_A_PMC0 (0x4c1)'],
  [26, 'RDMSR',          'IA32_PERF_GLOBAL_CTRL (0x38f)'],
];

describe('a leak that is opened on purpose', () => {
  it.each(SHOWS)('channel %i is noticed at %s %s', (channel, instruction, register) => {
    const { findings } = probeLeakyTwin(channel);
    const [first] = findings;
    expect(first).toMatchObject({ channel, instruction, register, planted: channel });
    expect(first?.rip).toMatch(/^0x10[0-9a-f]{4}$/);
  });
});

describe('the probes of all channels', () => {
  it.each(['emulated', 'mediated', 'rfc-v1', 'opt-out'])('find nothing in %s', (design) => {
    const found = probeDesign(design).flatMap(({ findings, others }) => [...findings, ...others]);
    expect(found).toEqual([]);
  });
});
