import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SetAssociative } from '../../../src/cpu/models/set-associative.ts';
import { generate, modelArea } from './generated.ts';

function make(entries: number, ways: number) {
  const area = modelArea();
  const table = new SetAssociative(area, { entries, ways });
  const { lookup } = generate(area, { lookup: table.lookup() });
  return { table, access: (key: number) => lookup!(key) === 1 };
}

/** Two sets of four ways. */
const small = () => make(8, 4);

describe('a set-associative table', () => {
  it('misses a key once and then has it', () => {
    const { access } = small();
    expect([access(6), access(6)]).toEqual([false, true]);
  });

  it('throws out the key of the set that was used longest ago', () => {
    const { table, access } = small();
    for (const key of [0, 2, 4, 6]) access(key); // one set full
    access(0);
    access(8); // 2 has to go
    expect([0, 2, 4, 6, 8].map((key) => table.holds(key))).toEqual([true, false, true, true, true]);
  });

  it('keeps sets apart', () => {
    const { table, access } = small();
    for (const key of [1, 0, 2, 4, 6, 8]) access(key);
    expect(table.holds(1)).toBe(true);
  });

  it('forgets a dropped key and nothing else', () => {
    const { table, access } = small();
    for (const key of [0, 2, 4]) access(key);
    table.drop(2);
    expect([0, 2, 4].map((key) => table.holds(key))).toEqual([true, false, true]);
  });

  it('does not exist with three sets', () => {
    expect(() => new SetAssociative(modelArea(), { entries: 12, ways: 4 })).toThrow(RangeError);
  });

  // Ways as the profiles have them, and those that do not fill a vector.
  it.each([1, 2, 4, 6, 8, 12, 16])(
    'of %s ways does what a list per set does, and resumes from what it saved',
    (ways) => {
      const step = fc.record({ drop: fc.boolean(), key: fc.integer({ min: 0, max: 5 * ways }) });
      const { table, access } = make(2 * ways, ways);
      fc.assert(
        fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
          table.clear();
          const sets: number[][] = [[], []];
          for (const { drop, key } of steps) {
            const set = sets[key % 2]!;
            const at = set.indexOf(key);
            if (at >= 0) set.splice(at, 1);
            if (drop) table.drop(key);
            else {
              expect(access(key)).toBe(at >= 0);
              set.unshift(key);
              if (set.length > ways) set.pop();
            }
            const saved = table.save();
            table.clear();
            table.restore(saved);
          }
        }),
        { numRuns: 20 },
      );
    },
  );
});
