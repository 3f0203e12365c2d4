import { MsrBus } from '../../src/msr/bus.ts';
import { Pmu } from '../../src/pmu/pmu.ts';
import { type PmuProfile, SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';
import type { Total } from '../../src/pmu/totals.ts';

/** A PMU on a bus with nothing but numbers for a core: what happens is what the test says happens. */
export class PmuBench {
  readonly bus = new MsrBus();
  readonly pmu: Pmu;
  readonly #totals = new Map<Total, bigint>();
  interrupts = 0;
  changes = 0;
  armed: readonly Total[] = [];

  constructor(profile: PmuProfile = SAPPHIRE_RAPIDS) {
    this.pmu = new Pmu({
      profile,
      totals: { read: (name) => this.#totals.get(name) ?? 0n },
      core: {
        changed: () => {
          this.changes += 1;
        },
        arm: (names) => {
          this.armed = names;
        },
      },
      raisePmi: () => {
        this.interrupts += 1;
      },
    });
    this.pmu.attach(this.bus);
  }

  /** The named totals grow by so much; nobody settles. */
  happen(events: Partial<Record<Total, number | bigint>>): void {
    for (const [name, times] of Object.entries(events)) {
      const total = name as Total;
      this.#totals.set(total, (this.#totals.get(total) ?? 0n) + BigInt(times));
    }
  }

  /** Instructions retire one by one, each at a boundary, as a core with the shortest slices would do it. */
  retire(instructions: number): void {
    for (let i = 0; i < instructions; i++) {
      this.happen({ instructions: 1, unhaltedTicks: 1, cycles: 1 });
      this.pmu.settle();
    }
  }

  enter(cpl: number, halted = false): void {
    this.pmu.settle();
    this.pmu.modeChanged({ cpl, halted });
  }

  /** RDMSR that must not fault. */
  read(address: number): bigint {
    const value = this.bus.rdmsr(address);
    if (typeof value !== 'bigint') throw new Error(`RDMSR ${address.toString(16)}: ${value}`);
    return value;
  }

  /** WRMSR that must not fault. */
  write(address: number, value: bigint): void {
    const outcome = this.bus.wrmsr(address, value);
    if (outcome !== 'done') throw new Error(`WRMSR ${address.toString(16)}: ${outcome}`);
  }
}
