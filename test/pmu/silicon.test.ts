import { describe, expect, it } from 'vitest';
import { SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';
import { IDEAL, SILICON } from '../../src/pmu/silicon.ts';
import { PmuBench } from './bench.ts';

const INSTRUCTIONS = 0x0053_00c0n;
const STATUS = 0x38e;

const counting = (deviations: typeof IDEAL) => {
  const bench = new PmuBench(SAPPHIRE_RAPIDS, deviations);
  bench.write(0x186, INSTRUCTIONS);
  return bench;
};
const EVENTFUL = { instructions: 100, hardwareInterrupts: 3, pageFaults: 2, interruptReturns: 5 };

describe('overcounts', () => {
  it('are none in the ideal profile', () => {
    const bench = counting(IDEAL);
    bench.happen(EVENTFUL);
    expect([bench.read(0xc1), bench.pmu.counting]).toEqual([100n, 'ideal']);
  });

  it.each([
    ['hardwareInterrupts', 103n],
    ['pageFaults', 102n],
    ['interruptReturns', 105n],
  ] as const)('of %s come in one by one', (name, expected) => {
    const bench = counting({ ...IDEAL, overcounts: [name] });
    bench.happen(EVENTFUL);
    expect(bench.read(0xc1)).toBe(expected);
    expect(bench.pmu.counting).toBe(`silicon (overcounts ${name})`);
  });

  it('touch the instruction events alone, the fixed one included', () => {
    const bench = new PmuBench(SAPPHIRE_RAPIDS, SILICON);
    bench.write(0x186, 0x43_00c4n);
    bench.write(0x38d, 1n);
    bench.write(0x38f, (1n << 32n) | 1n);
    bench.happen({ ...EVENTFUL, branches: 7 });
    expect([bench.read(0xc1), bench.read(0x309)]).toEqual([7n, 110n]);
  });
});

describe('skid', () => {
  it('delays the interrupt by so many ticks, not the status bit', () => {
    const bench = counting({ ...IDEAL, skid: 4 });
    bench.write(0xc1, 0xffff_fffen);
    bench.retire(2);
    expect([bench.read(STATUS), bench.interrupts]).toEqual([1n, 0]);
    expect(bench.pmu.horizon()).toBe(4);
    bench.retire(3);
    expect([bench.interrupts, bench.read(0xc1)]).toEqual([0, 3n]);
    bench.retire(1);
    expect([bench.interrupts, bench.read(0xc1)]).toEqual([1, 4n]);
  });

  it('ends when the CPU halts', () => {
    const bench = counting({ ...IDEAL, skid: 40 });
    bench.write(0xc1, 0xffff_ffffn);
    bench.retire(1);
    bench.enter(0, true);
    expect(bench.interrupts).toBe(1);
  });

  it('survives a snapshot', () => {
    const bench = counting({ ...IDEAL, skid: 4 });
    bench.write(0xc1, 0xffff_ffffn);
    bench.retire(2);
    bench.pmu.restore(structuredClone(bench.pmu.save()));
    bench.retire(3);
    expect(bench.interrupts).toBe(1);
  });
});

it('loses every n-th interrupt, not its status bit, when told', () => {
  const bench = counting({ ...IDEAL, losesPmi: 3 });
  const heard: number[] = [];
  for (let i = 0; i < 6; i++) {
    bench.write(0x390, 1n);
    bench.write(0xc1, 0xffff_ffffn);
    bench.retire(1);
    expect(bench.read(STATUS)).toBe(1n);
    heard.push(bench.interrupts);
  }
  expect(heard).toEqual([1, 2, 2, 3, 4, 4]);
  expect(bench.pmu.counting).toBe('silicon (loses one PMI in 3)');
});
