import { describe, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { countMixes } from './exit-mixes.ts';

const LONG = 120_000;

describe.each(Object.keys(DESIGNS) as DesignName[])('random mixes of exits under %s', (design) => {
  it(
    'retire in a counted region what they are made of',
    () => {
      for (const program of [0, 1]) countMixes(design, program, 40);
    },
    LONG,
  );
});
