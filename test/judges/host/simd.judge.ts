import { afterAll, describe, expect, it } from 'vitest';
import type { Insn } from '../../../src/cpu/insn.ts';
import { SIMD_FLOAT } from '../../../src/cpu/semantics/simd-float.ts';
import { SIMD_INTEGER } from '../../../src/cpu/semantics/simd-integer.ts';
import { SIMD_MOVE } from '../../../src/cpu/semantics/simd-move.ts';
import { SIMD_STRING } from '../../../src/cpu/semantics/simd-string.ts';
import type { Case } from './case.ts';
import { difference } from './compare.ts';
import { dependsOnVendor, forgiven } from './differences.ts';
import { FxGenerator, imageDifference, SSE_FIELDS, X87_FIELDS } from './fx.ts';
import { Generator } from './generate.ts';
import { Host, hostJudges } from './host.ts';
import { Model } from './model.ts';

const TABLES = {
  moves: SIMD_MOVE,
  'string comparisons': SIMD_STRING,
  'integer instructions': SIMD_INTEGER,
  'floating-point instructions': SIMD_FLOAT,
};
/** As if CPUID had every feature. */
const EVERYTHING = Object.assign(new Set<string>(), { has: () => true });
const CASES = Number(process.env['CASES'] ?? 200_000);
const BATCH = 10_000;
const RUNS = Object.entries(TABLES).flatMap(([name, table]) =>
  ([8, 4] as const).map((codeSize) => [name, codeSize, table] as const),
);

const isMmx = (insn: Insn) => insn.operands.some(({ kind }) => kind === 'mm') || insn.op === 'EMMS';

describe.skipIf(!hostJudges())('as this processor does them', () => {
  const host = new Host();
  const model = new Model();
  afterAll(() => host.close());

  it.each(RUNS)('SSE and MMX %s in %i-byte code', (name, codeSize, table) => {
    const generator = new Generator({
      codeSize,
      wanted: (insn) => insn.op in table,
      last: dependsOnVendor,
      features: EVERYTHING,
    });
    for (let from = 0; from < CASES; from += BATCH) {
      const made = Array.from({ length: BATCH }, (_, k) => {
        const seed = `${name} ${codeSize} ${from + k}`;
        const generated = generator.generate(seed);
        const fx = new FxGenerator(seed);
        const image = fx.image(generated.insns.some(isMmx) ? 'mmx' : 'sse');
        const it: Case = { ...generated.it, fx: image, patch: fx.bytes(32) };
        return { seed, insns: generated.insns, it };
      });
      const outcomes = host.run(
        made.map(({ it }) => it),
        true,
      );
      for (const [k, { seed, insns, it }] of made.entries()) {
        const theirs = outcomes[k]!;
        const ours = forgiven({ it, insns, theirs, ours: model.run(it, insns) }, host.vendor);
        const fields = insns.some(isMmx) ? [...SSE_FIELDS, ...X87_FIELDS] : SSE_FIELDS;
        const found = difference(it, theirs, ours) ?? imageDifference(theirs.fx!, ours.fx!, fields);
        const code = Buffer.from(it.code).toString('hex');
        if (found)
          expect.fail(
            `seed '${seed}', ${insns.map(({ op }) => op).join(', ')} (${code}): ${found}`,
          );
      }
    }
  });
});
