import { expect, it } from 'vitest';
import { compare } from '../../vmx/near-valid.ts';

it.each(['a', 'b', 'c', 'd'])(
  '25,000 near-valid VMCSs of seed %s meet the same end by an independent validator',
  (seed) => {
    expect(compare(seed, 25_000).disagreement).toBeUndefined();
  },
);
