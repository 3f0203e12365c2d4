import type { HostCpu } from '../host/cpu.ts';

export interface SavedExitTimes {
  readonly ticks: readonly (readonly [number, number])[];
  readonly reason: number | undefined;
  readonly since: number;
}

/**
 * Root-mode time of one vCPU by the VM exit that led to it, from the exit to the next entry, as `perf kvm stat` tells it.
 * Time in which the thread is not on a CPU, or the CPU is halted, is nobody's.
 */
export class ExitTimes {
  readonly #ticks = new Map<number, number>();
  /** The basic reason of the last exit; none before the first one and in the guest. */
  #reason: number | undefined;
  #since = 0;

  exited(reason: number, host: HostCpu): void {
    this.#reason = reason;
    this.#since = host.account.total();
  }

  entered(host: HostCpu): void {
    this.pause(host);
    this.#reason = undefined;
  }

  /** The thread leaves its CPU. */
  pause(host: HostCpu): void {
    if (this.#reason === undefined) return;
    const spent = host.account.total() - this.#since;
    this.#ticks.set(this.#reason, (this.#ticks.get(this.#reason) ?? 0) + spent);
  }

  /** The thread comes to a CPU. */
  resume(host: HostCpu): void {
    this.#since = host.account.total();
  }

  /** Ticks by basic exit reason. */
  byReason(): ReadonlyMap<number, number> {
    return this.#ticks;
  }

  save(): SavedExitTimes {
    return { ticks: [...this.#ticks], reason: this.#reason, since: this.#since };
  }

  restore({ ticks, reason, since }: SavedExitTimes): void {
    this.#ticks.clear();
    for (const [of, spent] of ticks) this.#ticks.set(of, spent);
    this.#reason = reason;
    this.#since = since;
  }
}
