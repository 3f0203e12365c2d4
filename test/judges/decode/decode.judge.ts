import { expect, it } from 'vitest';
import { byteStrings } from './byte-strings.ts';
import { disagreement, shrink } from './compare.ts';
import { icedOpinion } from './iced.ts';
import { hasBinutils, objdumpOpinions, ordinaryPrefixes } from './objdump.ts';

const SEED = process.env['SEED'] ?? 'judge';

it('a million random byte strings decode as iced-x86 decodes them', () => {
  for (const sample of byteStrings(SEED, 1_000_000)) {
    if (disagreement(sample, icedOpinion(sample)) === undefined) continue;
    const smallest = shrink(sample, icedOpinion);
    expect.fail(`seed ${SEED}, shrunk: ${disagreement(smallest, icedOpinion(smallest))}`);
  }
});

it.skipIf(!hasBinutils())('and as objdump decodes them, where their prefixes are in order', () => {
  const samples = [...byteStrings(SEED, 1_000_000)].filter(ordinaryPrefixes);
  const found: (string | undefined)[] = [];
  for (const codeSize of [2, 4, 8] as const) {
    const ours = samples.filter((sample) => sample.codeSize === codeSize);
    for (let i = 0; i < ours.length; i += 50_000) {
      const batch = ours.slice(i, i + 50_000);
      const opinions = objdumpOpinions(batch, codeSize);
      found.push(...batch.map((sample, k) => disagreement(sample, opinions[k]!)));
    }
  }
  expect(found.filter(Boolean), `seed ${SEED}`).toEqual([]);
});
