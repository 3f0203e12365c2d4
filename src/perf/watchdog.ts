import { HARDWARE_EVENTS, perfEventAttr } from './attr.ts';
import type { PerfEvent } from './event.ts';
import type { Perf } from './perf.ts';

const TICKS_PER_SECOND = 3_000_000_000n;

export interface WatchdogOptions {
  readonly cpus: readonly number[];
  /** kernel.watchdog_thresh, seconds without a sign of life; 10 unless told. */
  readonly threshold?: number;
  /** Blind while a guest runs, so that mediated VMs can exist beside it. */
  readonly excludeGuest?: boolean;
}

/** The NMI watchdog: one CPU-pinned event on core cycles per CPU, and so one counter of each, always. */
export class NmiWatchdog {
  readonly #perf: Perf;
  readonly #options: WatchdogOptions;
  #events: PerfEvent[] = [];
  /** NMIs of the watchdog so far. */
  fired = 0;

  constructor(perf: Perf, options: WatchdogOptions) {
    this.#perf = perf;
    this.#options = options;
  }

  get events(): readonly PerfEvent[] {
    return this.#events;
  }

  /** kernel.nmi_watchdog = 1. @throws PerfError EOPNOTSUPP while a mediated VM exists, unless it excludes guests. */
  enable(): void {
    const { cpus, threshold = 10, excludeGuest = false } = this.#options;
    const attr = perfEventAttr({
      config: HARDWARE_EVENTS['cpu-cycles'],
      pinned: true,
      excludeGuest,
      samplePeriod: BigInt(threshold) * TICKS_PER_SECOND,
    });
    const overflow = () => {
      this.fired += 1;
    };
    this.#events = cpus.map((cpu) => this.#perf.create(attr, { cpu }, { overflow }));
  }

  /** kernel.nmi_watchdog = 0. */
  disable(): void {
    for (const event of this.#events) this.#perf.release(event);
    this.#events = [];
  }
}
