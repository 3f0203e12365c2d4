import { describe, expect, it } from 'vitest';
import { planCampaign } from '../../src/fuzz/campaign/plan.ts';
import { fuzzEventNames } from '../../src/fuzz/targets/event-names.ts';
import { fuzzImages } from '../../src/fuzz/targets/images.ts';

describe('input from outside', () => {
  it('that is a mutated guest image is loaded, or refused with an error of its own kind', () => {
    const { loaded, refused, unexpected } = fuzzImages({ seed: 'images', images: 4000 });
    expect(unexpected).toEqual([]);
    // Both ends are met, so that the mutations are neither too wild nor too tame.
    expect(loaded).toBeGreaterThan(200);
    expect(Object.keys(refused).length).toBeGreaterThanOrEqual(3);
  });

  it('that is a list of events is read, or refused in one line', () => {
    expect(fuzzEventNames({ seed: 'events', lists: 5000 })).toEqual([]);
  });

  it.each(['__proto__', 'constructor', 'toString', '', ' mediated', '../mediated'])(
    'that names a design %j is refused',
    (name) => {
      expect(() => planCampaign({ seed: 's', designs: [name], cases: 1 })).toThrow(
        /there is no design/,
      );
    },
  );
});
