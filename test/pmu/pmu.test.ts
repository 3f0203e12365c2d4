import { beforeEach, describe, expect, it } from 'vitest';
import { SKYLAKE_SERVER } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';

const IA32_PMC0 = 0x0c1;
const IA32_PERFEVTSEL0 = 0x186;
const IA32_DEBUGCTL = 0x1d9;
const IA32_FIXED_CTR0 = 0x309;
const IA32_FIXED_CTR_CTRL = 0x38d;
const IA32_PERF_GLOBAL_STATUS = 0x38e;
const IA32_PERF_GLOBAL_CTRL = 0x38f;
const IA32_PERF_GLOBAL_STATUS_RESET = 0x390;
const IA32_PERF_GLOBAL_STATUS_SET = 0x391;
const IA32_PERF_GLOBAL_INUSE = 0x392;
const IA32_A_PMC0 = 0x4c1;

const INSTRUCTIONS = 0x0053_00c0n; // EN | INT | OS | USR, event C0H
const INSTRUCTIONS_USR = 0x0041_00c0n;
const INSTRUCTIONS_OS = 0x0042_00c0n;
const BRANCHES = 0x0043_00c4n;

let bench: PmuBench;
beforeEach(() => {
  bench = new PmuBench();
});

describe('counting', () => {
  it('starts with the general counters enabled globally and the fixed ones not', () => {
    expect(bench.read(IA32_PERF_GLOBAL_CTRL)).toBe(0xffn);
  });

  it('counts the retirement of the WRMSR that enables, not of the one that disables', () => {
    bench.write(IA32_PERF_GLOBAL_CTRL, 0n);
    bench.retire(1);
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.retire(1);
    bench.write(IA32_PERF_GLOBAL_CTRL, 1n); // effect first …
    bench.retire(1); // … then its own retirement
    bench.retire(10);
    bench.write(IA32_PERF_GLOBAL_CTRL, 0n);
    bench.retire(1);
    expect(bench.read(IA32_PMC0)).toBe(11n);
  });

  it('splits by privilege level as USR and OS say', () => {
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS_USR);
    bench.write(IA32_PERFEVTSEL0 + 1, INSTRUCTIONS_OS);
    bench.retire(5);
    bench.enter(3);
    bench.retire(7);
    bench.enter(0);
    bench.retire(11);
    expect(bench.read(IA32_PMC0)).toBe(7n);
    expect(bench.read(IA32_PMC0 + 1)).toBe(16n);
  });

  it('adds a written value and what happens after it', () => {
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.retire(5);
    bench.write(IA32_A_PMC0, 100n);
    bench.retire(3);
    expect(bench.read(IA32_PMC0)).toBe(103n);
  });

  it('counts on the fixed counters what they are made for', () => {
    bench.write(IA32_PERF_GLOBAL_CTRL, 0xf_0000_0000n);
    bench.write(IA32_FIXED_CTR_CTRL, 0x3333n);
    bench.happen({ instructions: 5, cycles: 8, unhaltedTicks: 6, slots: 48 });
    expect([0, 1, 2, 3].map((i) => bench.read(IA32_FIXED_CTR0 + i))).toEqual([5n, 8n, 6n, 48n]);
  });

  it('counts 0 for an event it does not know, and says so', () => {
    bench.write(IA32_PERFEVTSEL0, 0x0043_1234n);
    bench.retire(5);
    expect(bench.read(IA32_PMC0)).toBe(0n);
    expect(bench.pmu.unsupportedEvents()).toEqual([{ event: 0x34, umask: 0x12, why: 'unknown' }]);
  });

  it('arms the totals that running counters read, and none when all are stopped', () => {
    bench.write(IA32_PERFEVTSEL0, BRANCHES);
    bench.write(IA32_PERFEVTSEL0 + 1, INSTRUCTIONS);
    expect(bench.armed).toEqual(['branches', 'instructions']);
    bench.write(IA32_PERF_GLOBAL_CTRL, 0n);
    expect(bench.armed).toEqual([]);
  });
});

describe('aliases', () => {
  it('sign-extends 32 bits through the legacy name and stores all through the full-width one', () => {
    bench.write(IA32_PMC0, 0x1_9000_0005n);
    expect(bench.read(IA32_A_PMC0)).toBe(0xffff_9000_0005n);
    bench.write(IA32_A_PMC0, 0x1_9000_0005n);
    expect(bench.read(IA32_PMC0)).toBe(0x1_9000_0005n);
    expect(bench.bus.wrmsr(IA32_A_PMC0, 1n << 48n)).toBe('#GP');
    expect(bench.bus.wrmsr(IA32_PMC0, 1n << 48n)).toBe('done');
  });

  it('reads through RDPMC what RDMSR reads', () => {
    bench.write(IA32_A_PMC0 + 7, 77n);
    bench.write(IA32_FIXED_CTR0 + 3, 33n);
    expect(bench.pmu.rdpmc(7)).toBe(77n);
    expect(bench.pmu.rdpmc(0x4000_0003)).toBe(33n);
  });

  it.each([8, 0x4000_0004, 0x2000_0000, 0x8000_0000, 0x1_0000, 0xffff_ffff])(
    'faults on RDPMC with ECX %i, which names no counter',
    (ecx) => expect(bench.pmu.rdpmc(ecx)).toBe('#GP'),
  );
});

describe('overflow', () => {
  it('sets its status bit and asks for one interrupt at the n-th event after a preset of −n', () => {
    bench.write(IA32_PMC0, 0xffff_fffdn); // −3
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.retire(2);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe(0n);
    expect(bench.interrupts).toBe(0);
    bench.retire(1);
    expect(bench.read(IA32_PMC0)).toBe(0n);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe(1n);
    expect(bench.interrupts).toBe(1);
  });

  it('asks for one interrupt when two counters wrap together', () => {
    for (const i of [0, 1]) {
      bench.write(IA32_PMC0 + i, 0xffff_ffffn);
      bench.write(IA32_PERF_GLOBAL_CTRL, 0n);
      bench.write(IA32_PERFEVTSEL0 + i, INSTRUCTIONS);
    }
    bench.write(IA32_PERF_GLOBAL_CTRL, 3n);
    bench.retire(1);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe(3n);
    expect(bench.interrupts).toBe(1);
  });

  it('only sets status when the counter does not ask for an interrupt', () => {
    bench.write(IA32_PMC0, 0xffff_ffffn);
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS_OS);
    bench.retire(1);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe(1n);
    expect(bench.interrupts).toBe(0);
  });

  it('keeps the status bit until it is written to STATUS_RESET, and takes it from STATUS_SET', () => {
    bench.write(IA32_PERF_GLOBAL_STATUS_SET, 0x1_0000_0002n);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe(0x1_0000_0002n);
    bench.write(IA32_PERF_GLOBAL_STATUS_RESET, 2n);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe(0x1_0000_0000n);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS_RESET)).toBe(0n);
    expect(bench.interrupts).toBe(0);
  });

  it('freezes every counter on a PMI when DEBUGCTL says so, until CTR_FRZ is reset', () => {
    bench.write(IA32_DEBUGCTL, 1n << 12n);
    bench.write(IA32_PMC0, 0xffff_ffffn);
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.write(IA32_PERFEVTSEL0 + 1, INSTRUCTIONS_OS);
    bench.retire(10);
    expect(bench.read(IA32_PERF_GLOBAL_STATUS)).toBe((1n << 59n) | 1n);
    expect([bench.read(IA32_PMC0), bench.read(IA32_PMC0 + 1)]).toEqual([0n, 1n]);
    bench.write(IA32_PERF_GLOBAL_STATUS_RESET, (1n << 59n) | 1n);
    bench.retire(4);
    expect([bench.read(IA32_PMC0), bench.read(IA32_PMC0 + 1)]).toEqual([4n, 5n]);
  });
});

describe('horizon', () => {
  it('is infinite while nothing counts', () => {
    expect(bench.pmu.horizon()).toBe(Number.POSITIVE_INFINITY);
  });

  it('is the distance to the nearest overflow', () => {
    bench.write(IA32_PMC0, 0xffff_ff00n);
    bench.write(IA32_PMC0 + 1, 0xffff_fff0n);
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.write(IA32_PERFEVTSEL0 + 1, BRANCHES);
    expect(bench.pmu.horizon()).toBe(16);
    bench.retire(10);
    expect(bench.pmu.horizon()).toBe(16);
    bench.happen({ branches: 10 });
    bench.pmu.settle();
    expect(bench.pmu.horizon()).toBe(6);
  });

  it('of an unbounded kind of event converges on the overflow from below', () => {
    bench.write(IA32_PMC0, 0xffff_ff00n); // 256 cycles to go, at most 64 a tick
    bench.write(IA32_PERFEVTSEL0, 0x0043_003cn);
    expect(bench.pmu.horizon()).toBe(4);
    bench.happen({ cycles: 250 });
    bench.pmu.settle();
    expect(bench.pmu.horizon()).toBe(1);
  });
});

describe('GLOBAL_INUSE', () => {
  it('shows selected counters, and whether one asks for a PMI', () => {
    bench.write(IA32_PERFEVTSEL0 + 2, INSTRUCTIONS_OS);
    expect(bench.read(IA32_PERF_GLOBAL_INUSE)).toBe(4n);
    bench.write(IA32_FIXED_CTR_CTRL, 0x0090n);
    expect(bench.read(IA32_PERF_GLOBAL_INUSE)).toBe((1n << 63n) | (1n << 33n) | 4n);
  });
});

describe('reset and snapshots', () => {
  it('INIT keeps counters and controls, RESET clears them', () => {
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.write(IA32_PERF_GLOBAL_CTRL, 1n);
    bench.write(IA32_DEBUGCTL, 1n << 12n);
    bench.retire(5);
    bench.pmu.reset('init');
    expect([bench.read(IA32_PMC0), bench.read(IA32_PERFEVTSEL0)]).toEqual([5n, INSTRUCTIONS]);
    expect([bench.read(IA32_PERF_GLOBAL_CTRL), bench.read(IA32_DEBUGCTL)]).toEqual([1n, 0n]);
    bench.pmu.reset('power-up');
    expect([bench.read(IA32_PMC0), bench.read(IA32_PERFEVTSEL0)]).toEqual([0n, 0n]);
    expect(bench.read(IA32_PERF_GLOBAL_CTRL)).toBe(0xffn);
  });

  it('resumes from what it saved', () => {
    bench.write(IA32_PERFEVTSEL0, INSTRUCTIONS);
    bench.write(IA32_PERF_GLOBAL_CTRL, 0x1_0000_0001n);
    bench.write(IA32_FIXED_CTR_CTRL, 1n);
    bench.retire(5);
    const saved = structuredClone(bench.pmu.save());
    bench.retire(3);
    bench.write(IA32_PERFEVTSEL0, 0n);
    bench.pmu.restore(saved);
    bench.retire(2);
    expect([bench.read(IA32_PMC0), bench.read(IA32_FIXED_CTR0)]).toEqual([7n, 7n]);
    expect(bench.read(IA32_PERFEVTSEL0)).toBe(INSTRUCTIONS);
  });
});

describe('the Skylake server profile', () => {
  it('has AnyThread bits and no fourth fixed counter', () => {
    bench = new PmuBench(SKYLAKE_SERVER);
    expect(bench.bus.wrmsr(IA32_PERFEVTSEL0, 1n << 21n)).toBe('done');
    expect(bench.bus.rdmsr(IA32_FIXED_CTR0 + 3)).toBe('unclaimed');
    expect(bench.bus.wrmsr(IA32_FIXED_CTR_CTRL, 0xfffn)).toBe('done');
    expect(bench.bus.wrmsr(IA32_FIXED_CTR_CTRL, 0x1000n)).toBe('#GP');
  });
});
