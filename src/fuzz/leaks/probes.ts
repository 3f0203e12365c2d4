import { hex } from '../../bits/hex.ts';
import { type FuzzCase, OPEN_HYPERVISOR as OPEN, type Step } from '../case.ts';

const WHOLE = 'sapphire-rapids-whole';
const INSTRUCTIONS = '0x4300c0';
const INSTRUCTIONS_WITH_PMI = '0x5300c0';

const rdmsr = (...registers: readonly number[]): Step[] =>
  registers.map((register) => ({ do: 'rdmsr', register }));
const rdpmc = (...registers: readonly number[]): Step[] =>
  registers.map((register) => ({ do: 'rdpmc', register }));
const wrmsr = (register: number, value: bigint): Step => ({
  do: 'wrmsr',
  register,
  value: hex(value),
});
const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);
const cpuid: Step = { do: 'cpuid', leaf: 0 };
const work: Step = { do: 'work', count: 20 };

/** Counter 0 counts instructions. */
const COUNTING: FuzzCase['registers'] = [
  [0x186, INSTRUCTIONS],
  [0x38f, '0x1'],
];

type Probe = Partial<FuzzCase> & Pick<FuzzCase, 'steps'>;

/** What is done to find each channel open, or shut. */
// biome-ignore format: a table
const PROBES: Readonly<Record<number, readonly Probe[]>> = {
  1:  [{ steps: rdmsr(...range(0xc1, 4), ...range(0x4c1, 4), 0x309, 0x30a) }],
  2:  [{ steps: rdmsr(0xc5, 0x4c5, 0xc8, 0x4c8) }],
  3:  [{ steps: [...rdmsr(...range(0xc5, 4)), ...rdpmc(4, 5, 6, 7)] }],
  4:  [{ steps: [...rdmsr(0x30b, 0x30c), ...rdpmc(0x4000_0002, 0x4000_0003)] }],
  5:  [{ profile: WHOLE, steps: [...rdmsr(0x329), ...rdpmc(0x2000_0000)] }],
  6:  [{ steps: rdpmc(0, 0x4000_0000, 8, 0x8000_0000, 0x2000_0000, 0xffff_ffff) }],
  7:  [{ cpl: 3, pce: false, steps: rdpmc(0, 0x4000_0000) }, { cpl: 3, pce: true, steps: rdpmc(0, 0x4000_0000) }],
  8:  [{ steps: [...rdmsr(...range(0x18a, 4), 0x1a6, 0x1a7, 0x3f6, 0x3f7), wrmsr(0x186, 0x6300c0n)] }],
  9:  [{ profile: 'skylake-server', steps: [wrmsr(0x38d, 0x7n), ...rdmsr(0x38d)] }],
  10: [{ steps: rdmsr(0x38e) }],
  11: [{ steps: [wrmsr(0x391, 0x80n), ...rdmsr(0x392), wrmsr(0x390, 0xfn), ...rdmsr(0x38e)] }],
  12: [{ registers: COUNTING, steps: [cpuid, ...rdmsr(0xc1), cpuid, ...rdmsr(0xc1)] }],
  13: range(0, 12).map((n) => ({
    lvtpc: 'nmi',
    registers: [[0x4c1, hex(0xffff_ffff_fff0n - BigInt(n))], [0x186, INSTRUCTIONS_WITH_PMI], [0x38f, '0x1']],
    steps: [cpuid, work, cpuid, ...rdmsr(0x38e)],
  })),
  14: [{ lvtpc: 'nmi', registers: COUNTING, steps: [work, ...rdmsr(0x834), wrmsr(0x834, 0x1_0000n)] }],
  15: [{ profile: WHOLE, steps: rdmsr(0x14ce, 0x14cf, ...range(0x1500, 4), ...range(0x1600, 4), 0x1200, 0x1c8, 0x680, 0x1d9) }],
  16: [{ profile: WHOLE, registers: [[0x4c1, '0xfffffffffff8'], ...COUNTING], steps: [work, work, ...rdmsr(0x3f1, 0x3f2, 0x600)] }],
  17: [{ steps: rdmsr(0x1a0, 0x1ffe, 0x1fff, 0x2000, 0xc000_0000, 0xc000_1fff, 0xc000_2000) }],
  18: [{ steps: (['emulated-rdmsr', 'emulated-wrmsr', 'emulated-rdpmc', 'rdmsrlist', 'wrmsrlist', 'wrmsrns', 'urdmsr', 'uwrmsr', 'rdmsr-imm', 'wrmsrns-imm', 'xsaves'] as const)
          .map((form) => ({ do: form, register: form === 'emulated-rdpmc' ? 4 : 0x4c8, value: '0x0' })) }],
  19: [
    { steps: [cpuid, ...rdmsr(0xc1)] },
    { nested: OPEN, steps: [...rdmsr(0xc1, 0xc5, 0x4c5, 0x30b, 0x18a, 0x38f), wrmsr(0x4c8, 0n), wrmsr(0x391, 0x80n), ...rdpmc(0, 4, 0x4000_0003)] },
    { nested: { ...OPEN, lists: [{ list: 'entry-load', address: 0x4c8, value: '0x1' }] }, steps: rdmsr(0xc1) },
    { nested: { ...OPEN, lists: [{ list: 'exit-store', address: 0xc1, value: '0x0' }] }, steps: [cpuid, ...rdmsr(0xc1)] },
    { nested: { ...OPEN, lists: [{ list: 'exit-store', address: 0x4c8, value: '0x0' }] }, steps: [cpuid] },
  ],
  20: [{ registers: COUNTING, steps: [work, ...rdmsr(0xc1), { do: 'host', action: 'deny-all' }, work, ...rdmsr(0xc1), work, ...rdmsr(0xc1)] }],
  21: [{ registers: [...COUNTING, [0x4c2, '0x1234']], steps: [work, { do: 'host', action: 'init' }, ...rdmsr(0x186), { do: 'host', action: 'reset' }, ...rdmsr(0xc1, 0xc2, 0x186, 0x38d)] }],
  22: [{ steps: [{ do: 'cpuid', leaf: 0x0a }, ...rdmsr(0x345, ...range(0x4c1, 8), ...range(0xc3, 6))] }],
  23: [{ steps: rdmsr(0x34, 0xe7, 0xe8, 0x64e, 0x611, 0x639) }],
  24: [{ registers: COUNTING, steps: [cpuid, ...rdmsr(0xc1, 0x345), cpuid, ...rdmsr(0xc1)] }],
  25: [{ index: 0, steps: rdmsr(0xc1) }],
  26: [{ registers: COUNTING, steps: [work, ...rdmsr(0xc1)] },
       { host: { secret: 1, events: [{ config: '0xc0', pinned: true, period: 0 }] }, steps: [work, cpuid] }],
};

/** The cases that probe a channel, for one design. */
export function probesOf(channel: number, design: string): FuzzCase[] {
  return PROBES[channel]!.map((probe, at) => ({
    seed: `channel ${channel}`,
    index: at + 1,
    design,
    profile: 'sapphire-rapids',
    exposure: 'half',
    cpl: 0,
    pce: false,
    lvtpc: 'masked',
    registers: [],
    bitmap: [],
    host: { secret: 1, events: [] },
    ...probe,
  }));
}

export const PROBED_CHANNELS: readonly number[] = Object.keys(PROBES).map(Number);
