import { describe, expect, it } from 'vitest';
import { type StatLine, statJson, statSeparated, statText } from '../../src/lab/perf-stat.ts';

const multiplexed: StatLine = {
  event: 'instructions',
  value: 1_250_004n,
  enabled: 333_360n,
  running: 166_580n,
  metric: { value: 1.25, name: 'insn per cycle' },
};
const absent: StatLine = { event: 'slots', value: 'unsupported', enabled: 0n, running: 0n };
const waiting: StatLine = { event: 'branches', value: undefined, enabled: 10n, running: 0n };

describe('perf stat', () => {
  it('prints values in eighteen columns, the metric after #, the share of time at the end', () => {
    expect(statText('guest multiplex', [multiplexed, absent, waiting], 0.000333361)).toBe(
      [
        '',
        " Performance counter stats for 'guest multiplex':",
        '',
        '         1,250,004      instructions                     #    1.25  insn per cycle              (49.97%)',
        '   <not supported>      slots',
        '     <not counted>      branches',
        '',
        '       0.000333361 seconds time elapsed',
        '',
        '',
      ].join('\n'),
    );
  });

  it('keeps the column of the metric where there is none', () => {
    const { metric: _, ...plain } = multiplexed;
    const text = statText('g', [{ ...plain, event: 'branches' }], 1).split('\n')[3]!;
    expect(text).toBe(
      `         1,250,004      branches${' '.repeat(24)}${' '.repeat(38)}  (49.97%)`,
    );
  });

  it('separates fields verbatim under -x', () => {
    expect(statSeparated(';', [multiplexed, absent])).toBe(
      '1250004;;instructions;166580;49.97;1.25;insn per cycle\n<not supported>;;slots;0;0.00;;\n',
    );
  });

  it('prints one JSON object a line under -j, the value as a string', () => {
    const text = statJson([multiplexed, absent]);
    expect(text.split('\n')[0]).toBe(
      '{"counter-value" : "1250004.000000", "unit" : "", "event" : "instructions", "event-runtime" : 166580, "pcnt-running" : 49.97, "metric-value" : 1.250000, "metric-unit" : "insn per cycle"}',
    );
    expect(JSON.parse(text.split('\n')[1]!)).toEqual({
      'counter-value': '<not supported>',
      unit: '',
      event: 'slots',
      'event-runtime': 0,
      'pcnt-running': 0,
    });
  });
});
