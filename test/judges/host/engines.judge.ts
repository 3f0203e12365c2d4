import { expect, it } from 'vitest';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { semanticsOf } from '../../../src/cpu/semantics/semantics.ts';
import { difference } from './compare.ts';
import { Generator } from './generate.ts';
import { Model } from './model.ts';

const SEED = process.env['SEED'] ?? 'engines';
const CASES = Number(process.env['CASES'] ?? 50_000);

/** The cases of the integer judge, which reach every form; no processor is needed. */
it.each([8, 4, 2] as const)(
  'the interpreter does as the oracle does in code of %i bytes',
  (codeSize) => {
    const oracle = new Model();
    const interpreter = new Model((core) => new Interpreter(core));
    const generator = new Generator({
      codeSize,
      wanted: (insn) => semanticsOf(insn) !== undefined,
      last: () => false,
      features: undefined,
    });
    for (let i = 0; i < CASES; i++) {
      const { it, insns } = generator.generate(`${SEED}-${i}`);
      const found = difference(it, oracle.run(it, insns), interpreter.run(it, insns));
      if (found)
        expect.fail(`seed ${SEED}-${i}: ${Buffer.from(it.code).toString('hex')}: ${found}`);
    }
  },
);
