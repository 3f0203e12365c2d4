import { expect, it } from 'vitest';
import { byteStrings } from '../../judges/decode/byte-strings.ts';
import { disagreement, shrink } from '../../judges/decode/compare.ts';
import { icedOpinion } from '../../judges/decode/iced.ts';

const SEED = 'decode';

it('fifty thousand random byte strings decode as iced-x86 decodes them', () => {
  for (const sample of byteStrings(SEED, 50_000)) {
    if (disagreement(sample, icedOpinion(sample)) === undefined) continue;
    const smallest = shrink(sample, icedOpinion);
    expect.fail(`seed ${SEED}, shrunk: ${disagreement(smallest, icedOpinion(smallest))}`);
  }
});
