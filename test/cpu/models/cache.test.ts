import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Cache } from '../../../src/cpu/models/cache.ts';

/** Two sets of four ways. */
const small = () => new Cache({ bytes: 512, ways: 4 });

describe('a cache', () => {
  it('misses a line once and then has it', () => {
    const cache = small();
    expect([cache.access(6), cache.access(6)]).toEqual([false, true]);
  });

  it('throws out the line of the set that was used longest ago', () => {
    const cache = small();
    for (const line of [0, 2, 4, 6]) cache.access(line); // one set full
    cache.access(0);
    cache.access(8); // 2 has to go
    expect([0, 2, 4, 6, 8].map((line) => cache.holds(line))).toEqual([
      true,
      false,
      true,
      true,
      true,
    ]);
  });

  it('keeps sets apart', () => {
    const cache = small();
    for (const line of [1, 0, 2, 4, 6, 8]) cache.access(line);
    expect(cache.holds(1)).toBe(true);
  });

  it('forgets a dropped line and nothing else', () => {
    const cache = small();
    for (const line of [0, 2, 4]) cache.access(line);
    cache.drop(2);
    expect([0, 2, 4].map((line) => cache.holds(line))).toEqual([true, false, true]);
  });

  it('does not exist with three sets', () => {
    expect(() => new Cache({ bytes: 768, ways: 4 })).toThrow(RangeError);
  });

  it('does what a list per set does, and resumes from what it saved', () => {
    const step = fc.record({ drop: fc.boolean(), line: fc.integer({ min: 0, max: 20 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        let cache = small();
        const sets: number[][] = [[], []];
        for (const { drop, line } of steps) {
          const set = sets[line % 2]!;
          const at = set.indexOf(line);
          if (at >= 0) set.splice(at, 1);
          if (drop) cache.drop(line);
          else {
            expect(cache.access(line)).toBe(at >= 0);
            set.unshift(line);
            if (set.length > 4) set.pop();
          }
          const saved = cache.save();
          cache = small();
          cache.restore(saved);
        }
      }),
      { numRuns: 50 },
    );
  });
});
