import { describe, expect, it } from 'vitest';
import { planCampaign } from '../../../src/fuzz/campaign/plan.ts';
import { runCampaign } from '../../../src/fuzz/campaign/run.ts';
import { DESIGN_NAMES } from '../../../src/fuzz/profiles.ts';
import { executeHere } from '../../fuzz/here.ts';

describe('the long runs of the fuzzer', () => {
  it.each(DESIGN_NAMES)('20,000 cases of %s', async (design) => {
    const campaign = planCampaign({ seed: 'judge', designs: [design], cases: 20_000 });
    const report = await runCampaign(campaign, {
      shard: { part: 1, of: 1 },
      executor: executeHere(),
    });
    expect(report.findings).toEqual([]);
  });

  it.each(['mediated', 'emulated'])(
    'everything there is to try, on %s and Sapphire Rapids',
    async (design) => {
      const campaign = planCampaign({
        seed: 'judge',
        designs: [design],
        profiles: ['sapphire-rapids'],
        cases: undefined,
      });
      const report = await runCampaign(campaign, {
        shard: { part: 1, of: 1 },
        executor: executeHere(),
      });
      expect(report.findings).toEqual([]);
    },
  );
});
