import { CounterpointError } from '../bits/error.ts';
import { WrittenPages } from './written-pages.ts';

/** A device in physical address space. `size` is 1, 2, 4 or 8 bytes; addresses are offsets from its base. */
export interface MmioDevice {
  read(offset: number, size: number): bigint;
  write(offset: number, size: number, value: bigint): void;
}

interface Window {
  readonly base: number;
  readonly size: number;
  readonly device: MmioDevice;
}

export interface PhysicalMemoryOptions {
  readonly ramSize: number;
  readonly reserved?: number;
  readonly linear?: WebAssembly.Memory;
}

/** Physical memory as whoever only reads and writes it sees it: the machine's own, or that of a guest. */
export type PhysicalWords = Pick<PhysicalMemory, 'read' | 'write'>;

export const PAGE_SIZE = 4096;
/** Words of 4 bytes in what `putBack` compares at a time. */
const LINE_WORDS = 16;

/**
 * RAM from physical address 0, and device windows. One linear memory holds RAM and, below it,
 * whatever the engines keep beside it. What nobody backs reads as all ones; writes to it are dropped.
 */
export class PhysicalMemory {
  readonly linear: WebAssembly.Memory;
  /** Where RAM starts in the linear memory, a multiple of the page size. */
  readonly ramBase: number;
  /** Bytes of RAM. */
  readonly ramSize: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #windows: Window[] = [];
  #written: WrittenPages | undefined;
  readonly #writeListeners: ((address: number, length: number) => void)[] = [];

  /**
   * @param reserved bytes of linear memory in front of RAM
   * @param linear linear memory to be a part of, instead of one of its own: how a guest's memory is a stretch of its host's
   * @throws CounterpointError `no-memory`
   */
  constructor({ ramSize, reserved = 0, linear }: PhysicalMemoryOptions) {
    const pages = Math.ceil((reserved + ramSize) / 65536);
    this.linear = linear ?? allocate(pages);
    this.ramBase = reserved;
    this.ramSize = ramSize;
    this.bytes = new Uint8Array(this.linear.buffer);
    this.view = new DataView(this.linear.buffer);
  }

  /** @throws RangeError if the window overlaps another. */
  attach(base: number, size: number, device: MmioDevice): void {
    const clash = this.#windows.find((w) => base < w.base + w.size && w.base < base + size);
    if (clash) throw new RangeError(`device windows overlap at physical address ${base}`);
    this.#windows.push({ base, size, device });
  }

  /** Puts a window where nothing else is, at `floor` or above; answers its base. */
  attachAbove(floor: number, size: number, device: MmioDevice): number {
    const base = Math.max(floor, ...this.#windows.map((w) => w.base + w.size));
    this.attach(base, size, device);
    return base;
  }

  /** Whether `length` bytes at `address` are all RAM that no device window covers. */
  isRam(address: number, length = 1): boolean {
    return address >= 0 && address + length <= this.ramSize && !this.#window(address, length);
  }

  /** Offset of RAM address `address` in the linear memory. */
  offset(address: number): number {
    return this.ramBase + address;
  }

  read(address: number, size: 1 | 2 | 4 | 8): bigint {
    const window = this.#window(address, size);
    if (window) return window.device.read(address - window.base, size);
    if (address < 0 || address + size > this.ramSize) return (1n << BigInt(size * 8)) - 1n;
    const at = this.ramBase + address;
    if (size === 8) return this.view.getBigUint64(at, true);
    if (size === 4) return BigInt(this.view.getUint32(at, true));
    return BigInt(size === 2 ? this.view.getUint16(at, true) : this.view.getUint8(at));
  }

  write(address: number, size: 1 | 2 | 4 | 8, value: bigint): void {
    const window = this.#window(address, size);
    if (window) {
      window.device.write(address - window.base, size, value);
      return;
    }
    if (address < 0 || address + size > this.ramSize) return;
    const at = this.ramBase + address;
    if (size === 8) this.view.setBigUint64(at, value, true);
    else if (size === 4) this.view.setUint32(at, Number(value & 0xffff_ffffn), true);
    else if (size === 2) this.view.setUint16(at, Number(value & 0xffffn), true);
    else this.view.setUint8(at, Number(value & 0xffn));
    this.touched(address, size);
  }

  /** Copies bytes into RAM. @throws RangeError if they do not fit. */
  load(address: number, bytes: Uint8Array): void {
    if (address < 0 || address + bytes.length > this.ramSize) {
      throw new RangeError(
        `${bytes.length} bytes at ${address} do not fit ${this.ramSize} of memory`,
      );
    }
    this.bytes.set(bytes, this.ramBase + address);
    this.touched(address, bytes.length);
  }

  /** Zeroes RAM. @throws RangeError if there is not so much. */
  clear(address: number, length: number): void {
    if (address < 0 || length < 0 || address + length > this.ramSize) {
      throw new RangeError(`${length} bytes at ${address} are not all memory`);
    }
    this.bytes.fill(0, this.ramBase + address, this.ramBase + address + length);
    this.touched(address, length);
  }

  /** A copy of RAM. */
  slice(address: number, length: number): Uint8Array {
    return this.bytes.slice(this.ramBase + address, this.ramBase + address + length);
  }

  /** Which pages are written, from the first time that somebody asks. */
  get written(): WrittenPages {
    this.#written ??= new WrittenPages(Math.ceil(this.ramSize / PAGE_SIZE));
    return this.#written;
  }

  /** Whether a store to this page need not be reported by `willStore`. */
  isKnownWritten(page: number): boolean {
    return this.#written === undefined || this.#written.isKnown(page);
  }

  /** An engine is going to store to a page by itself, from now on. */
  willStore(page: number): void {
    this.#written?.add(page);
  }

  /** Puts back what RAM once held, line by line: decoded code whose bytes stay the same is not forgotten. */
  putBack(address: number, bytes: Uint8Array): void {
    const old = new Int32Array(this.linear.buffer, this.ramBase + address, bytes.length / 4);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    for (let line = 0; line < words.length; line += LINE_WORDS) {
      let at = line;
      while (at < line + LINE_WORDS && old[at] === words[at]) at++;
      if (at === line + LINE_WORDS) continue;
      for (; at < line + LINE_WORDS; at++) old[at] = words[at]!;
      this.#tell(address + line * 4, LINE_WORDS * 4);
    }
  }

  /** Tells whoever caches decoded code that RAM was written by other means than an engine's store. */
  touched(address: number, length: number): void {
    if (this.#written) {
      const last = Math.floor((address + length - 1) / PAGE_SIZE);
      for (let page = Math.floor(address / PAGE_SIZE); page <= last; page++) this.willStore(page);
    }
    this.#tell(address, length);
  }

  #tell(address: number, length: number): void {
    for (const listener of this.#writeListeners) listener(address, length);
  }

  onWrite(listener: (address: number, length: number) => void): void {
    this.#writeListeners.push(listener);
  }

  #window(address: number, length: number): Window | undefined {
    for (const window of this.#windows) {
      if (address < window.base + window.size && window.base < address + length) return window;
    }
    return undefined;
  }
}

function allocate(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch {
    throw new CounterpointError(
      'no-memory',
      `there is no memory for the machine: it takes ${pages / 16} MiB`,
    );
  }
}
