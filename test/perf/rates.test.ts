import { describe, expect, it } from 'vitest';
import { HostKernel } from '../../src/host/kernel.ts';
import { HostProgram } from '../../src/host/task.ts';
import { perfEventAttr } from '../../src/perf/attr.ts';
import { STATE } from '../../src/perf/event.ts';
import { attachPerf } from '../../src/perf/host-kernel.ts';
import { Perf } from '../../src/perf/perf.ts';
import { NmiWatchdog } from '../../src/perf/watchdog.ts';
import { physicalCpu } from '../host/rig.ts';

const SECOND = 3_000_000_000n;
const INSTRUCTIONS = 0x00c0n;
const BRANCHES = 0x00c4n;

/** A host at HZ = 1000 that is busy all the time. */
function busy(muxInterval?: number) {
  const { host } = physicalCpu();
  const perf = new Perf([host]);
  const kernel = new HostKernel([host], { hz: 1000 });
  attachPerf(perf, kernel, { cpus: [0], ...(muxInterval !== undefined && { muxInterval }) });
  kernel.spawn(new HostProgram('busy', { ticks: 20_000, instructions: 10_000 }));
  return { host, perf, kernel };
}

describe('an event in frequency mode', () => {
  it('comes to sample about as often as it was asked to', () => {
    const { perf, kernel } = busy();
    let samples = 0;
    const event = perf.create(
      perfEventAttr({ config: INSTRUCTIONS, sampleFreq: 4000 }),
      { cpu: 0 },
      { overflow: () => samples++ },
    );
    kernel.run(SECOND / 20n);
    const settling = samples;
    kernel.run(SECOND / 10n);
    // A twentieth of a second at 4 kHz is 200 samples.
    expect(samples - settling).toBeGreaterThan(140);
    expect(samples - settling).toBeLessThan(260);
    // 1.5·10⁹ instructions a second and a little for the kernel.
    expect(Number(event.hw.samplePeriod)).toBeGreaterThan(250_000);
    expect(Number(event.hw.samplePeriod)).toBeLessThan(550_000);
  });
});

describe('an event that samples too often', () => {
  it('is stopped until the next tick', () => {
    const { perf, kernel } = busy();
    let samples = 0;
    perf.create(
      perfEventAttr({ config: INSTRUCTIONS, samplePeriod: 2_000n }),
      { cpu: 0 },
      { overflow: () => samples++ },
    );
    kernel.run(SECOND / 100n);
    expect(perf.rates.throttled).toBeGreaterThan(5);
    // At most 100 a tick and the one that is too many, in ten ticks and what is left of an eleventh.
    expect(samples).toBeLessThanOrEqual(1_111);
    expect(samples).toBeGreaterThan(500);
  });
});

describe('rotation', () => {
  it('happens every interval while some event waits, and stops when none does', () => {
    const { perf, kernel } = busy(6_000_000);
    const events = Array.from({ length: 10 }, () =>
      perf.create(perfEventAttr({ config: BRANCHES }), { cpu: 0 }),
    );
    kernel.run(SECOND / 20n);
    for (const event of events) {
      const { enabled, running } = perf.read(event)!;
      // Eight of ten have a counter at a time.
      expect(Number(running) / Number(enabled)).toBeGreaterThan(0.65);
      expect(Number(running) / Number(enabled)).toBeLessThan(0.95);
    }
    for (const event of events.slice(0, 3)) perf.release(event);
    kernel.run(SECOND / 15n);
    expect(events.slice(3).every(({ state }) => state === STATE.ACTIVE)).toBe(true);
    expect(kernel.timers(0).isArmed('perf-mux')).toBe(false);
  });
});

describe('the NMI watchdog', () => {
  it('holds the cycles counter and fires each threshold', () => {
    const { perf, kernel, host } = busy();
    const dog = new NmiWatchdog(perf, { cpus: [0], threshold: 1 / 100 });
    expect(() => dog.enable()).toThrow();
    const slow = new NmiWatchdog(perf, { cpus: [0], threshold: 1 });
    slow.enable();
    expect(slow.events[0]!.hw.index).toBe(33);
    kernel.run(SECOND / 100n);
    expect(slow.fired).toBe(0);
    host.work(Number(SECOND), 1_000_000);
    expect(slow.fired).toBe(1);
    slow.disable();
    expect(slow.events).toEqual([]);
  });
});
