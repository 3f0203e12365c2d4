import type { HostCpu } from '../../host/cpu.ts';
import { deepest, type PmuShape } from '../../msr/pmu-shape.ts';
import { extraRegisters, MSR } from './registers.ts';

/**
 * PERF_METRICS and the last branch records of a guest that has them to itself: saved and zeroed when the PMU is
 * taken back, written when it is handed over. One RDMSR and one WRMSR each, each time.
 */
export class ExtraState {
  readonly #registers: readonly number[];
  readonly #depth: bigint;
  #values: bigint[] = [];

  /** @param shape the guest's PMU; undefined where the design does not hand these registers over */
  constructor(shape: PmuShape | undefined) {
    this.#registers = shape ? extraRegisters(shape) : [];
    this.#depth = shape?.lbr?.kind === 'architectural' ? BigInt(deepest(shape.lbr.depths)) : 0n;
    this.reset();
  }

  load(host: HostCpu): void {
    for (const [at, address] of this.#registers.entries()) host.wrmsr(address, this.#values[at]!);
  }

  /** LBR_CTL comes first: nothing more is recorded while the rest is read. */
  put(host: HostCpu): void {
    for (let at = this.#registers.length - 1; at >= 0; at--) {
      const address = this.#registers[at]!;
      this.#values[at] = host.rdmsr(address);
      if (address === MSR.LBR_DEPTH) host.wrmsr(address, this.#values[at]!);
      else if (this.#values[at] !== 0n) host.wrmsr(address, 0n);
    }
  }

  reset(): void {
    this.#values = this.#registers.map((address) => (address === MSR.LBR_DEPTH ? this.#depth : 0n));
  }

  save(): readonly bigint[] {
    return [...this.#values];
  }

  restore(saved: readonly bigint[]): void {
    this.#values = [...saved];
  }
}
