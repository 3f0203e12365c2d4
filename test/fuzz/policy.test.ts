import { describe, expect, it } from 'vitest';
import type { FuzzCase } from '../../src/fuzz/case.ts';
import { Examiner } from '../../src/fuzz/examine.ts';
import { generate } from '../../src/fuzz/generate.ts';

const SEED = 'test';
const examiner = new Examiner();

describe('a case', () => {
  it('is the same for a seed and a number, whatever was drawn before', () => {
    const first = generate({ seed: SEED }, 17);
    for (let index = 0; index < 5; index++) generate({ seed: 'another' }, index);
    expect(JSON.stringify(generate({ seed: SEED }, 17))).toBe(JSON.stringify(first));
    expect(JSON.stringify(generate({ seed: SEED }, 18))).not.toBe(JSON.stringify(first));
  });

  it('gives the same guest memory again, with any other case in between', () => {
    const one = generate({ seed: SEED, designs: ['mediated'], profiles: ['sapphire-rapids'] }, 3);
    const first = examiner.examine(one).trace.memory;
    const other = { ...one, cpl: 3, pce: true, exposure: one.exposure } as FuzzCase;
    examiner.examine(other);
    expect(examiner.examine(one).trace.memory).toEqual(first);
  });
});

describe('the policy of each design', () => {
  it.each(['emulated', 'emulated-identity', 'mediated', 'rfc-v1'])(
    'is what %s does with random accesses',
    (design) => {
      for (let index = 0; index < 30; index++) {
        const fuzzed = generate(
          { seed: SEED, designs: [design], profiles: ['sapphire-rapids'] },
          index,
        );
        const { violations } = examiner.examine(fuzzed);
        expect(violations, `${SEED}/${index}`).toEqual([]);
      }
    },
  );
});

describe('a guest that was given half of the counters', () => {
  const half = (design: string, steps: FuzzCase['steps']) =>
    examiner
      .examine({
        ...generate({ seed: SEED, designs: [design], profiles: ['sapphire-rapids'] }, 0),
        ...{ exposure: 'half', cpl: 0, pce: false, registers: [], bitmap: [], steps },
        host: { secret: 7, events: [] },
      })
      .trace.steps.map(({ path, outcome }) => `${path} ${outcome}`);

  it('reaches its own directly under the passthrough vPMU, and none of the others', () => {
    expect(
      half('mediated', [
        { do: 'rdmsr', register: 0xc4 },
        { do: 'rdmsr', register: 0xc5 },
        { do: 'rdmsr', register: 0x4c4 },
        { do: 'rdmsr', register: 0x4c5 },
        { do: 'rdmsr', register: 0x30b },
        { do: 'rdpmc', register: 3 },
        { do: 'rdpmc', register: 4 },
      ]),
    ).toEqual([
      'direct done',
      'exit #GP',
      'direct done',
      'exit #GP',
      'exit #GP',
      'exit done',
      'exit #GP',
    ]);
  });

  it('reads the unexposed ones as they were zeroed for it under the first posting, whose RDPMC passes', () => {
    expect(half('rfc-v1', [{ do: 'rdpmc', register: 4 }])).toEqual(['direct done']);
  });
});
