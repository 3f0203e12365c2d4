import type { PortDevice } from './port-bus.ts';

export const PCI_PORT = 0xcf8;
const ADDRESS = 0;
/** Reset control, the second byte of the address register, when written as a byte. */
const RESET_CONTROL = 1;
const RESET_CPU = 0x04;
const DATA = 4;

/** PCI configuration mechanism 1 in front of an empty bus: every function reads as all ones. */
export class EmptyPci implements PortDevice {
  readonly #reset: () => void;
  #address = 0;
  #resetControl = 0;

  constructor(reset: () => void) {
    this.#reset = reset;
  }

  read(offset: number, size: number): number {
    if (offset >= DATA) return 0xffff_ffff;
    if (offset === ADDRESS && size === 4) return this.#address;
    return offset === RESET_CONTROL && size === 1 ? this.#resetControl : 0xffff_ffff;
  }

  write(offset: number, size: number, value: number): void {
    if (offset === ADDRESS && size === 4) {
      this.#address = value & 0x80ff_fffc;
    } else if (offset === RESET_CONTROL && size === 1) {
      const rising = (value & ~this.#resetControl & RESET_CPU) !== 0;
      this.#resetControl = value & ~RESET_CPU;
      if (rising) this.#reset();
    }
  }

  save(): { address: number; resetControl: number } {
    return { address: this.#address, resetControl: this.#resetControl };
  }

  restore(saved: { address: number; resetControl: number }): void {
    this.#address = saved.address;
    this.#resetControl = saved.resetControl;
  }
}
