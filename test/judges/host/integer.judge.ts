import { afterAll, describe, expect, it } from 'vitest';
import { INTEGER } from '../../../src/cpu/semantics/semantics.ts';
import { Host, hostJudges } from './host.ts';
import { Judge } from './judge.ts';

const SEED = process.env['SEED'] ?? 'integer';
const CASES = Number(process.env['CASES'] ?? 5_000_000);

describe.skipIf(!hostJudges())('integer instructions, judged by the processor we run on', () => {
  const host = new Host();
  afterAll(() => host.close());

  it.each([8, 4, 2] as const)(`do the same in code of %i bytes, in ${CASES} cases`, (codeSize) => {
    const judge = new Judge(host, codeSize, (insn) => INTEGER[insn.op] !== undefined);
    expect(judge.find(SEED, CASES)).toBeUndefined();
  });
});
