import { describe, expect, it } from 'vitest';
import { CASES } from './cases.ts';
import { explained, FATAL, type Judge } from './differences.ts';
import { AVAILABLE, onBochs, onOurs, onQemu } from './machines.ts';
import { assemble } from './programs.ts';

const RUN = { qemu: onQemu, bochs: onBochs } as const;

describe.skipIf(!AVAILABLE.nasm)('system instructions in 64-bit mode', () => {
  const ours = onOurs(assemble('long.asm', CASES).program);

  it('all come to something', () => {
    expect(CASES.map(({ name }) => name).filter((name) => !ours.has(name))).toEqual([]);
  });

  for (const judge of ['qemu', 'bochs'] as const satisfies readonly Judge[]) {
    it.skipIf(!AVAILABLE[judge])(`are what ${judge} makes of them`, () => {
      const cases = CASES.filter(({ name }) => !FATAL[judge].test(name));
      const theirs = RUN[judge](assemble('long.asm', cases).disk);
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
