import type { HostCpu } from './cpu.ts';

/** Vector of the host's local APIC timer, as Linux has it. */
export const LOCAL_TIMER_VECTOR = 0xec;

// biome-ignore format: a table
const MSR = { TSC_DEADLINE: 0x6e0, EOI: 0x80b, LVT_TIMER: 0x832 } as const;
const TSC_DEADLINE_MODE = 0x4_0000n;

/** Called with the tick its timer was set for. */
export type TimerHandler = (at: bigint) => void;

/** The high-resolution timers of one CPU: many deadlines on the one timer of its local APIC. */
export class HostTimers {
  readonly #host: HostCpu;
  readonly #handlers = new Map<string, TimerHandler>();
  #armed = new Map<string, bigint>();
  #programmed: bigint | undefined;

  constructor(host: HostCpu) {
    this.#host = host;
    host.onInterrupt(LOCAL_TIMER_VECTOR, () => this.#interrupt());
  }

  /** Names a timer and what it does. */
  register(name: string, handler: TimerHandler): void {
    this.#handlers.set(name, handler);
  }

  /** Sets a timer, or moves it. */
  arm(name: string, at: bigint): void {
    this.#armed.set(name, at);
    this.#program();
  }

  cancel(name: string): void {
    if (this.#armed.delete(name)) this.#program();
  }

  isArmed(name: string): boolean {
    return this.#armed.has(name);
  }

  save() {
    return { armed: [...this.#armed], programmed: this.#programmed };
  }

  /** The local APIC's timer is the processor's to restore. */
  restore({ armed, programmed }: ReturnType<HostTimers['save']>): void {
    this.#armed = new Map(armed);
    this.#programmed = programmed;
  }

  #interrupt(): void {
    this.#programmed = undefined;
    const now = this.#host.now();
    const due = [...this.#armed]
      .filter(([, at]) => at <= now)
      .sort(([, a], [, b]) => Number(a - b));
    for (const [name, at] of due) {
      this.#armed.delete(name);
      this.#handlers.get(name)?.(at);
    }
    this.#host.wrmsr(MSR.EOI, 0n);
    this.#program();
  }

  #program(): void {
    let earliest: bigint | undefined;
    for (const at of this.#armed.values())
      if (earliest === undefined || at < earliest) earliest = at;
    if (earliest === this.#programmed) return;
    if (this.#programmed === undefined) {
      this.#host.wrmsr(MSR.LVT_TIMER, TSC_DEADLINE_MODE | BigInt(LOCAL_TIMER_VECTOR));
    }
    // A deadline that has passed fires at once; 0 disarms.
    this.#host.wrmsr(MSR.TSC_DEADLINE, earliest ?? 0n);
    this.#programmed = earliest;
  }
}
