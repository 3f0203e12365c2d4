import { bit, bits, extract, isSet, maskOf } from '../bits/bitfield.ts';
import { type ApicMessage, DELIVERY, SHORTHAND } from './message.ts';
import type { MmioDevice } from './ports.ts';

export const IO_APIC_ADDRESS = 0xfec0_0000;
const PINS = 24;

/** A redirection table entry. */
// biome-ignore format: a table
const ENTRY = {
  VECTOR: bits(7, 0),  MODE: bits(10, 8),  LOGICAL: bit(11),  STATUS: bit(12),  POLARITY: bit(13),  REMOTE_IRR: bit(14),
  LEVEL: bit(15),      MASKED: bit(16),    DESTINATION: bits(63, 56),
} as const;
const READ_ONLY = ENTRY.STATUS | ENTRY.REMOTE_IRR;
const WRITABLE = maskOf(...Object.values(ENTRY)) & ~READ_ONLY;

/** Indirect registers. */
const REG = { ID: 0, VERSION: 1, ARBITRATION: 2, REDIRECTION: 0x10 } as const;
/** Offsets in the window. */
const WINDOW = { SELECT: 0x00, DATA: 0x10, EOI: 0x40 } as const;
/** Version 20H (it has an EOI register), last entry 23. */
const VERSION = 0x17_0020;

export interface SavedIoApic {
  select: number;
  id: number;
  entries: bigint[];
  pins: boolean[];
}

/** An I/O APIC of 24 pins. A pin is asserted or not; the polarity bit changes nothing. */
export class IoApic implements MmioDevice {
  readonly #send: (message: ApicMessage) => void;
  readonly #entries: bigint[] = Array.from({ length: PINS }, () => ENTRY.MASKED);
  readonly #pins: boolean[] = Array.from({ length: PINS }, () => false);
  #select = 0;
  #id = 0;

  constructor(send: (message: ApicMessage) => void) {
    this.#send = send;
  }

  /** An edge that comes while its entry is masked is lost. */
  setPin(pin: number, asserted: boolean): void {
    const rising = asserted && !this.#pins[pin];
    this.#pins[pin] = asserted;
    const entry = this.#entries[pin]!;
    if (isSet(entry, ENTRY.LEVEL)) this.#service(pin);
    else if (rising && !isSet(entry, ENTRY.MASKED)) this.#deliver(entry);
  }

  /** A local APIC ended a level-triggered interrupt. */
  endOfInterrupt(vector: number): void {
    for (const [pin, entry] of this.#entries.entries()) {
      if (!isSet(entry, ENTRY.LEVEL) || extract(entry, ENTRY.VECTOR) !== BigInt(vector)) continue;
      this.#entries[pin] = entry & ~ENTRY.REMOTE_IRR;
      this.#service(pin);
    }
  }

  read(offset: number, size: number): bigint {
    const value =
      offset === WINDOW.SELECT ? this.#select : offset === WINDOW.DATA ? this.#readRegister() : 0;
    return BigInt(value >>> 0) & ((1n << BigInt(size * 8)) - 1n);
  }

  write(offset: number, _size: number, value: bigint): void {
    if (offset === WINDOW.SELECT) this.#select = Number(value & 0xffn);
    else if (offset === WINDOW.DATA) this.#writeRegister(value & 0xffff_ffffn);
    else if (offset === WINDOW.EOI) this.endOfInterrupt(Number(value & 0xffn));
  }

  reset(): void {
    this.#entries.fill(ENTRY.MASKED);
    this.#select = 0;
    this.#id = 0;
  }

  save(): SavedIoApic {
    const { entries, pins } = { entries: [...this.#entries], pins: [...this.#pins] };
    return { select: this.#select, id: this.#id, entries, pins };
  }

  restore(saved: SavedIoApic): void {
    this.#select = saved.select;
    this.#id = saved.id;
    this.#entries.splice(0, PINS, ...saved.entries);
    this.#pins.splice(0, PINS, ...saved.pins);
  }

  /** The pin of the redirection register that is selected, if one is. */
  #selectedPin(): number | undefined {
    const pin = (this.#select - REG.REDIRECTION) >> 1;
    return this.#select >= REG.REDIRECTION && pin < PINS ? pin : undefined;
  }

  #readRegister(): number {
    const pin = this.#selectedPin();
    if (pin !== undefined) {
      const entry = this.#entries[pin]!;
      return Number((this.#select & 1 ? entry >> 32n : entry) & 0xffff_ffffn);
    }
    if (this.#select === REG.VERSION) return VERSION;
    return this.#select === REG.ID || this.#select === REG.ARBITRATION ? this.#id << 24 : 0;
  }

  #writeRegister(value: bigint): void {
    const pin = this.#selectedPin();
    if (pin === undefined) {
      if (this.#select === REG.ID) this.#id = Number((value >> 24n) & 0xfn);
      return;
    }
    const old = this.#entries[pin]!;
    const written =
      this.#select & 1 ? (old & 0xffff_ffffn) | (value << 32n) : (old & ~0xffff_ffffn) | value;
    let entry = (written & WRITABLE) | (old & READ_ONLY);
    if (!isSet(entry, ENTRY.LEVEL)) entry &= ~ENTRY.REMOTE_IRR;
    this.#entries[pin] = entry;
    this.#service(pin);
  }

  /** A level-triggered pin interrupts while it is asserted and no interrupt of it waits for EOI. */
  #service(pin: number): void {
    const entry = this.#entries[pin]!;
    const quiet = ENTRY.MASKED | ENTRY.REMOTE_IRR;
    if (!this.#pins[pin] || !isSet(entry, ENTRY.LEVEL) || isSet(entry, quiet)) return;
    this.#entries[pin] = entry | ENTRY.REMOTE_IRR;
    this.#deliver(entry);
  }

  #deliver(entry: bigint): void {
    const mode = Number(extract(entry, ENTRY.MODE));
    const edgeOnly = mode === DELIVERY.NMI || mode === DELIVERY.INIT || mode === DELIVERY.SMI;
    this.#send({
      mode,
      vector: Number(extract(entry, ENTRY.VECTOR)),
      level: isSet(entry, ENTRY.LEVEL) && !edgeOnly,
      assert: true,
      logical: isSet(entry, ENTRY.LOGICAL),
      shorthand: SHORTHAND.NONE,
      destination: Number(extract(entry, ENTRY.DESTINATION)),
      broadcast: 0xff,
    });
  }
}
