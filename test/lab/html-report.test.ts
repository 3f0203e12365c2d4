import { describe, expect, it } from 'vitest';
import type { Comparison, MachineReport } from '../../src/lab/comparison.ts';
import { charts, htmlReport } from '../../src/lab/html-report.ts';

const COUNTED = { profile: 'sapphire-rapids', counting: 'ideal', timing: 'unit' } as const;

const report = (machine: string, read: bigint): MachineReport => ({
  machine,
  title: 'for <the> test',
  counted: COUNTED,
  reason: 'exit',
  exitValue: 0,
  rip: 0n,
  faults: [],
  console: '',
  events: [{ name: 'branches', read, scaled: true, truth: 1_000n, standing: 'exact' }],
  verdicts: { passed: 1, failed: 0, skipped: 0 },
  exits: machine === 'bare' ? {} : { MSR_WRITE: 7 },
  exitCycles: machine === 'bare' ? {} : { MSR_WRITE: 9_100 },
  accesses: [],
  pmis: { due: 0, delivered: 0, unexpected: 0, instructions: undefined, ticks: undefined },
  lost: { compared: 0, wrong: {}, windows: 0, missed: 0n, foreign: 0n, first: [] },
  blindTicks: 0n,
  costs:
    machine === 'bare'
      ? []
      : [
          {
            row: 'wrmsr',
            times: 2,
            cycles: 240,
            each: 120,
            low: 80,
            high: 300,
            provenance: 'derived',
            source: 'a "source"',
          },
        ],
  switching: undefined,
  guestInstructions: 1n,
  rootInstructions: 0n,
  ticks: 1n,
  rootTicks: 0n,
  unsupported: [],
  digest: 'd'.repeat(64),
});

const comparison: Comparison = {
  guest: '<script>alert(1)</script>',
  ...COUNTED,
  machines: [report('bare', 1_010n), report('emulated', 900n)],
};

describe('the HTML report', () => {
  it('draws errors, exits and costs, one series a machine', () => {
    expect(charts(comparison).map(({ title, categories }) => [title, categories])).toEqual([
      ['Error of what the guest read', ['branches']],
      ['VM exits by reason (exact)', ['MSR_WRITE']],
      ['Cost of root mode by the exit that led to it (modelled)', ['MSR_WRITE']],
      ['Cost of root mode by row (modelled)', ['wrmsr']],
      [
        'Root mode if all cost the low end, the default, the high end of its row (modelled)',
        ['low', 'default', 'high'],
      ],
    ]);
    expect(charts(comparison)[0]!.series).toEqual([
      { name: 'bare', values: [1] },
      { name: 'emulated', values: [-10] },
    ]);
  });

  it('fetches nothing: the plotting library is in it', () => {
    const page = htmlReport(comparison);
    expect(page).toContain('uPlot');
    expect(page).not.toMatch(/<(script|link)[^>]+(src|href)=/);
  });

  it('never lets a name become markup', () => {
    const page = htmlReport(comparison);
    expect(page).not.toContain('<script>alert');
    expect(page).toContain('&lt;script&gt;alert(1)');
    expect(page).toContain('for &lt;the&gt; test');
  });

  it('says what stands behind each number', () => {
    const page = htmlReport(comparison);
    expect(page).toContain('<small>exact</small>');
    expect(page).toContain('<td>derived</td>');
    expect(page).toContain('<td>80 – 300</td>');
  });
});
