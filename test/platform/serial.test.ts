import { beforeEach, describe, expect, it } from 'vitest';
import { Serial } from '../../src/platform/serial.ts';

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];

let out: number[];
let line: boolean;
let uart: Serial;
beforeEach(() => {
  out = [];
  line = false;
  uart = new Serial({
    transmit: (byte) => out.push(byte),
    interrupt: (asserted) => {
      line = asserted;
    },
  });
});

describe('a 16550A', () => {
  it('transmits at once and is always ready for more', () => {
    uart.write(DATA, 0x48);
    expect(out).toEqual([0x48]);
    expect(uart.read(LSR)).toBe(0x60);
  });

  it('receives in order and shows data ready while there is some', () => {
    uart.receive([1, 2]);
    expect(uart.read(LSR)).toBe(0x61);
    expect([uart.read(DATA), uart.read(DATA)]).toEqual([1, 2]);
    expect(uart.read(LSR)).toBe(0x60);
    expect(uart.read(DATA)).toBe(0);
  });

  it('has the divisor behind DLAB', () => {
    uart.write(LCR, 0x83);
    uart.write(DATA, 0x34);
    uart.write(IER, 0x12);
    expect([uart.read(DATA), uart.read(IER)]).toEqual([0x34, 0x12]);
    uart.write(LCR, 0x03);
    expect(uart.read(IER)).toBe(0);
    expect(out).toEqual([]);
  });

  it('answers what Linux probes: IER of four bits, scratch, FIFO identification', () => {
    uart.write(IER, 0xff);
    expect(uart.read(IER)).toBe(0x0f);
    uart.write(IER, 0);
    uart.write(SCR, 0xa5);
    expect(uart.read(SCR)).toBe(0xa5);
    expect(uart.read(IIR)).toBe(0x01);
    uart.write(IIR, 0x01);
    expect(uart.read(IIR)).toBe(0xc1);
  });

  it('in loopback receives what it transmits and wires its outputs to its inputs', () => {
    uart.write(MCR, 0x1a); // loopback, OUT2, RTS
    expect(uart.read(MSR) & 0xf0).toBe(0x90); // DCD, CTS
    uart.write(DATA, 0x5a);
    expect(out).toEqual([]);
    expect(uart.read(DATA)).toBe(0x5a);
  });

  it('reports changes of the modem lines once', () => {
    uart.write(MCR, 0x10);
    expect(uart.read(MSR)).toBe(0x0b); // CTS, DSR, DCD fell
    expect(uart.read(MSR)).toBe(0x00);
  });
});

describe('its interrupt', () => {
  beforeEach(() => uart.write(MCR, 0x08));

  it('needs OUT2', () => {
    uart.write(MCR, 0);
    uart.write(IER, 0x01);
    uart.receive([1]);
    expect(line).toBe(false);
    uart.write(MCR, 0x08);
    expect(line).toBe(true);
  });

  it('for received data lasts until the data are read', () => {
    uart.write(IER, 0x01);
    uart.receive([1]);
    expect(line).toBe(true);
    expect(uart.read(IIR)).toBe(0x04);
    uart.read(DATA);
    expect(line).toBe(false);
    expect(uart.read(IIR)).toBe(0x01);
  });

  it('for data below the FIFO trigger is a character timeout', () => {
    uart.write(IIR, 0x81); // FIFO, trigger 8
    uart.write(IER, 0x01);
    uart.receive([1]);
    expect(uart.read(IIR)).toBe(0xcc);
    uart.receive([2, 3, 4, 5, 6, 7, 8]);
    expect(uart.read(IIR)).toBe(0xc4);
  });

  it('for the empty transmitter comes on enabling, and is answered by reading IIR', () => {
    uart.write(IER, 0x02);
    expect(line).toBe(true);
    expect(uart.read(IIR)).toBe(0x02);
    expect(line).toBe(false);
    uart.write(DATA, 0x41);
    expect(line).toBe(true);
  });

  it('for received data outranks the transmitter', () => {
    uart.write(IER, 0x03);
    uart.receive([1]);
    expect(uart.read(IIR)).toBe(0x04);
    uart.read(DATA);
    expect(uart.read(IIR)).toBe(0x02);
  });

  it('is restored with the rest', () => {
    uart.write(IER, 0x01);
    uart.receive([7, 8]);
    const saved = structuredClone(uart.save());
    uart.read(DATA);
    uart.read(DATA);
    uart.write(IER, 0);
    uart.restore(saved);
    expect(line).toBe(true);
    expect(uart.save()).toEqual(saved);
    expect(uart.read(DATA)).toBe(7);
  });
});
