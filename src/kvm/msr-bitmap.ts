import type { MemoryPorts } from '../host/ports.ts';

const LOW_LIMIT = 0x2000;
const HIGH_BASE = 0xc000_0000;
const WRITES = 0x800;
const HIGH = 0x400;

/** A VM's view on its MSR-bitmap page: everything exits until it is told to pass. */
export class MsrBitmap {
  readonly address: number;
  readonly #memory: MemoryPorts;

  /** @param address physical address of a page, which is filled with ones. */
  constructor(memory: MemoryPorts, address: number) {
    this.#memory = memory;
    this.address = address;
    for (let at = 0; at < 4096; at += 8) memory.write(address + at, 8, 0xffff_ffff_ffff_ffffn);
  }

  /** Whether an access of the guest exits. @throws RangeError on an address no bitmap covers. */
  set(msr: number, access: 'read' | 'write', exits: boolean): void {
    const { at, mask } = this.#place(msr, access);
    const old = this.#memory.read(at, 1);
    this.#memory.write(at, 1, exits ? old | mask : old & ~mask);
  }

  /** Whether an access exits as the bitmap stands. @throws RangeError on an address no bitmap covers. */
  exits(msr: number, access: 'read' | 'write'): boolean {
    const { at, mask } = this.#place(msr, access);
    return (this.#memory.read(at, 1) & mask) !== 0n;
  }

  #place(msr: number, access: 'read' | 'write'): { at: number; mask: bigint } {
    const { byte, mask } = placeInBitmap(msr, access);
    return { at: this.address + byte, mask };
  }
}

/** The bit of an access in a page of MSR bitmaps. @throws RangeError on an address no bitmap covers. */
export function placeInBitmap(
  msr: number,
  access: 'read' | 'write',
): { readonly byte: number; readonly mask: bigint } {
  const low = msr < LOW_LIMIT;
  const index = low ? msr : msr - HIGH_BASE;
  if (index < 0 || index >= LOW_LIMIT) throw new RangeError(`MSR ${msr} is in no bitmap`);
  const quarter = (access === 'write' ? WRITES : 0) + (low ? 0 : HIGH);
  return { byte: quarter + Math.floor(index / 8), mask: 1n << BigInt(index % 8) };
}
