import type { PageAllocator } from '../host/pages.ts';
import type { MemoryPorts } from '../host/ports.ts';

const READ_WRITE_EXECUTE = 0x7n;
const READ_EXECUTE = 0x5n;
const WRITE_BACK = 0x30n;
const LARGE = 0x80n;
const TWO_MEGABYTES = 0x20_0000;
const PAGE = 0x1000;
const ENTRIES = 512;
/** Walk length 4, write-back. */
const EPTP_FLAGS = 0x1en;

/** Where a VM's RAM lies in host memory; both 2-MiB aligned. */
export interface GuestRam {
  readonly base: number;
  readonly size: number;
}

/** A stretch of a VM's RAM that shows again elsewhere and cannot be written there; all of it within 2 MiB. */
export interface GuestRom {
  /** Guest-physical address where it shows. */
  readonly address: number;
  /** Where it lies in RAM. */
  readonly of: number;
  readonly size: number;
}

/**
 * Builds the EPT paging structures that map guest-physical 0 … size to host memory in 2-MiB pages, and
 * answers the EPTP. Everything else is an EPT violation, and so are writes to ROM.
 */
export function buildEpt(
  memory: MemoryPorts,
  pages: PageAllocator,
  ram: GuestRam,
  rom?: GuestRom,
): bigint {
  const table = () => pages.allocate();
  const link = (parent: number, index: number, child: number) =>
    memory.write(parent + 8 * index, 8, BigInt(child) | READ_WRITE_EXECUTE);
  const pml4 = table();
  const pdpt = table();
  link(pml4, 0, pdpt);
  const directories = new Map<number, number>();
  const entryOf = (address: number): number => {
    const page = Math.floor(address / TWO_MEGABYTES);
    const gigabyte = Math.floor(page / ENTRIES);
    let directory = directories.get(gigabyte);
    if (directory === undefined) {
      directory = table();
      directories.set(gigabyte, directory);
      link(pdpt, gigabyte, directory);
    }
    return directory + 8 * (page % ENTRIES);
  };
  for (let address = 0; address < ram.size; address += TWO_MEGABYTES) {
    const entry = BigInt(ram.base + address) | LARGE | WRITE_BACK | READ_WRITE_EXECUTE;
    memory.write(entryOf(address), 8, entry);
  }
  if (rom) {
    const small = table();
    memory.write(entryOf(rom.address), 8, BigInt(small) | READ_WRITE_EXECUTE);
    for (let at = 0; at < rom.size; at += PAGE) {
      const entry = BigInt(ram.base + rom.of + at) | WRITE_BACK | READ_EXECUTE;
      memory.write(small + 8 * (((rom.address + at) / PAGE) % ENTRIES), 8, entry);
    }
  }
  return BigInt(pml4) | EPTP_FLAGS;
}
