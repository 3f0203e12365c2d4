import { describe, expect, it } from 'vitest';
import { executeHere } from '../../../src/fuzz/campaign/here.ts';
import { planCampaign } from '../../../src/fuzz/campaign/plan.ts';
import { runCampaign } from '../../../src/fuzz/campaign/run.ts';
import { DESIGN_NAMES } from '../../../src/fuzz/profiles.ts';
import { fuzzEventNames } from '../../../src/fuzz/targets/event-names.ts';
import { fuzzImages } from '../../../src/fuzz/targets/images.ts';

describe('the long runs of the fuzzer', () => {
  it('10^6 mutated images: typed errors only, none over 50 ms of waiting on a quiet machine', () => {
    const report = fuzzImages({ seed: 'judge', images: 1_000_000 });
    console.log(JSON.stringify(report));
    expect(report.unexpected).toEqual([]);
  });

  it('10^6 event lists', () => {
    expect(fuzzEventNames({ seed: 'judge', lists: 1_000_000 })).toEqual([]);
  });

  it.each(DESIGN_NAMES)('20,000 cases of %s', async (design) => {
    const campaign = planCampaign({ seed: 'judge', designs: [design], cases: 20_000 });
    const report = await runCampaign(campaign, {
      shard: { part: 1, of: 1 },
      executor: executeHere(),
    });
    expect(report.findings).toEqual([]);
  });

  it('everything there is to try, on the merged design and Sapphire Rapids', async () => {
    const campaign = planCampaign({
      seed: 'judge',
      designs: ['mediated'],
      profiles: ['sapphire-rapids'],
      cases: undefined,
    });
    const report = await runCampaign(campaign, {
      shard: { part: 1, of: 1 },
      executor: executeHere(),
    });
    expect(report.findings).toEqual([]);
  });
});
