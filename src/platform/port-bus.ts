import { hex } from '../bits/hex.ts';

export type PortSize = 1 | 2 | 4;

/** A device in I/O port space. `offset` counts from its first port; the access lies wholly within its ports. */
export interface PortDevice {
  read(offset: number, size: PortSize): number;
  write(offset: number, size: PortSize, value: number): void;
}

/** A device whose ports are bytes; wider accesses reach it byte by byte, lowest port first. */
export interface BytePortDevice {
  read(offset: number): number;
  write(offset: number, value: number): void;
}

interface Window {
  readonly first: number;
  readonly count: number;
  readonly device: PortDevice;
}

const ALL_ONES: Readonly<Record<PortSize, number>> = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff };

/** Who answers IN and OUT. Ports that nobody claims read as all ones; writes to them are dropped. */
export class PortBus {
  readonly #windows: Window[] = [];

  /** @throws RangeError if another device has one of the ports. */
  attach(first: number, count: number, device: PortDevice): void {
    const clash = this.#windows.find((w) => first < w.first + w.count && w.first < first + count);
    if (clash) throw new RangeError(`two devices claim port ${hex(Math.max(first, clash.first))}`);
    this.#windows.push({ first, count, device });
  }

  attachBytes(first: number, count: number, device: BytePortDevice): void {
    this.attach(first, count, bytewise(device));
  }

  read(port: number, size: PortSize): number {
    const window = this.#window(port);
    if (window && port + size <= window.first + window.count) {
      return (window.device.read(port - window.first, size) & ALL_ONES[size]) >>> 0;
    }
    if (size === 1) return 0xff;
    return bytewise({ read: (offset) => this.read(port + offset, 1), write: () => {} }).read(
      0,
      size,
    );
  }

  write(port: number, size: PortSize, value: number): void {
    const window = this.#window(port);
    if (window && port + size <= window.first + window.count) {
      window.device.write(port - window.first, size, (value & ALL_ONES[size]) >>> 0);
    } else if (size > 1) {
      for (let i = 0; i < size; i++) this.write(port + i, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  #window(port: number): Window | undefined {
    return this.#windows.find((w) => port >= w.first && port < w.first + w.count);
  }
}

function bytewise(device: BytePortDevice): PortDevice {
  return {
    read: (offset, size) => {
      let value = 0;
      for (let i = 0; i < size; i++) value |= device.read(offset + i) << (8 * i);
      return value >>> 0;
    },
    write: (offset, size, value) => {
      for (let i = 0; i < size; i++) device.write(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };
}
