import { describe, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../../src/kvm/vpmu/designs.ts';
import { countMixes } from '../../kvm/exit-mixes.ts';

/** Counted regions per design, of twelve, and how many of them make one program. */
const MIXES = Number(process.env['COUNTERPOINT_MIXES'] ?? 1_000);
const REGIONS = 250;
/** `i/n`: only the programs whose number is i modulo n. */
const [SHARD = 0, SHARDS = 1] = (process.env['COUNTERPOINT_SHARD'] ?? '0/1').split('/').map(Number);

describe.each(Object.keys(DESIGNS) as DesignName[])('%s', (design) => {
  it(`counts ${MIXES} random mixes of exits to the last instruction`, () => {
    for (let program = SHARD; program < MIXES / REGIONS; program += SHARDS) {
      countMixes(design, program, REGIONS);
    }
  });
});
