import { describe, expect, it } from 'vitest';
import { CASES } from './cases.ts';
import { explained, FATAL, type Judge } from './differences.ts';
import { EDGE_CASES, PROTECTED_EDGE_CASES } from './edge-cases.ts';
import { AVAILABLE, onBochs, onOurs, onQemu } from './machines.ts';
import { assemble } from './programs.ts';
import { PROTECTED_CASES } from './protected-cases.ts';
import { REAL_CASES } from './real-cases.ts';

const RUN = { qemu: onQemu, bochs: onBochs } as const;

const SUITES = [
  ['in 64-bit mode', 'long.asm', CASES],
  ['outside IA-32e mode', 'protected.asm', PROTECTED_CASES],
  ['in real-address mode', 'real.asm', REAL_CASES],
  ['at the edges of 64-bit mode', 'long.asm', EDGE_CASES],
  ['at the edges outside IA-32e mode', 'protected.asm', PROTECTED_EDGE_CASES],
] as const;

describe.skipIf(!AVAILABLE.nasm).each(SUITES)('system instructions %s', (_name, runner, all) => {
  const ours = onOurs(assemble(runner, all).program);

  it('come to the same on the oracle', () => {
    expect(onOurs(assemble(runner, all).program, 'oracle')).toEqual(ours);
  });

  it('all come to something', () => {
    expect(all.map(({ name }) => name).filter((name) => !ours.has(name))).toEqual([]);
  });

  for (const judge of ['qemu', 'bochs'] as const satisfies readonly Judge[]) {
    it.skipIf(!AVAILABLE[judge])(`are what ${judge} makes of them`, () => {
      const cases = all.filter(({ name }) => !FATAL[judge].test(name));
      const theirs = RUN[judge](assemble(runner, cases).disk);
      const unexplained = cases.flatMap(({ name }) => {
        const their = theirs.get(name) ?? 'nothing';
        const our = ours.get(name) ?? 'nothing';
        return their === our || explained(judge, name, their, our)
          ? []
          : [`${name}\n  ${judge}: ${their}\n  ours: ${our}`];
      });
      expect(unexplained.join('\n')).toBe('');
    });
  }
});
