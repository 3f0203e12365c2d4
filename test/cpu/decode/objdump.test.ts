import { describe, expect, it } from 'vitest';
import { byteStrings } from '../../judges/decode/byte-strings.ts';
import { disagreement } from '../../judges/decode/compare.ts';
import { hasBinutils, objdumpOpinions, ordinaryPrefixes } from '../../judges/decode/objdump.ts';

const SEED = 'decode';

describe.skipIf(!hasBinutils())('where there are binutils', () => {
  it.each([2, 4, 8] as const)(
    'random code of %i-byte size decodes as objdump decodes it',
    (size) => {
      const samples = [...byteStrings(SEED, 20_000)].filter(
        (sample) => sample.codeSize === size && ordinaryPrefixes(sample),
      );
      const opinions = objdumpOpinions(samples, size);
      const found = samples.map((sample, i) => disagreement(sample, opinions[i]!));
      expect(found.filter(Boolean), `seed ${SEED}`).toEqual([]);
    },
  );
});
