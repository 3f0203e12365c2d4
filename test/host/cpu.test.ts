import { beforeEach, describe, expect, it } from 'vitest';
import { HostKernel } from '../../src/host/kernel.ts';
import { PageAllocator } from '../../src/host/pages.ts';
import { HostProgram } from '../../src/host/task.ts';
import { HostTimers } from '../../src/host/timers.ts';
import { physicalCpu } from './rig.ts';

let rig: ReturnType<typeof physicalCpu>;
beforeEach(() => {
  rig = physicalCpu();
});

const ticks = () => Number(rig.host.now());

describe('root-mode work', () => {
  it('retires what its row says: ticks, half as many instructions, a fifth of those branches', () => {
    rig.host.spend('exit-handling', 10);
    expect(ticks()).toBe(4000);
    expect(rig.totals.get('instructions')).toBe(2000n);
    expect(rig.totals.get('branches')).toBe(400n);
    expect(rig.host.account.entry('exit-handling')).toEqual({ times: 10, ticks: 4000 });
  });

  it('counts a register access as one instruction after its effect', () => {
    rig.host.wrmsr(0x186, 0x43_00c0n);
    const before = rig.totals.get('instructions');
    expect(rig.host.rdmsr(0x186)).toBe(0x43_00c0n);
    expect(rig.totals.get('instructions')! - before!).toBe(1n);
    expect(rig.host.operations).toEqual({ rdmsr: 1, wrmsr: 1, rdpmc: 0, vmread: 0, vmwrite: 0 });
  });

  it('that faults says which register', () => {
    expect(() => rig.host.wrmsr(0x38f, 1n << 40n)).toThrow(/WRMSR 0x38f/);
    expect(() => rig.host.rdmsr(0x999)).toThrow(/RDMSR 0x999.*unclaimed/);
    expect(() => rig.host.rdpmc(0x40)).toThrow(/RDPMC 0x40/);
  });

  it('within an envelope costs the envelope, and is booked to it', () => {
    rig.host.within('perf-event-pause', () => {
      rig.host.wrmsr(0x186, 0n);
      rig.host.spend('perf-event-sched');
    });
    expect(ticks()).toBe(22_000);
    expect(rig.host.account.entry('perf-event-pause')).toEqual({ times: 1, ticks: 22_000 });
    expect(rig.host.account.entry('wrmsr')).toEqual({ times: 0, ticks: 0 });
  });

  it('dearer than its envelope costs what it costs', () => {
    rig.host.within('host-pmi', () => rig.host.spend('perf-event-pause'));
    expect(ticks()).toBe(22_000);
  });
});

describe('an NMI in the middle of work', () => {
  it('arrives at the tick of the overflow, is booked to its handler, and the work goes on', () => {
    rig.host.wrmsr(0x834, 0x400n);
    rig.host.wrmsr(0x186, 0x53_00c0n);
    let at = 0n;
    rig.host.onNmi(() => {
      at = rig.totals.get('instructions')!;
      rig.host.wrmsr(0x186, 0n);
      rig.host.wrmsr(0x390, 1n);
      return 1;
    });
    rig.host.wrmsr(0xc1, 0xffff_ff00n);
    const start = rig.totals.get('instructions')!;
    rig.host.work(10_000, 5_000);
    // The load of the counter is counted on top of what it loads.
    expect(at - start).toBe(255n);
    expect(rig.host.unknownNmis).toBe(0);
  });

  it('that nobody knows is counted as unknown', () => {
    rig.host.handleNmi();
    expect(rig.host.unknownNmis).toBe(1);
  });
});

describe('interrupts', () => {
  it('wait while they are off', () => {
    const timers = new HostTimers(rig.host);
    const fired: bigint[] = [];
    timers.register('a', () => fired.push(rig.host.now()));
    timers.arm('a', rig.host.now() + 500n);
    rig.host.withInterruptsOff(() => rig.host.work(5_000, 100));
    expect(fired).toHaveLength(1);
    expect(fired[0]).toBeGreaterThanOrEqual(5_000n);
  });

  it('of many timers come in the order of their times', () => {
    const timers = new HostTimers(rig.host);
    const fired: string[] = [];
    for (const [name, at] of [
      ['c', 9000n],
      ['a', 4000n],
      ['b', 6000n],
    ] as const) {
      timers.register(name, () => fired.push(name));
      timers.arm(name, at);
    }
    timers.register('never', () => fired.push('never'));
    timers.arm('never', 7000n);
    timers.cancel('never');
    rig.host.work(20_000, 100);
    expect(fired).toEqual(['a', 'b', 'c']);
  });

  it('end a halt', () => {
    const timers = new HostTimers(rig.host);
    timers.register('wake', () => {});
    timers.arm('wake', 50_000n);
    const unhalted = rig.totals.get('unhaltedTicks')!;
    rig.host.halt(1_000_000);
    expect(ticks()).toBeLessThan(52_000);
    expect(Number(rig.totals.get('unhaltedTicks')! - unhalted)).toBeLessThan(2_000);
  });
});

describe('the scheduler', () => {
  it('gives two programs turns of a slice each', () => {
    const kernel = new HostKernel([rig.host], { slice: 100_000 });
    const turns: string[] = [];
    for (const name of ['a', 'b']) {
      kernel.spawn(
        new HostProgram(
          name,
          { ticks: 1000, instructions: 500 },
          {
            rounds: 300,
            onSchedule: { in: () => turns.push(name) },
          },
        ),
      );
    }
    kernel.run(1_000_000n);
    expect(turns.slice(0, 6)).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    expect(kernel.isIdle).toBe(true);
  });

  it('leaves a program alone that nobody waits behind', () => {
    const kernel = new HostKernel([rig.host], { slice: 10_000 });
    kernel.spawn(new HostProgram('only', { ticks: 1000, instructions: 500 }));
    kernel.run(500_000n);
    expect(rig.host.account.entry('context-switch').times).toBe(1);
  });
});

describe('host pages', () => {
  it('are zeroed, distinct, and run out with a word', () => {
    const bytes = new Map<number, bigint>();
    const memory = {
      read: (at: number) => bytes.get(at) ?? 0xffn,
      write: (at: number, _size: number, value: bigint) => void bytes.set(at, value),
    };
    const pages = new PageAllocator(memory, { base: 0x10_0000, size: 2 * 4096 });
    expect([pages.allocate(), pages.allocate()]).toEqual([0x10_0000, 0x10_1000]);
    expect(memory.read(0x10_0ff8)).toBe(0n);
    expect(() => pages.allocate()).toThrow(/no free page/);
    pages.free(0x10_0000);
    expect(pages.allocate()).toBe(0x10_0000);
  });
});
