import { type Clock, Frequency, TICKS_PER_SECOND, type Timed } from './clock.ts';
import type { BytePortDevice } from './port-bus.ts';

export interface RtcOptions {
  /** The date at power-up, seconds since 1970. Fixed unless told, so that runs repeat. */
  readonly epoch?: number;
  readonly ramSize: number;
}

export interface SavedRtc {
  index: number;
  cmos: number[];
  offset: number;
  lastSecond: number;
  lastPeriod: number;
  held: Record<number, number> | undefined;
}

/** 1 January 2026, 00:00:00 UTC. */
const DEFAULT_EPOCH = 1_767_225_600;

const REG = {
  SECONDS: 0,
  MINUTES: 2,
  HOURS: 4,
  WEEKDAY: 6,
  DAY: 7,
  MONTH: 8,
  YEAR: 9,
  A: 10,
  B: 11,
  C: 12,
  D: 13,
  CENTURY: 0x32,
} as const;
const ALARM = [1, 3, 5] as const;
const B = {
  SET: 0x80,
  PERIODIC: 0x40,
  ALARM: 0x20,
  UPDATE: 0x10,
  BINARY: 0x04,
  HOURS_24: 0x02,
} as const;
const C = { IRQ: 0x80, PERIODIC: 0x40, ALARM: 0x20, UPDATE: 0x10 } as const;
const UPDATE_IN_PROGRESS = 0x80;
/** An update is announced 244 µs ahead. */
const UPDATE_TICKS = 732_000;
/** The divider runs: 32,768 Hz in bits 6:4 of register A. */
const DIVIDER = 0x20;
const CRYSTAL = new Frequency(32_768);
const READ_ONLY = [REG.C, REG.D];

/** The MC146818 clock and its CMOS memory, by the machine's clock. */
export class Rtc implements BytePortDevice, Timed {
  readonly #clock: Clock;
  readonly #interrupt: (asserted: boolean) => void;
  readonly #epoch: number;
  readonly #cmos = new Uint8Array(128);
  #index = 0;
  /** Seconds that software moved the clock by. */
  #offset = 0;
  /** Second and period whose events have been reported. */
  #lastSecond = 0;
  #lastPeriod = 0;
  /** The clock's registers while software sets them (SET in register B): no update goes on, and any value may stand there. */
  #held: Record<number, number> | undefined;

  constructor(options: RtcOptions, clock: Clock, interrupt: (asserted: boolean) => void) {
    this.#clock = clock;
    this.#interrupt = interrupt;
    this.#epoch = options.epoch ?? DEFAULT_EPOCH;
    this.#cmos[REG.A] = DIVIDER | 6;
    this.#cmos[REG.B] = B.HOURS_24;
    this.#cmos[REG.D] = 0x80;
    this.#recordMemory(options.ramSize);
  }

  read(offset: number): number {
    return offset === 0 ? 0xff : this.#readCmos(this.#index);
  }

  write(offset: number, value: number): void {
    if (offset === 0) this.#index = value & 0x7f;
    else this.#writeCmos(this.#index, value);
  }

  nextDeadline(): number {
    const { UPDATE, ALARM: alarm, PERIODIC, SET } = B;
    const enabled = this.#cmos[REG.B]!;
    let next = Infinity;
    if ((enabled & (UPDATE | alarm)) !== 0 && (enabled & SET) === 0) {
      next = (this.#lastSecond + 1) * TICKS_PER_SECOND;
    }
    const period = this.#period();
    if ((enabled & PERIODIC) !== 0 && period > 0) {
      next = Math.min(next, CRYSTAL.ticks((this.#lastPeriod + 1) * period));
    }
    return next;
  }

  elapse(): void {
    const now = this.#clock.now();
    const second = Math.floor(now / TICKS_PER_SECOND);
    let flags = 0;
    if (second > this.#lastSecond && (this.#cmos[REG.B]! & B.SET) === 0) {
      for (let at = this.#lastSecond + 1; at <= second; at++) {
        flags |= C.UPDATE | (this.#alarmAt(at) ? C.ALARM : 0);
      }
    }
    this.#lastSecond = second;
    const periods = this.#periodsPassed();
    if (periods > this.#lastPeriod) flags |= C.PERIODIC;
    this.#lastPeriod = periods;
    if (flags !== 0) this.#raise(flags);
  }

  save(): SavedRtc {
    return {
      index: this.#index,
      cmos: [...this.#cmos],
      offset: this.#offset,
      lastSecond: this.#lastSecond,
      lastPeriod: this.#lastPeriod,
      held: this.#held && { ...this.#held },
    };
  }

  restore(saved: SavedRtc): void {
    this.#index = saved.index;
    this.#cmos.set(saved.cmos);
    this.#offset = saved.offset;
    this.#lastSecond = saved.lastSecond;
    this.#lastPeriod = saved.lastPeriod;
    this.#held = saved.held && { ...saved.held };
  }

  /** What a PC's firmware leaves in CMOS: base memory, memory above 1 MiB in KiB and above 16 MiB in 64 KiB. */
  #recordMemory(ramSize: number): void {
    const put = (index: number, value: number) => {
      this.#cmos[index] = value & 0xff;
      this.#cmos[index + 1] = value >> 8;
    };
    const above1M = Math.min(0xffff, Math.max(0, (ramSize - 0x10_0000) >> 10));
    put(0x15, 640);
    put(0x17, above1M);
    put(0x30, above1M);
    put(0x34, Math.min(0xffff, Math.max(0, Math.floor((ramSize - 0x100_0000) / 0x1_0000))));
  }

  #date(at = Math.floor(this.#clock.now() / TICKS_PER_SECOND)): Date {
    return new Date((this.#epoch + this.#offset + at) * 1000);
  }

  #readCmos(index: number): number {
    if (index === REG.A) return this.#cmos[index]! | this.#updating();
    if (index === REG.C) {
      this.elapse();
      const flags = this.#cmos[REG.C]!;
      this.#cmos[REG.C] = 0;
      this.#interrupt(false);
      return flags;
    }
    const field = this.#registers()[index];
    return field === undefined ? this.#cmos[index]! : this.#encode(index, field);
  }

  #writeCmos(index: number, value: number): void {
    if (READ_ONLY.includes(index as 12 | 13)) return;
    const fields = this.#registers();
    if (fields[index] === undefined) {
      if (index === REG.A || index === REG.B) this.elapse();
      this.#cmos[index] = index === REG.A ? value & 0x7f : value;
      if (index === REG.A) this.#lastPeriod = this.#periodsPassed();
      if (index === REG.B) this.#hold((value & B.SET) !== 0);
      return;
    }
    fields[index] = this.#decode(index, value);
    if (this.#held === undefined) this.#set(fields);
  }

  #registers(): Record<number, number> {
    return this.#held ?? this.#fields(this.#date());
  }

  /** SET goes on or off. */
  #hold(on: boolean): void {
    if (on) {
      this.#held ??= this.#fields(this.#date());
    } else if (this.#held) {
      this.#set(this.#held);
      this.#held = undefined;
    }
  }

  /** Lets the clock go on from there. */
  #set(fields: Record<number, number>): void {
    const year = fields[REG.CENTURY]! * 100 + fields[REG.YEAR]!;
    const to = Date.UTC(
      year,
      fields[REG.MONTH]! - 1,
      fields[REG.DAY]!,
      fields[REG.HOURS]!,
      fields[REG.MINUTES]!,
      fields[REG.SECONDS]!,
    );
    this.#offset += Math.round((to - this.#date().getTime()) / 1000);
  }

  /** The clock's registers by index, in plain numbers. */
  #fields(date: Date): Record<number, number> {
    return {
      [REG.SECONDS]: date.getUTCSeconds(),
      [REG.MINUTES]: date.getUTCMinutes(),
      [REG.HOURS]: date.getUTCHours(),
      [REG.WEEKDAY]: date.getUTCDay() + 1,
      [REG.DAY]: date.getUTCDate(),
      [REG.MONTH]: date.getUTCMonth() + 1,
      [REG.YEAR]: date.getUTCFullYear() % 100,
      [REG.CENTURY]: Math.floor(date.getUTCFullYear() / 100),
    };
  }

  #encode(index: number, value: number): number {
    const mode = this.#cmos[REG.B]!;
    let afternoon = 0;
    if (index === REG.HOURS && (mode & B.HOURS_24) === 0) {
      afternoon = value >= 12 ? 0x80 : 0;
      value = value % 12 === 0 ? 12 : value % 12;
    }
    const digits = (mode & B.BINARY) !== 0 ? value : (Math.floor(value / 10) << 4) | (value % 10);
    return digits | afternoon;
  }

  #decode(index: number, value: number): number {
    const mode = this.#cmos[REG.B]!;
    const twelve = index === REG.HOURS && (mode & B.HOURS_24) === 0;
    const digits = twelve ? value & 0x7f : value;
    const number = (mode & B.BINARY) !== 0 ? digits : (digits >> 4) * 10 + (digits & 0xf);
    return twelve ? (number % 12) + ((value & 0x80) !== 0 ? 12 : 0) : number;
  }

  #updating(): number {
    if ((this.#cmos[REG.B]! & B.SET) !== 0) return 0;
    const left = TICKS_PER_SECOND - (this.#clock.now() % TICKS_PER_SECOND);
    return left <= UPDATE_TICKS ? UPDATE_IN_PROGRESS : 0;
  }

  /** An alarm register of C0H to FFH matches everything. */
  #alarmAt(second: number): boolean {
    const fields = this.#fields(this.#date(second));
    return ALARM.every((index) => {
      const wanted = this.#cmos[index]!;
      return wanted >= 0xc0 || wanted === this.#encode(index - 1, fields[index - 1]!);
    });
  }

  /** Crystal cycles between periodic interrupts, 0 when their rate is none. */
  #period(): number {
    const rate = this.#cmos[REG.A]! & 0xf;
    return rate === 0 ? 0 : 1 << ((rate < 3 ? rate + 7 : rate) - 1);
  }

  #periodsPassed(): number {
    const period = this.#period();
    return period > 0 ? Math.floor(CRYSTAL.cycles(this.#clock.now()) / period) : 0;
  }

  #raise(flags: number): void {
    const pending = this.#cmos[REG.C]! | flags;
    const asks = (pending & this.#cmos[REG.B]! & (C.PERIODIC | C.ALARM | C.UPDATE)) !== 0;
    this.#cmos[REG.C] = pending | (asks ? C.IRQ : 0);
    if (asks) this.#interrupt(true);
  }
}
