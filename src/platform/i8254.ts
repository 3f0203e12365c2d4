import { type Clock, Frequency, type Timed } from './clock.ts';
import type { BytePortDevice } from './port-bus.ts';

/** The counters' clock: a third of the colour subcarrier of NTSC. */
const PIT = new Frequency(1_193_182);

export interface SavedPitChannel {
  mode: number;
  access: number;
  bcd: boolean;
  reload: number;
  written: number;
  loaded: boolean;
  startedAt: number;
  gate: boolean;
  pausedAt: number;
  writeLow: number;
  secondByte: boolean;
  readSecond: boolean;
  latched: number;
  status: number;
  firedAt: number;
}

/** How the bytes of a count are written and read. */
const ACCESS = { LATCH: 0, LOW: 1, HIGH: 2, BOTH: 3 } as const;

/** Modes that count again and again. */
const PERIODIC: readonly number[] = [2, 3];

/** One counter of an i8254. It counts nothing: value and output follow from the tick at which it was loaded. */
class Channel {
  readonly #clock: Clock;
  #mode = 3;
  #access: number = ACCESS.BOTH;
  #bcd = false;
  #reload = 0x1_0000;
  /** The count that was written; `#reload` once counting starts from it. */
  #written = 0x1_0000;
  /** Whether a count was written since the mode was set. */
  #loaded = false;
  /** Tick of the load, -1 while no count was loaded since the mode was set. */
  #startedAt = -1;
  #gate: boolean;
  /** Cycles counted when the gate fell, -1 while counting. */
  #pausedAt = -1;
  #writeLow = 0;
  #secondByte = false;
  #readSecond = false;
  /** Latched count, status: -1 for none. */
  #latched = -1;
  #status = -1;
  /** The last cycle at which a rising output was reported. */
  #firedAt = -1;

  constructor(clock: Clock, gate: boolean) {
    this.#clock = clock;
    this.#gate = gate;
  }

  set gate(on: boolean) {
    if (on === this.#gate) return;
    this.#gate = on;
    if (this.#startedAt < 0 && !(this.#triggered && this.#loaded)) return;
    if (on && (this.#triggered || PERIODIC.includes(this.#mode))) this.#start();
    else if (on && this.#pausedAt >= 0) this.#resume();
    else if (!on && !this.#triggered) this.#pausedAt = this.#cycles();
  }

  /** Modes in which the gate's rising edge loads the count and starts it. */
  get #triggered(): boolean {
    return this.#mode === 1 || this.#mode === 5;
  }

  get gate(): boolean {
    return this.#gate;
  }

  /** The OUT pin. */
  get output(): boolean {
    if (this.#startedAt < 0) return this.#mode !== 0;
    const cycles = this.#cycles();
    switch (this.#mode) {
      case 0:
      case 1:
        return cycles >= this.#reload;
      case 2:
        return !this.#gate || cycles % this.#reload !== this.#reload - 1;
      case 3:
        return !this.#gate || cycles % this.#reload < Math.ceil(this.#reload / 2);
      default:
        return cycles !== this.#reload;
    }
  }

  /** The tick at which OUT next rises, Infinity if it never will. */
  nextRise(): number {
    if (this.#startedAt < 0 || this.#pausedAt >= 0) return Infinity;
    const periodic = PERIODIC.includes(this.#mode);
    const first = this.#mode >= 4 ? this.#reload + 1 : this.#reload;
    const after = this.#firedAt;
    if (!periodic) return after >= first ? Infinity : this.#tickOf(first);
    return this.#tickOf((Math.floor(Math.max(after, 0) / first) + 1) * first);
  }

  /** Whether OUT has risen since it was last asked. */
  takeRise(): boolean {
    if (this.nextRise() > this.#clock.now()) return false;
    const cycles = this.#cycles();
    const periodic = PERIODIC.includes(this.#mode);
    this.#firedAt = periodic ? Math.floor(cycles / this.#reload) * this.#reload : cycles;
    return true;
  }

  control(value: number): void {
    const access = (value >> 4) & 3;
    if (access === ACCESS.LATCH) {
      if (this.#latched < 0) this.#latched = this.#value();
      return;
    }
    const mode = (value >> 1) & 7;
    this.#access = access;
    this.#mode = mode > 5 ? mode - 4 : mode;
    this.#bcd = (value & 1) !== 0;
    this.#secondByte = false;
    this.#readSecond = false;
    this.#latched = -1;
    this.#startedAt = -1;
    this.#pausedAt = -1;
    this.#loaded = false;
  }

  /** Read-back command: latches count, status or both. */
  readBack(count: boolean, status: boolean): void {
    if (count && this.#latched < 0) this.#latched = this.#value();
    if (status && this.#status < 0) {
      const waits = this.#startedAt < 0 || this.#written !== this.#reload;
      const [out, nothing] = [this.output ? 0x80 : 0, waits ? 0x40 : 0];
      this.#status = out | nothing | (this.#access << 4) | (this.#mode << 1) | (this.#bcd ? 1 : 0);
    }
  }

  read(): number {
    if (this.#status >= 0) {
      const status = this.#status;
      this.#status = -1;
      return status;
    }
    const value = this.#latched >= 0 ? this.#latched : this.#value();
    const high = this.#access === ACCESS.HIGH || (this.#access === ACCESS.BOTH && this.#readSecond);
    if (this.#access === ACCESS.BOTH) this.#readSecond = !this.#readSecond;
    if (this.#access !== ACCESS.BOTH || high) this.#latched = -1;
    return high ? value >> 8 : value & 0xff;
  }

  write(value: number): void {
    if (this.#access === ACCESS.LOW) this.#load(value);
    else if (this.#access === ACCESS.HIGH) this.#load(value << 8);
    else if (!this.#secondByte) {
      this.#writeLow = value;
      this.#secondByte = true;
      if (this.#mode === 0) this.#startedAt = -1;
    } else {
      this.#secondByte = false;
      this.#load(this.#writeLow | (value << 8));
    }
  }

  save(): SavedPitChannel {
    return {
      mode: this.#mode,
      access: this.#access,
      bcd: this.#bcd,
      reload: this.#reload,
      written: this.#written,
      loaded: this.#loaded,
      startedAt: this.#startedAt,
      gate: this.#gate,
      pausedAt: this.#pausedAt,
      writeLow: this.#writeLow,
      secondByte: this.#secondByte,
      readSecond: this.#readSecond,
      latched: this.#latched,
      status: this.#status,
      firedAt: this.#firedAt,
    };
  }

  restore(saved: SavedPitChannel): void {
    this.#mode = saved.mode;
    this.#access = saved.access;
    this.#bcd = saved.bcd;
    this.#reload = saved.reload;
    this.#written = saved.written;
    this.#loaded = saved.loaded;
    this.#startedAt = saved.startedAt;
    this.#gate = saved.gate;
    this.#pausedAt = saved.pausedAt;
    this.#writeLow = saved.writeLow;
    this.#secondByte = saved.secondByte;
    this.#readSecond = saved.readSecond;
    this.#latched = saved.latched;
    this.#status = saved.status;
    this.#firedAt = saved.firedAt;
  }

  #load(count: number): void {
    const value = this.#bcd ? fromBcd(count) : count;
    this.#written = value === 0 ? (this.#bcd ? 10_000 : 0x1_0000) : value;
    this.#loaded = true;
    if (this.#triggered) return;
    this.#start();
    if (!this.#gate) this.#pausedAt = 0;
  }

  #start(): void {
    this.#reload = this.#written;
    this.#startedAt = this.#clock.now();
    this.#pausedAt = -1;
    this.#firedAt = -1;
  }

  #resume(): void {
    this.#startedAt = this.#clock.now() - PIT.ticks(this.#pausedAt);
    this.#pausedAt = -1;
  }

  #tickOf(cycle: number): number {
    return this.#startedAt + PIT.ticks(cycle);
  }

  /** Cycles since the load. */
  #cycles(): number {
    if (this.#pausedAt >= 0) return this.#pausedAt;
    return PIT.cycles(this.#clock.now() - this.#startedAt);
  }

  /** The count as it reads. Mode 3 counts by two. */
  #value(): number {
    if (this.#startedAt < 0) return 0;
    const cycles = this.#cycles();
    const modulus = this.#bcd ? 10_000 : 0x1_0000;
    let value: number;
    if (this.#mode === 2) value = this.#reload - (cycles % this.#reload);
    else if (this.#mode === 3) value = this.#reload - ((cycles * 2) % this.#reload);
    else value = (((this.#reload - cycles) % modulus) + modulus) % modulus;
    value %= modulus;
    return this.#bcd ? toBcd(value) : value;
  }
}

/** The PC's i8254 and port 61H. Counter 0 is IRQ 0, counter 1 refreshes memory, counter 2 is gated by port 61H. */
export class Pit implements BytePortDevice, Timed {
  readonly #channels: readonly [Channel, Channel, Channel];
  readonly #clock: Clock;
  readonly #interrupt: (asserted: boolean) => void;
  #speaker = false;

  constructor(clock: Clock, interrupt: (asserted: boolean) => void) {
    this.#clock = clock;
    this.#interrupt = interrupt;
    this.#channels = [
      new Channel(clock, true),
      new Channel(clock, true),
      new Channel(clock, false),
    ];
  }

  read(offset: number): number {
    return offset === 3 ? 0xff : this.#channels[offset]!.read();
  }

  write(offset: number, value: number): void {
    if (offset < 3) {
      this.#channels[offset]!.write(value);
    } else if (value >> 6 === 3) {
      const [count, status] = [(value & 0x20) === 0, (value & 0x10) === 0];
      for (const [index, channel] of this.#channels.entries()) {
        if ((value & (2 << index)) !== 0) channel.readBack(count, status);
      }
    } else {
      this.#channels[value >> 6]!.control(value);
    }
  }

  nextDeadline(): number {
    return this.#channels[0].nextRise();
  }

  elapse(): void {
    if (!this.#channels[0].takeRise()) return;
    this.#interrupt(false);
    this.#interrupt(true);
  }

  /** Port 61H: gate and speaker enable in bits 1:0, refresh toggle in bit 4, counter 2's output in bit 5. */
  readonly port61: BytePortDevice = {
    read: () => {
      const [, , speaker] = this.#channels;
      // The refresh request toggles every 15 µs.
      const refresh = Math.floor(this.#clock.now() / 45_000) & 1;
      return (
        (speaker.gate ? 1 : 0) |
        (this.#speaker ? 2 : 0) |
        (refresh << 4) |
        (speaker.output ? 0x20 : 0)
      );
    },
    write: (_offset, value) => {
      this.#channels[2].gate = (value & 1) !== 0;
      this.#speaker = (value & 2) !== 0;
    },
  };

  save(): { channels: SavedPitChannel[]; speaker: boolean } {
    return { channels: this.#channels.map((channel) => channel.save()), speaker: this.#speaker };
  }

  restore(saved: { channels: SavedPitChannel[]; speaker: boolean }): void {
    for (const [index, channel] of this.#channels.entries())
      channel.restore(saved.channels[index]!);
    this.#speaker = saved.speaker;
  }
}

const fromBcd = (value: number): number =>
  [12, 8, 4, 0].reduce((sum, shift) => sum * 10 + ((value >> shift) & 0xf), 0);

const toBcd = (value: number): number =>
  [1000, 100, 10, 1].reduce((bcd, unit) => (bcd << 4) | (Math.floor(value / unit) % 10), 0);
