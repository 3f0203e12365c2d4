import { describe, expect, it } from 'vitest';
import { casesOf, jobsOf, planCampaign, type Shard } from '../../src/fuzz/campaign/plan.ts';
import { mergeReports, type Part, type Report } from '../../src/fuzz/campaign/report.ts';
import { type Executor, runCampaign } from '../../src/fuzz/campaign/run.ts';
import { EXHAUSTIVE_ACCESSES, exhaustiveCase, exhaustiveCases } from '../../src/fuzz/exhaustive.ts';
import { generate } from '../../src/fuzz/generate.ts';
import { executeHere } from './here.ts';

const SPACE = { designs: ['mediated'], profiles: ['sapphire-rapids'] };
const plan = (cases: number) => planCampaign({ seed: 'campaign', ...SPACE, cases });
const run = (cases: number, shard: Shard) =>
  runCampaign(plan(cases), { shard, executor: executeHere() });
const text = (report: Report) => JSON.stringify(report);

describe('a campaign', () => {
  it('in three shards, merged in any order, is the single run byte for byte', async () => {
    const whole = await run(40, { part: 1, of: 1 });
    const shards = [];
    for (const part of [3, 1, 2]) shards.push(await run(40, { part, of: 3 }));
    expect(text(mergeReports(shards))).toBe(text(whole));
    expect(whole).toMatchObject({ complete: true, cases: 40, findings: [] });
  });

  it('has every case in exactly one job of one shard', () => {
    const numbers = [1, 2, 3].flatMap((part) =>
      [...jobsOf(plan(100), { part, of: 3 }, 7)].flatMap(casesOf),
    );
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, at) => at));
  });

  it('that is interrupted reports what was executed, and says that it is not all', async () => {
    const controller = new AbortController();
    const report = await runCampaign(plan(1000), {
      shard: { part: 1, of: 1 },
      executor: executeHere(),
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    expect(report).toMatchObject({ complete: false, cases: 50 });
  });

  it('files the seed of cases whose worker never comes back, and goes on', async () => {
    const part = (cases: number): Part => ({ cases, accesses: 0, findings: [], coverage: [] });
    const executor: Executor = {
      width: 2,
      execute: async ({ first, step, count, campaign: { seed } }) =>
        first === 50 ? { seed, first, step, count, why: 'gone' } : part(count),
      close: async () => {},
    };
    const report = await runCampaign(plan(150), { shard: { part: 1, of: 1 }, executor });
    expect(report).toMatchObject({
      complete: false,
      cases: 100,
      filed: [{ seed: 'campaign', first: 50, step: 1, count: 50 }],
    });
  });

  it('refuses to merge what does not belong together', async () => {
    const [one, two] = [await run(2, { part: 1, of: 2 }), await run(2, { part: 2, of: 2 })];
    expect(() => mergeReports([one, one])).toThrow('a shard is there twice');
    expect(() => mergeReports([one, { ...two, campaign: plan(3) }])).toThrow(/different campaigns/);
  });
});

describe('trying everything', () => {
  it('reaches each of the 2 × 8,192 MSRs that a bitmap covers, and about 10^6 ways in all', () => {
    const space = { seed: 'x', designs: ['emulated'], profiles: ['sapphire-rapids'] };
    const read = new Set<number>();
    for (let index = 0; index < 164; index++) {
      for (const step of exhaustiveCase(space, index).steps) {
        if (step.do === 'rdmsr') read.add(step.register);
      }
    }
    expect(read.size).toBe(2 * 8192);
    expect([0, 0x1fff, 0xc000_0000, 0xc000_1fff].every((address) => read.has(address))).toBe(true);
    expect(EXHAUSTIVE_ACCESSES).toBeGreaterThan(500_000);
    expect(exhaustiveCase(space, exhaustiveCases(space) - 1).steps.length).toBeGreaterThan(0);
  });
});

describe('a case by its seed and number', () => {
  it('means the same for ever', () => {
    const { steps, ...state } = generate({ seed: 'for ever' }, 7);
    expect({ ...state, steps: steps.length }).toMatchInlineSnapshot(`
      {
        "bitmap": [],
        "cpl": 0,
        "design": "opt-out",
        "exposure": "default",
        "host": {
          "events": [],
          "secret": 1175624748,
        },
        "index": 7,
        "lvtpc": "masked",
        "pce": true,
        "profile": "skylake-server",
        "registers": [],
        "seed": "for ever",
        "steps": 12,
      }
    `);
  });
});
