import { afterAll, describe, expect, it } from 'vitest';
import { INTEGER } from '../../../src/cpu/semantics/semantics.ts';
import { Host, hostIsKnown } from '../../judges/host/host.ts';
import { Judge } from '../../judges/host/judge.ts';

/** Random cases, the same in every run; `npm run judge integer` makes millions. */
const CASES = 33_400;

describe.skipIf(!hostIsKnown())('integer instructions, judged by the processor we run on', () => {
  const host = new Host();
  afterAll(() => host.close());

  it.each([2, 4, 8] as const)('do the same in code of %i bytes', (codeSize) => {
    const judge = new Judge(host, codeSize, (insn) => INTEGER[insn.op] !== undefined);
    expect(judge.forms).toBeGreaterThan(2500);
    expect(judge.find('ci', CASES)).toBeUndefined();
  });
});
