import { describe, expect, it } from 'vitest';
import { countingName, readDeviations } from '../../src/pmu/silicon.ts';

describe('deviations by name', () => {
  it.each([
    ['ideal', 'ideal'],
    ['skid=20', 'silicon (skid 20)'],
    ['overcount-iret,lost-pmi=3', 'silicon (overcounts interruptReturns, loses one PMI in 3)'],
    [
      'silicon,skid=7',
      'silicon (overcounts hardwareInterrupts, overcounts pageFaults, overcounts interruptReturns, skid 7)',
    ],
  ])('%s is %s', (text, name) => {
    expect(countingName(readDeviations(text))).toBe(name);
  });

  it.each([
    '',
    'skid',
    'skid=0',
    'skid=-1',
    'skid=1.5',
    'lost-pmi=9999999',
    'ideal=1',
    'overcount-iret=2',
    'toString',
  ])("'%s' is refused in one line that names it", (text) => {
    expect(() => readDeviations(text)).toThrow(/^(there is no deviation|deviation) '/);
  });
});
