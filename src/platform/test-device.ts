import type { PortBus } from './port-bus.ts';

const IRQ_PORT = 0x2000;
const LINES = 24;
const ECHO_PORT = 0xe0;
const FLUSH_PORT = 0xe4;

/** QEMU's pc-testdev, as far as test kernels use it: interrupt lines that software sets, and a register that echoes. */
export class TestDevice {
  #echo = 0;

  /** @param interrupt sets a pin of the I/O APIC (and the IRQ of that number). */
  attach(bus: PortBus, interrupt: (line: number, asserted: boolean) => void): void {
    bus.attach(IRQ_PORT, LINES, {
      read: () => 0,
      write: (line, _size, value) => interrupt(line, value !== 0),
    });
    bus.attach(ECHO_PORT, 4, {
      read: (offset) => this.#echo >>> (8 * offset),
      write: (_offset, _size, value) => {
        this.#echo = value;
      },
    });
    // Asks for the unmapping of a page in the hypervisor: without one there is nothing to do.
    bus.attach(FLUSH_PORT, 4, { read: () => 0, write: () => {} });
  }

  save(): { echo: number } {
    return { echo: this.#echo };
  }

  restore(saved: { echo: number }): void {
    this.#echo = saved.echo;
  }
}
