import type { HostCpu } from '../host/cpu.ts';

// biome-ignore format: a table
export const LBR = { SELECT: 0x1c8, TOS: 0x1c9, FROM0: 0x680, TO0: 0x6c0, INFO0: 0xdc0 } as const;
const BANKS = [LBR.FROM0, LBR.TO0, LBR.INFO0] as const;

/** LBR_SELECT of a call stack in user mode, the stack that a guest's claim asks for. */
export const USER_CALL_STACK = 0x3c5n;

/** A legacy LBR stack as data: newest entry first, as far as there are any. */
export interface SavedLbrStack {
  readonly select: bigint;
  readonly tos: number;
  readonly entries: readonly (readonly [from: bigint, to: bigint, info: bigint])[];
}

/** The addresses of all registers of a legacy LBR stack. */
export const lbrRegisters = (depth: number): readonly number[] => [
  LBR.SELECT,
  LBR.TOS,
  ...BANKS.flatMap((bank) => Array.from({ length: depth }, (_, at) => bank + at)),
];

/** The legacy LBR stack of one CPU, moved with the threads it belongs to (intel_pmu_lbr_sched_task). */
export class LbrStack {
  readonly #host: HostCpu;
  readonly #depth: number;

  constructor(host: HostCpu, depth: number) {
    this.#host = host;
    this.#depth = depth;
  }

  /** __intel_pmu_lbr_save: as far as the first entry that was never written. */
  save(): SavedLbrStack {
    const tos = Number(this.#host.rdmsr(LBR.TOS));
    const entries: (readonly [bigint, bigint, bigint])[] = [];
    while (entries.length < this.#depth) {
      const at = this.#place(tos, entries.length);
      const from = this.#host.rdmsr(LBR.FROM0 + at);
      if (from === 0n) break;
      entries.push([from, this.#host.rdmsr(LBR.TO0 + at), this.#host.rdmsr(LBR.INFO0 + at)]);
    }
    return { select: this.#host.rdmsr(LBR.SELECT), tos, entries };
  }

  /** __intel_pmu_lbr_restore. */
  restore({ select, tos, entries }: SavedLbrStack): void {
    for (let age = 0; age < this.#depth; age++) {
      const at = this.#place(tos, age);
      const entry = entries[age];
      const parts = entry ?? [0n];
      for (const [part, value] of parts.entries()) this.#host.wrmsr(BANKS[part]! + at, value);
    }
    this.#host.wrmsr(LBR.TOS, BigInt(tos));
    this.#host.wrmsr(LBR.SELECT, select);
  }

  /** intel_pmu_lbr_reset: nothing of anybody else's is left in it. */
  reset(): void {
    for (let at = 0; at < this.#depth; at++) {
      for (const bank of BANKS) this.#host.wrmsr(bank + at, 0n);
    }
    this.#host.wrmsr(LBR.SELECT, 0n);
  }

  #place(tos: number, age: number): number {
    return (tos - age + this.#depth) % this.#depth;
  }
}
