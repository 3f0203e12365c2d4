import { MsrBus } from '../../src/msr/bus.ts';
import { Pmu } from '../../src/pmu/pmu.ts';
import type { SampledState } from '../../src/pmu/ports.ts';
import { type PmuProfile, SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';
import { type Deviations, IDEAL } from '../../src/pmu/silicon.ts';
import type { Total } from '../../src/pmu/totals.ts';

const NOWHERE: SampledState = {
  gpr: Array.from({ length: 16 }, () => 0n),
  rflags: 2n,
  rip: 0n,
  eventingIp: 0n,
  code64: true,
  xmm: Array.from({ length: 16 }, () => 0n),
  tsc: 0n,
  dataAddress: 0n,
};

/** A core no two of whose registers are the same, so that a record tells where each has gone. */
export const SOMEWHERE: SampledState = {
  gpr: Array.from({ length: 16 }, (_, i) => 0x100n + BigInt(i)),
  rflags: 0x246n,
  rip: 0x4005n,
  eventingIp: 0x4002n,
  code64: true,
  xmm: Array.from({ length: 16 }, (_, i) => (BigInt(i) << 64n) | 0xabcn),
  tsc: 77n,
  dataAddress: 0x5000n,
};

/** A PMU on a bus with nothing but numbers for a core: what happens is what the test says happens. */
export class PmuBench {
  readonly bus = new MsrBus();
  readonly pmu: Pmu;
  readonly #totals = new Map<Total, bigint>();
  interrupts = 0;
  /** Hears of each. */
  onPmi: (() => void) | undefined;
  changes = 0;
  armed: readonly Total[] = [];
  tracing = false;
  sampling = false;
  /** What PEBS sees of the core, and the linear memory it sees. */
  state: SampledState = NOWHERE;
  readonly memory = new Map<bigint, number>();
  readonly physical = new Map<bigint, number>();

  constructor(profile: PmuProfile = SAPPHIRE_RAPIDS, deviations: Deviations = IDEAL) {
    this.pmu = new Pmu({
      profile,
      deviations,
      timing: 'modelled',
      totals: { read: (name) => this.#totals.get(name) ?? 0n },
      core: {
        changed: () => {
          this.changes += 1;
        },
        arm: (names) => {
          this.armed = names;
        },
        traceBranches: (on) => {
          this.tracing = on;
        },
        sampling: {
          arm: (on) => {
            this.sampling = on;
          },
          state: () => this.state,
          read: (linear) => this.quadword(linear),
          write: (linear, bytes) => {
            bytes.forEach((byte, i) => {
              this.memory.set(linear + BigInt(i), byte);
            });
            return true;
          },
          writePhysical: (address, bytes) => {
            bytes.forEach((byte, i) => {
              this.physical.set(address + BigInt(i), byte);
            });
            return true;
          },
        },
      },
      raisePmi: () => {
        this.interrupts += 1;
        this.onPmi?.();
      },
    });
    this.pmu.attach(this.bus);
  }

  /** The named totals grow by so much; nobody settles. */
  happen(events: Partial<Record<Total, number | bigint>>): void {
    for (const name in events) {
      const total = name as Total;
      const times = events[total]!;
      if (times) this.#totals.set(total, (this.#totals.get(total) ?? 0n) + BigInt(times));
    }
  }

  /** Instructions retire one by one, each at a boundary, as a core with the shortest slices would do it. */
  retire(instructions: number): void {
    for (let i = 0; i < instructions; i++) {
      this.happen({ instructions: 1, ticks: 1, unhaltedTicks: 1, cycles: 1, slots: 1 });
      this.pmu.settle();
    }
  }

  /** Eight bytes of linear memory, 0 where nothing was written. */
  quadword(linear: bigint, memory = this.memory): bigint {
    let value = 0n;
    for (let i = 7n; i >= 0n; i--) value = (value << 8n) | BigInt(memory.get(linear + i) ?? 0);
    return value;
  }

  store(linear: bigint, ...values: readonly bigint[]): void {
    values.forEach((value, at) => {
      for (let i = 0n; i < 8n; i++) {
        this.memory.set(linear + BigInt(8 * at) + i, Number((value >> (8n * i)) & 0xffn));
      }
    });
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
