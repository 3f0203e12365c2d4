import { expect, it } from 'vitest';
import { compare } from './near-valid.ts';

it('VM entry agrees with an independent validator on VMCSs one or two fields away from valid', () => {
  const { disagreement, tally } = compare('near valid', 3000);
  expect(disagreement).toBeUndefined();
  // Every verdict has come up, none is nearly all.
  expect(Object.keys(tally).sort()).toEqual([
    'enters',
    'error 7',
    'error 8',
    'exit 33, 0',
    'exit 33, 2',
    'exit 33, 4',
  ]);
  expect(Math.max(...Object.values(tally))).toBeLessThan(2200);
});
