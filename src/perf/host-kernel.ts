import { type HostKernel, TICKS_PER_SECOND } from '../host/kernel.ts';
import type { Perf } from './perf.ts';

const MUX = 'perf-mux';

export interface PerfKernelOptions {
  /** CPUs perf is on. */
  readonly cpus: readonly number[];
  /** perf_event_mux_interval_ms, in ticks; unless told the length of a timer tick, 4 ms without one. */
  readonly muxInterval?: number;
}

/** What perf asks of a kernel: timers of each CPU, and its tick if it has one. */
export type TimeKeeper = Pick<HostKernel, 'timers' | 'ticks' | 'tickLength' | 'onTick'>;

/** Gives perf the timers of the host kernel: rotation by a timer of its own, the rest on the timer tick. */
export function attachPerf(
  perf: Perf,
  kernel: TimeKeeper,
  { cpus, muxInterval }: PerfKernelOptions,
): void {
  const interval = muxInterval ?? (kernel.ticks ? kernel.tickLength : TICKS_PER_SECOND / 250);
  if (kernel.ticks) perf.rates.tickLength = kernel.tickLength;
  kernel.onTick((cpu) => perf.tick(cpu));
  const arm = (cpu: number, from: bigint) =>
    kernel.timers(cpu).arm(MUX, from + BigInt(Math.floor(interval)));
  for (const cpu of cpus) {
    kernel.timers(cpu).register(MUX, (at) => {
      if (perf.rotate(cpu)) arm(cpu, at);
    });
  }
  perf.onRotationNeeded = (cpu) => {
    const timers = kernel.timers(cpu);
    if (!timers.isArmed(MUX)) arm(cpu, perf.cpu(cpu).host.now());
  };
}
