import { describe, expect, it } from 'vitest';
import { checked } from '../../../src/cpu/commit-rule.ts';
import type { Emit } from '../../../src/cpu/emit.ts';
import { emitInstruction, semanticsOf } from '../../../src/cpu/semantics/semantics.ts';
import { formSamples } from '../form-samples.ts';

/** A backend that answers everything with tokens; conditions and values cannot be mixed up with numbers. */
const tokens = (stackSize: 2 | 4 | 8): Emit<object, object> =>
  new Proxy({} as Emit<object, object>, {
    get(_, method) {
      if (method === 'stackSize') return stackSize;
      if (method === 'virtual8086') return false;
      if (method === 'divide') return () => ({ quotient: {}, remainder: {}, fits: {} });
      if (method === 'assist')
        return (_name: string, results: unknown[]) => results.map(() => ({}));
      if (method === 'repeat') {
        return (_size: number, body: () => void, again?: () => object) => {
          body();
          again?.();
        };
      }
      return () => ({});
    },
  });

describe('the commit rule', () => {
  it.each([2, 4, 8] as const)('holds for every form in code of %i bytes', (codeSize) => {
    const samples = formSamples(codeSize, (insn) => semanticsOf(insn) !== undefined);
    expect(samples.length).toBeGreaterThan(1500);
    const broken = samples.flatMap(({ key, insn }) => {
      try {
        emitInstruction(checked(tokens(codeSize)), insn);
        return [];
      } catch (error) {
        return [`${key}: ${error}`];
      }
    });
    expect(broken).toEqual([]);
  });

  it('is broken by a load after a register was written', () => {
    const e = checked(tokens(8));
    e.setReg(8, 0, e.const(8, 1));
    expect(() => e.load(8, 'DS', e.const(8, 0))).toThrow('commit rule: load after setReg');
  });

  it('is broken by anything after a jump', () => {
    const e = checked(tokens(8));
    e.jumpTo(e.const(8, 0));
    expect(() => e.setReg(8, 0, {})).toThrow('commit rule: setReg after jumpTo');
  });
});
