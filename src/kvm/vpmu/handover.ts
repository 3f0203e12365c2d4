import type { HostCpu } from '../../host/cpu.ts';
import type { Perf } from '../../perf/perf.ts';
import type { KvmObserver } from '../observer.ts';
import { switchingPmu, type VcpuStatistics } from '../statistics.ts';
import type { Vpmu } from './contract.ts';

/** What a handover needs of the vCPU it belongs to. */
export interface HandoverParts {
  readonly vcpu: number;
  readonly vpmu: Vpmu;
  readonly perf: Perf;
  readonly statistics: VcpuStatistics;
  readonly observer: KvmObserver | undefined;
  /** The CPU the vCPU is on. */
  host(): HostCpu;
}

/** When a vPMU is loaded and put: as often as its design's switch point says. */
export class PmuHandover {
  readonly #parts: HandoverParts;
  #loaded = false;

  constructor(parts: HandoverParts) {
    this.#parts = parts;
  }

  /** Before a VM entry, interrupts off. */
  load(): void {
    if (this.#loaded) return;
    const { vcpu, vpmu, statistics, observer } = this.#parts;
    if (this.#isWork) observer?.vpmu?.({ vcpu, step: 'load' });
    switchingPmu(statistics, this.#parts.host(), () => vpmu.load());
    this.#loaded = true;
    if (!this.#isWork) return;
    statistics.loads += 1;
    this.#offer();
  }

  /** After an exit, as far as the design takes the PMU back then. */
  putAfterExit(): void {
    const { vpmu } = this.#parts;
    const { switchPoint } = vpmu.design;
    if (switchPoint === 'sched' || (switchPoint === 'lazy' && !vpmu.hostWantsPmu())) return;
    this.put();
  }

  put(): void {
    if (!this.#loaded) return;
    const { vcpu, vpmu, perf, statistics, observer } = this.#parts;
    this.#loaded = false;
    const host = this.#parts.host();
    perf.reclaim.delete(host.id);
    switchingPmu(statistics, host, () => vpmu.put());
    if (!this.#isWork) return;
    statistics.puts += 1;
    observer?.vpmu?.({ vcpu, step: 'put' });
  }

  save(): boolean {
    return this.#loaded;
  }

  restore(loaded: boolean): void {
    this.#loaded = loaded;
    if (loaded && this.#isWork) this.#offer();
  }

  /** A design that keeps the PMU gives it back as soon as the host programs an event. */
  #offer(): void {
    const { perf, host } = this.#parts;
    perf.reclaim.set(host().id, () => this.put());
  }

  /** Whether loading and putting is work at all. */
  get #isWork(): boolean {
    const { kind, sharesSides } = this.#parts.vpmu.design;
    return kind === 'mediated' || sharesSides;
  }
}
