import type { BytePortDevice } from './port-bus.ts';

export interface SerialPorts {
  /** A byte leaves the transmitter. */
  transmit(byte: number): void;
  /** The level of the interrupt line. */
  interrupt(asserted: boolean): void;
}

export interface SavedSerial {
  ier: number;
  lcr: number;
  mcr: number;
  scr: number;
  divisor: number;
  fifo: boolean;
  trigger: number;
  transmitEmpty: boolean;
  modemDelta: number;
  received: number[];
}

/** Offsets of the eight registers. */
const REG = { DATA: 0, IER: 1, IIR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;
const IER = { RECEIVED: 1, TRANSMIT_EMPTY: 2, LINE: 4, MODEM: 8 } as const;
const IIR = {
  MODEM: 0x0,
  NONE: 0x1,
  TRANSMIT_EMPTY: 0x2,
  RECEIVED: 0x4,
  TIMEOUT: 0xc,
  FIFO: 0xc0,
} as const;
const LSR = { READY: 0x01, TRANSMIT_EMPTY: 0x20, IDLE: 0x40 } as const;
const MCR = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOPBACK: 16 } as const;
const DLAB = 0x80;
const TRIGGERS = [1, 4, 8, 14] as const;
/** CTS, DSR and DCD asserted: somebody listens. */
const LINE_UP = 0xb0;

/** A 16550A UART whose transmitter is always empty and whose receiver never overruns. */
export class Serial implements BytePortDevice {
  readonly #ports: SerialPorts;
  #ier = 0;
  #lcr = 0;
  #mcr = 0;
  #scr = 0;
  #divisor = 12;
  #fifo = false;
  #trigger = 1;
  /** The transmitter-empty interrupt waits to be seen. */
  #transmitEmpty = false;
  #modemDelta = 0;
  readonly #received: number[] = [];

  constructor(ports: SerialPorts) {
    this.#ports = ports;
  }

  /** Bytes from outside; those beyond the FIFO wait in the line. */
  receive(bytes: Iterable<number>): void {
    if ((this.#mcr & MCR.LOOPBACK) !== 0) return;
    for (const byte of bytes) this.#received.push(byte);
    this.#update();
  }

  read(offset: number): number {
    switch (offset) {
      case REG.DATA:
        return this.#dlab() ? this.#divisor & 0xff : this.#take();
      case REG.IER:
        return this.#dlab() ? this.#divisor >> 8 : this.#ier;
      case REG.IIR:
        return this.#identify();
      case REG.LCR:
        return this.#lcr;
      case REG.MCR:
        return this.#mcr;
      case REG.LSR:
        return LSR.TRANSMIT_EMPTY | LSR.IDLE | (this.#received.length > 0 ? LSR.READY : 0);
      case REG.MSR:
        return this.#modemStatus();
      default:
        return this.#scr;
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case REG.DATA:
        if (this.#dlab()) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case REG.IER:
        if (this.#dlab()) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else this.#writeIer(value & 0xf);
        break;
      case REG.IIR:
        this.#writeFifoControl(value);
        break;
      case REG.LCR:
        this.#lcr = value;
        break;
      case REG.MCR:
        this.#writeMcr(value & 0x1f);
        break;
      case REG.SCR:
        this.#scr = value;
        break;
    }
    this.#update();
  }

  save(): SavedSerial {
    return {
      ier: this.#ier,
      lcr: this.#lcr,
      mcr: this.#mcr,
      scr: this.#scr,
      divisor: this.#divisor,
      fifo: this.#fifo,
      trigger: this.#trigger,
      transmitEmpty: this.#transmitEmpty,
      modemDelta: this.#modemDelta,
      received: [...this.#received],
    };
  }

  restore(saved: SavedSerial): void {
    this.#ier = saved.ier;
    this.#lcr = saved.lcr;
    this.#mcr = saved.mcr;
    this.#scr = saved.scr;
    this.#divisor = saved.divisor;
    this.#fifo = saved.fifo;
    this.#trigger = saved.trigger;
    this.#transmitEmpty = saved.transmitEmpty;
    this.#modemDelta = saved.modemDelta;
    this.#received.length = 0;
    for (const byte of saved.received) this.#received.push(byte);
    this.#update();
  }

  #dlab(): boolean {
    return (this.#lcr & DLAB) !== 0;
  }

  #take(): number {
    const byte = this.#received.shift() ?? 0;
    this.#update();
    return byte;
  }

  #send(byte: number): void {
    if ((this.#mcr & MCR.LOOPBACK) !== 0) this.#received.push(byte);
    else this.#ports.transmit(byte);
    this.#transmitEmpty = true;
  }

  #writeIer(value: number): void {
    const enabling = (value & ~this.#ier & IER.TRANSMIT_EMPTY) !== 0;
    this.#ier = value;
    if (enabling) this.#transmitEmpty = true;
  }

  #writeFifoControl(value: number): void {
    this.#fifo = (value & 1) !== 0;
    if ((value & 2) !== 0) this.#received.length = 0;
    this.#trigger = TRIGGERS[(value >> 6) & 3]!;
  }

  #writeMcr(value: number): void {
    const before = this.#modemLines();
    this.#mcr = value;
    const after = this.#modemLines();
    // Delta bits 3:0 follow the lines in bits 7:4; the ring indicator's marks a falling edge.
    const changed = ((before ^ after) & 0xb0) | (before & ~after & 0x40);
    this.#modemDelta |= changed >> 4;
  }

  #modemLines(): number {
    if ((this.#mcr & MCR.LOOPBACK) === 0) return LINE_UP;
    const line = (output: number, input: number) => ((this.#mcr & output) !== 0 ? input : 0);
    return line(MCR.RTS, 0x10) | line(MCR.DTR, 0x20) | line(MCR.OUT1, 0x40) | line(MCR.OUT2, 0x80);
  }

  #modemStatus(): number {
    const value = this.#modemLines() | this.#modemDelta;
    this.#modemDelta = 0;
    this.#update();
    return value;
  }

  /** The interrupt of highest priority. */
  #pending(): number {
    if ((this.#ier & IER.RECEIVED) !== 0 && this.#received.length > 0) {
      const level = this.#fifo ? this.#trigger : 1;
      return this.#received.length >= level ? IIR.RECEIVED : IIR.TIMEOUT;
    }
    if ((this.#ier & IER.TRANSMIT_EMPTY) !== 0 && this.#transmitEmpty) return IIR.TRANSMIT_EMPTY;
    if ((this.#ier & IER.MODEM) !== 0 && this.#modemDelta !== 0) return IIR.MODEM;
    return IIR.NONE;
  }

  /** Reading IIR answers the transmitter's interrupt, when that is the one it shows. */
  #identify(): number {
    const pending = this.#pending();
    if (pending === IIR.TRANSMIT_EMPTY) {
      this.#transmitEmpty = false;
      this.#update();
    }
    return pending | (this.#fifo ? IIR.FIFO : 0);
  }

  /** On a PC the line reaches the interrupt controller through OUT2. */
  #update(): void {
    const gate = (this.#mcr & (MCR.OUT2 | MCR.LOOPBACK)) === MCR.OUT2;
    this.#ports.interrupt(gate && this.#pending() !== IIR.NONE);
  }
}
