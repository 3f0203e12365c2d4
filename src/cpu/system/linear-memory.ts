import { MASK32, MASK64, SIZE_MASK } from '../../bits/u64.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import type { MemoryAccess, NonRoot } from '../ports.ts';
import type { State } from '../state/state.ts';
import { is64Bit } from './mode.ts';
import type { Paging, Privilege } from './paging.ts';

export type Width = 1 | 2 | 4 | 8;

/**
 * Memory by linear address, as plain TypeScript reads and writes it: through the page walk, across page ends,
 * into devices. Segmentation and canonical form are the caller's. Throws what the walk throws.
 */
export class LinearMemory {
  readonly #state: State;
  readonly #paging: Paging;
  readonly #memory: PhysicalMemory;
  readonly #nonRoot: () => NonRoot | undefined;
  /** Hears of data accesses that went through, as long as a data breakpoint is on their page. */
  readonly #accessed: (linear: bigint, size: number, write: boolean) => void;

  constructor(
    state: State,
    paging: Paging,
    memory: PhysicalMemory,
    nonRoot: () => NonRoot | undefined,
    accessed: (linear: bigint, size: number, write: boolean) => void,
  ) {
    this.#state = state;
    this.#paging = paging;
    this.#memory = memory;
    this.#nonRoot = nonRoot;
    this.#accessed = accessed;
  }

  read(linear: bigint, size: number, privilege: Privilege): bigint {
    const room = roomInPage(linear);
    const { physical, watched } = this.#paging.translate(linear, 'read', privilege);
    if (size <= room) {
      return watched
        ? this.#readWatched(linear, physical, size)
        : this.#readPhysical(physical, size);
    }
    const second = this.#paging.translate(this.#next(linear, room), 'read', privilege);
    if (watched || second.watched) this.#accessed(linear, size, false);
    return (
      this.#readPhysical(physical, room) |
      (this.#readPhysical(second.physical, size - room) << BigInt(room * 8))
    );
  }

  write(linear: bigint, size: number, value: bigint, privilege: Privilege): void {
    const room = roomInPage(linear);
    const { physical, watched } = this.#paging.translate(linear, 'write', privilege);
    if (size <= room) {
      if (watched) this.#writeWatched(linear, physical, size, value);
      else this.#writePhysical(physical, size, value);
      return;
    }
    const second = this.#paging.translate(this.#next(linear, room), 'write', privilege);
    if (watched || second.watched) this.#accessed(linear, size, true);
    this.#writePhysical(physical, room, value);
    this.#writePhysical(second.physical, size - room, value >> BigInt(room * 8));
  }

  /** `count` neighbours of `size` bytes, ascending; one walk where they share a page. */
  readBlock(linear: bigint, count: number, size: Width, privilege: Privilege): bigint[] {
    const values: bigint[] = [];
    const place = this.place(linear, count * size, privilege, 'read');
    for (let at = 0; at < count * size; at += size) {
      values.push(
        place >= 0
          ? this.#memory.read(place + at, size)
          : this.read(this.#next(linear, at), size, privilege),
      );
    }
    return values;
  }

  /**
   * Writes neighbours, ascending, all or nothing; one walk where they share a page. A fault is that of the highest
   * which faults, as the pushes that this stands for would find it.
   */
  writeBlock(linear: bigint, values: readonly bigint[], size: Width, privilege: Privilege): void {
    const mask = SIZE_MASK[size]!;
    const last = (values.length - 1) * size;
    // Of a page that they share, the highest is what a fault names.
    const top = this.#next(linear, last);
    const together = last + size <= roomInPage(linear);
    const place = together ? this.place(top, size, privilege, 'write') : -1;
    if (place >= 0) {
      for (let i = 0; i < values.length; i++) {
        this.#memory.write(place - last + i * size, size, values[i]! & mask);
      }
      return;
    }
    for (let at = last; at >= 0; at -= size) this.probe(this.#next(linear, at), size, privilege);
    for (let i = 0; i < values.length; i++) {
      this.write(this.#next(linear, i * size), size, values[i]! & mask, privilege);
    }
  }

  /**
   * Where `size` bytes are in physical memory, if they are together and nobody watches them; else -1.
   * @throws Fault #PF of the first byte, VmExit
   */
  place(linear: bigint, size: number, privilege: Privilege, access: MemoryAccess): number {
    if (size > roomInPage(linear)) return -1;
    const { physical, watched } = this.#paging.translate(linear, access, privilege);
    return watched ? -1 : physical;
  }

  /** Throws what a write of `size` bytes would throw, and writes nothing. */
  probe(linear: bigint, size: number, privilege: Privilege, access: MemoryAccess = 'write'): void {
    const room = roomInPage(linear);
    this.#paging.translate(linear, access, privilege);
    if (size > room) this.#paging.translate(this.#next(linear, room), access, privilege);
  }

  /** The byte `room` on. */
  #next(linear: bigint, room: number): bigint {
    return (linear + BigInt(room)) & (is64Bit(this.#state) ? MASK64 : MASK32);
  }

  /** On the APIC-access page, or on one with a data breakpoint. */
  #readWatched(linear: bigint, physical: number, size: number): bigint {
    const nonRoot = this.#nonRoot();
    const virtual = nonRoot?.apicAccessPage === Math.floor(physical / 4096);
    const value = virtual
      ? nonRoot.apicRead(physical % 4096, size)
      : this.#readPhysical(physical, size);
    this.#accessed(linear, size, false);
    return value;
  }

  #writeWatched(linear: bigint, physical: number, size: number, value: bigint): void {
    const nonRoot = this.#nonRoot();
    if (nonRoot?.apicAccessPage === Math.floor(physical / 4096)) {
      nonRoot.apicWrite(physical % 4096, size, value & SIZE_MASK[size]!);
    } else this.#writePhysical(physical, size, value);
    this.#accessed(linear, size, true);
  }

  #readPhysical(physical: number, size: number): bigint {
    if (isWidth(size)) return this.#memory.read(physical, size);
    let value = 0n;
    for (let i = 0; i < size; i++) {
      value |= this.#memory.read(physical + i, 1) << BigInt(i * 8);
    }
    return value;
  }

  #writePhysical(physical: number, size: number, value: bigint): void {
    if (isWidth(size)) {
      this.#memory.write(physical, size, value & SIZE_MASK[size]!);
      return;
    }
    for (let i = 0; i < size; i++) {
      this.#memory.write(physical + i, 1, (value >> BigInt(i * 8)) & 0xffn);
    }
  }
}

const roomInPage = (linear: bigint): number => 4096 - Number(linear & 0xfffn);
export const isWidth = (size: number): size is Width =>
  size === 1 || size === 2 || size === 4 || size === 8;
