import { expect, it } from 'vitest';
import { replayText } from '../../src/cli/replay-text.ts';
import type { FuzzCase } from '../../src/fuzz/case.ts';
import type { Finding } from '../../src/fuzz/finding.ts';
import { replay } from '../../src/fuzz/replay.ts';

const CASE: FuzzCase = {
  ...{ seed: 'replay', index: 3, design: 'mediated', profile: 'sapphire-rapids' },
  ...{ exposure: 'half', cpl: 0, pce: false, lvtpc: 'masked', registers: [], bitmap: [] },
  nested: {
    bitmap: { exits: 'none', except: [[0xc1, 'write']] },
    rdpmcExiting: true,
    lists: [{ list: 'exit-store', address: 0x4c1, value: '0x0' }],
    onExit: 'carry-out',
  },
  host: { secret: 1, events: [] },
  steps: [
    { do: 'wrmsr', register: 0xc1, value: '0x77' },
    { do: 'rdmsr', register: 0xc5 },
  ],
};
const FINDING: Finding = {
  ...{ oracle: 'policy', step: 1, register: 'IA32_PMC4 (0xc5)', instruction: 'RDMSR' },
  ...{ rip: '0x0', expected: 'exit, #GP', actual: 'direct, done', channel: 19, case: CASE },
};

it('a replay of a guest’s guest tells what L1 has arranged, what came of each step, and what L1 was told', () => {
  const lines = replayText(FINDING, replay(FINDING))
    .split('\n')
    .map((line) => line.trimEnd());
  expect(lines).toEqual([
    'mediated on sapphire-rapids, exposure half, a guest’s guest, CPL 0, 2 steps; CR4.PCE 0, LVTPC masked, secret 1',
    '  the steps are done by a guest (L2) of the guest (L1)',
    '  L1’s MSR bitmap: nothing exits',
    '  L1’s MSR bitmap: write of IA32_PMC0 (0xc1) turned over',
    '  RDPMC exits to L1',
    '  L1’s MSR list: exit-store IA32_A_PMC0 (0x4c1)',
    '  on an exit L1 executes the instruction itself',
    '',
    'step  what                           expected                        seen',
    '  0   WRMSR IA32_PMC0 (0xc1) = 0x77  exit to L1, there direct, done  exit to L1, there direct, done, EDX:EAX 0x77 by VMWRITE × 2, VMLAUNCH, MSR_WRITE, VMREAD × 4, VMWRITE, VMRESUME',
    '> 1   RDMSR IA32_PMC4 (0xc5)         exit, #GP                       exit, #GP by MSR_READ',
    '',
    'exits that L1 was told: step 0: MSR_WRITE; end: HLT',
    'L1’s exit-store list: IA32_A_PMC0 (0x4c1) = 0x77',
    '',
    'the finding does not show any more',
    '',
  ]);
});
