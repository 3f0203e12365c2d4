import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { NESTED_FAULTS } from '../judges/fuzz/nested-faults.ts';
import { FAULTS } from '../judges/kvm/faults.ts';

it('each fault that the judge plants has its one place in the sources as they are', () => {
  const places = [...FAULTS, ...NESTED_FAULTS].map(({ file, from }) => ({
    file,
    from,
    places: readFileSync(file, 'utf8').split(from).length - 1,
  }));
  expect(places.filter(({ places }) => places !== 1)).toEqual([]);
});
