import { expect, it } from 'vitest';
import { byteStrings } from './byte-strings.ts';
import { disagreement, shrink } from './compare.ts';
import { icedOpinion } from './iced.ts';

it('a million random byte strings decode as iced-x86 decodes them', () => {
  for (const sample of byteStrings('judge', 1_000_000)) {
    if (disagreement(sample, icedOpinion(sample)) === undefined) continue;
    const smallest = shrink(sample, icedOpinion);
    expect.fail(disagreement(smallest, icedOpinion(smallest)));
  }
});
