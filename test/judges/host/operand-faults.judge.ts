import { expect, it } from 'vitest';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import type { Memory } from '../../../src/cpu/insn.ts';
import { semanticsOf } from '../../../src/cpu/semantics/semantics.ts';
import { type FormSample, formSamples } from '../../cpu/form-samples.ts';
import { type Case, DATA, PAGE } from './case.ts';
import { difference } from './compare.ts';
import { Model } from './model.ts';

/** Where an operand may not lie: beyond what is mapped, half beyond it, and for stores on the page that is read-only. */
const TARGETS = { absent: DATA + 3 * PAGE, across: DATA + 3 * PAGE - 1, 'read-only': DATA + 64 };
const SAFE = DATA + PAGE + 0x400;
const PF = 14;

/** Whether registers decide alone, and each on its own, where an operand lies. */
const canAim = ({ base, index }: Memory) => base >= 0 && base < 16 && index !== base;

function aimed({ bytes, insn }: FormSample, at: Memory, target: number): Case {
  const gpr = Array.from({ length: 16 }, () => 0n);
  for (const operand of insn.operands) {
    if (operand.kind !== 'mem' || !canAim(operand)) continue;
    const address = BigInt(operand === at ? target : SAFE);
    gpr[operand.base] = BigInt.asUintN(64, address - operand.disp);
  }
  if (gpr[4] === 0n) gpr[4] = BigInt(SAFE);
  if (insn.rep) gpr[1] = 3n;
  return {
    codeSize: 8,
    steps: 1,
    code: bytes,
    codeAt: 64,
    patchAt: PAGE,
    patch: new Uint8Array(16),
    gpr,
    rflags: 0x202n,
  };
}

it('a fault at any memory operand of any form leaves both engines in the same state', () => {
  const oracle = new Model();
  const interpreter = new Model((core) => new Interpreter(core));
  const samples = formSamples(8, (insn) => semanticsOf(insn) !== undefined);
  const differing: string[] = [];
  let faults = 0;
  for (const sample of samples) {
    for (const operand of sample.insn.operands) {
      if (operand.kind !== 'mem' || !canAim(operand)) continue;
      for (const [name, target] of Object.entries(TARGETS)) {
        const it = aimed(sample, operand, target);
        const expected = oracle.run(it, [sample.insn]);
        if (expected.vector === PF) faults++;
        const found = difference(it, expected, interpreter.run(it, [sample.insn]));
        if (found) differing.push(`${sample.key}, ${name}: ${found}`);
      }
    }
  }
  expect(differing).toEqual([]);
  expect(faults).toBeGreaterThan(3000);
});
