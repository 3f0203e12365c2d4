import type { PerfCpu } from './cpu.ts';
import type { PerfEvent } from './event.ts';

const TICKS_PER_SECOND = 3_000_000_000n;
/** kernel.perf_event_max_sample_rate. */
const MAXIMUM_SAMPLE_RATE = 100_000;

/** How often events sample: frequency mode steers the period, throttling stops what samples too often. */
export class FrequencyMode {
  /** Ticks of the TSC in one timer tick; undefined on a host without a timer tick, where nothing is throttled. */
  tickLength: number | undefined;
  /** Throttled events so far. */
  throttled = 0;
  #tick = 0;

  /** An overflow: counts it against the tick's allowance, and corrects the period by the time since the last one. */
  overflow(cpu: PerfCpu, event: PerfEvent): void {
    const { hw } = event;
    this.#account(cpu, event);
    if (event.attr.sampleFreq === 0) return;
    const now = cpu.host.now();
    const passed = now - hw.freqTimeStamp;
    hw.freqTimeStamp = now;
    const recent = passed > 0n && passed < 2n * BigInt(this.tickLength ?? 12_000_000);
    if (recent) this.#adjust(cpu, event, passed, hw.lastPeriod);
  }

  /** A timer tick on a CPU. */
  tick(cpu: PerfCpu, events: readonly PerfEvent[]): void {
    this.#tick += 1;
    for (const event of events) {
      const { hw, attr } = event;
      if (!hw.throttled && attr.sampleFreq === 0) continue;
      cpu.pmu.disable();
      if (hw.throttled) {
        hw.throttled = false;
        hw.interrupts = 0;
        cpu.pmu.start(event, true);
      }
      if (attr.sampleFreq > 0) {
        cpu.pmu.stop(event, true);
        const counted = event.count - hw.freqCountStamp;
        hw.freqCountStamp = event.count;
        if (counted > 0n) this.#adjust(cpu, event, BigInt(this.tickLength ?? 1), counted);
        cpu.pmu.start(event, hw.periodLeft === 0n);
      }
      cpu.pmu.enable();
    }
  }

  save(): { readonly throttled: number; readonly tick: number } {
    return { throttled: this.throttled, tick: this.#tick };
  }

  restore({ throttled, tick }: ReturnType<FrequencyMode['save']>): void {
    this.throttled = throttled;
    this.#tick = tick;
  }

  /** perf_adjust_period: an eighth of the way to the period that would have given the wanted rate. */
  #adjust(cpu: PerfCpu, event: PerfEvent, ticks: bigint, count: bigint): void {
    const { hw, attr } = event;
    const wanted = (count * TICKS_PER_SECOND) / (ticks * BigInt(attr.sampleFreq));
    const delta = wanted - hw.samplePeriod;
    const step = delta >= 0n ? (delta + 7n) / 8n : (delta - 7n) / 8n;
    hw.samplePeriod += step;
    if (hw.samplePeriod <= 0n) hw.samplePeriod = 1n;
    if (hw.periodLeft <= 8n * hw.samplePeriod) return;
    const running = !hw.stopped;
    if (running) cpu.pmu.stop(event, true);
    hw.periodLeft = 0n;
    if (running) cpu.pmu.start(event, true);
  }

  #account(cpu: PerfCpu, event: PerfEvent): void {
    const { hw } = event;
    if (this.tickLength === undefined) return;
    const perSecond = Number(TICKS_PER_SECOND) / this.tickLength;
    if (hw.interruptsTick !== this.#tick) {
      hw.interruptsTick = this.#tick;
      hw.interrupts = 1;
      return;
    }
    hw.interrupts += 1;
    if (hw.interrupts <= Math.ceil(MAXIMUM_SAMPLE_RATE / perSecond)) return;
    this.throttled += 1;
    hw.throttled = true;
    cpu.pmu.stop(event, false);
  }
}
