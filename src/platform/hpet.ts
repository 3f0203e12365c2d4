import { bit, bits, isSet } from '../bits/bitfield.ts';
import type { Clock, Timed } from './clock.ts';

export const HPET_ADDRESS = 0xfed0_0000;
/** The main counter counts at 100 MHz. */
const TICKS_PER_COUNT = 30;
const PERIOD_FEMTOSECONDS = 10_000_000n;
const TIMERS = 3;
const MASK64 = bits(63, 0);

/** Vendor 8086H, legacy replacement, 64 bits, three timers, revision 1. IA-PC HPET specification 1.0a, "Register Model". */
const CAPABILITIES = (PERIOD_FEMTOSECONDS << 32n) | 0x8086_a201n;
const STATUS = 0x20;
const CONFIG = { ENABLE: bit(0), LEGACY: bit(1) } as const;
const TIMER = {
  LEVEL: bit(1),
  ENABLE: bit(2),
  PERIODIC: bit(3),
  PERIODIC_CAPABLE: bit(4),
  SIZE_64: bit(5),
  SET_VALUE: bit(6),
  MODE_32: bit(8),
  ROUTE: bits(13, 9),
} as const;
const WRITABLE =
  TIMER.LEVEL | TIMER.ENABLE | TIMER.PERIODIC | TIMER.SET_VALUE | TIMER.MODE_32 | TIMER.ROUTE;
/** Interrupts a timer may use: I/O APIC pins 16 to 23. */
const ROUTES = 0x00ff_0000n;

interface HpetTimer {
  config: bigint;
  comparator: bigint;
  /** Of a periodic timer: counts to add on each match. */
  period: bigint;
  /** Tick of the next match, Infinity when there is none. */
  matchAt: number;
}

export interface SavedHpet {
  config: bigint;
  status: bigint;
  counter: bigint;
  startedAt: number;
  timers: HpetTimer[];
}

export interface HpetPorts extends Clock {
  /** A pin of the I/O APIC. */
  interrupt(pin: number, asserted: boolean): void;
  /** IRQ 0 and 8 in legacy replacement mode. */
  legacyInterrupt(irq: 0 | 8, asserted: boolean): void;
  /** The next deadline may have moved. */
  moved(): void;
}

/** The high-precision event timer: a main counter and three comparators. Timer 0 can be periodic. */
export class Hpet implements Timed {
  readonly #ports: HpetPorts;
  readonly #timers: HpetTimer[];
  #config = 0n;
  #status = 0n;
  /** The main counter when it was last started or stopped. */
  #counter = 0n;
  #startedAt = 0;

  constructor(ports: HpetPorts) {
    this.#ports = ports;
    this.#timers = Array.from({ length: TIMERS }, () => ({
      config: 0n,
      comparator: MASK64,
      period: 0n,
      matchAt: Infinity,
    }));
  }

  read(offset: number, size: number): bigint {
    const value = this.#register(offset & ~7);
    return (value >> BigInt(8 * (offset & 7))) & ((1n << BigInt(8 * size)) - 1n);
  }

  write(offset: number, size: number, value: bigint): void {
    const at = offset & ~7;
    const shift = BigInt(8 * (offset & 7));
    const field = ((1n << BigInt(8 * size)) - 1n) << shift;
    // The status register takes ones to clear: bytes that are not written are no ones.
    const kept = at === STATUS ? 0n : this.#register(at) & ~field;
    this.#writeRegister(at, (kept | ((value << shift) & field)) & MASK64);
    for (const timer of this.#timers) this.#arm(timer);
    this.#ports.moved();
  }

  /** Whether timers 0 and 1 stand in for the PIT and the RTC at their interrupts. */
  get replacesLegacy(): boolean {
    return isSet(this.#config, CONFIG.LEGACY);
  }

  nextDeadline(): number {
    return Math.min(...this.#timers.map(({ matchAt }) => matchAt));
  }

  elapse(): void {
    const now = this.#ports.now();
    for (const [index, timer] of this.#timers.entries()) {
      if (timer.matchAt > now) continue;
      if (isSet(timer.config, TIMER.PERIODIC) && timer.period > 0n) {
        const behind = (this.#count() - timer.comparator) & this.#mask(timer);
        timer.comparator += (behind / timer.period + 1n) * timer.period;
        timer.comparator &= this.#mask(timer);
      }
      this.#fire(index, timer);
      this.#arm(timer);
    }
  }

  save(): SavedHpet {
    return {
      config: this.#config,
      status: this.#status,
      counter: this.#counter,
      startedAt: this.#startedAt,
      timers: this.#timers.map((timer) => ({ ...timer })),
    };
  }

  restore(saved: SavedHpet): void {
    this.#config = saved.config;
    this.#status = saved.status;
    this.#counter = saved.counter;
    this.#startedAt = saved.startedAt;
    for (const [index, timer] of saved.timers.entries()) Object.assign(this.#timers[index]!, timer);
  }

  #running(): boolean {
    return isSet(this.#config, CONFIG.ENABLE);
  }

  #count(): bigint {
    if (!this.#running()) return this.#counter;
    const counts = Math.floor((this.#ports.now() - this.#startedAt) / TICKS_PER_COUNT);
    return (this.#counter + BigInt(counts)) & MASK64;
  }

  #mask({ config }: HpetTimer): bigint {
    return isSet(config, TIMER.MODE_32) ? bits(31, 0) : MASK64;
  }

  #register(at: number): bigint {
    if (at === 0x00) return CAPABILITIES;
    if (at === 0x10) return this.#config;
    if (at === STATUS) return this.#status;
    if (at === 0xf0) return this.#count();
    const timer = this.#timers[(at - 0x100) >> 5];
    if (at < 0x100 || !timer) return 0n;
    if ((at & 0x1f) === 0x00) {
      const periodic = timer === this.#timers[0] ? TIMER.PERIODIC_CAPABLE : 0n;
      return timer.config | TIMER.SIZE_64 | periodic | (ROUTES << 32n);
    }
    return (at & 0x1f) === 0x08 ? timer.comparator : 0n;
  }

  #writeRegister(at: number, value: bigint): void {
    if (at === 0x10) this.#configure(value & (CONFIG.ENABLE | CONFIG.LEGACY));
    else if (at === STATUS) this.#clearStatus(value);
    else if (at === 0xf0 && !this.#running()) this.#counter = value;
    const index = (at - 0x100) >> 5;
    const timer = this.#timers[index];
    if (at < 0x100 || !timer) return;
    if ((at & 0x1f) === 0x00) {
      const periodic = index === 0 ? WRITABLE : WRITABLE & ~TIMER.PERIODIC;
      timer.config = value & periodic;
    } else if ((at & 0x1f) === 0x08) {
      this.#setComparator(timer, value & this.#mask(timer));
    }
  }

  /** A periodic timer's comparator is written only behind the "value set" bit, its period always. */
  #setComparator(timer: HpetTimer, value: bigint): void {
    const periodic = isSet(timer.config, TIMER.PERIODIC);
    if (!periodic || isSet(timer.config, TIMER.SET_VALUE)) timer.comparator = value;
    if (periodic) timer.period = value;
    timer.config &= ~TIMER.SET_VALUE;
  }

  #configure(value: bigint): void {
    const starting = isSet(value, CONFIG.ENABLE);
    if (starting !== this.#running()) {
      this.#counter = this.#count();
      this.#startedAt = this.#ports.now();
    }
    this.#config = value;
  }

  #clearStatus(value: bigint): void {
    for (const [index, timer] of this.#timers.entries()) {
      if (isSet(value & this.#status, bit(index))) this.#setLine(index, timer, false);
    }
    this.#status &= ~value;
  }

  /** When the counter next becomes equal to the comparator. */
  #arm(timer: HpetTimer): void {
    if (!this.#running() || !isSet(timer.config, TIMER.ENABLE)) {
      timer.matchAt = Infinity;
      return;
    }
    const mask = this.#mask(timer);
    const left = (timer.comparator - this.#count()) & mask || mask + 1n;
    const elapsed = Math.floor((this.#ports.now() - this.#startedAt) / TICKS_PER_COUNT);
    timer.matchAt = this.#startedAt + (elapsed + Number(left)) * TICKS_PER_COUNT;
  }

  #fire(index: number, timer: HpetTimer): void {
    if (isSet(timer.config, TIMER.LEVEL)) {
      this.#status |= bit(index);
      this.#setLine(index, timer, true);
    } else {
      this.#setLine(index, timer, false);
      this.#setLine(index, timer, true);
    }
  }

  #setLine(index: number, timer: HpetTimer, asserted: boolean): void {
    if (this.replacesLegacy && index < 2) {
      this.#ports.legacyInterrupt(index === 0 ? 0 : 8, asserted);
    } else {
      this.#ports.interrupt(Number((timer.config & TIMER.ROUTE) >> 9n), asserted);
    }
  }
}
