import type { PageAllocator } from '../host/pages.ts';
import type { MemoryPorts } from '../host/ports.ts';

const READ_WRITE_EXECUTE = 0x7n;
const WRITE_BACK = 0x30n;
const LARGE = 0x80n;
const TWO_MEGABYTES = 0x20_0000;
const ENTRIES = 512;
/** Walk length 4, write-back. */
const EPTP_FLAGS = 0x1en;

/** Where a VM's RAM lies in host memory; both 2-MiB aligned. */
export interface GuestRam {
  readonly base: number;
  readonly size: number;
}

/**
 * Builds the EPT paging structures that map guest-physical 0 … size to host memory in 2-MiB pages, and
 * answers the EPTP. Everything else is an EPT violation.
 */
export function buildEpt(memory: MemoryPorts, pages: PageAllocator, ram: GuestRam): bigint {
  const table = () => pages.allocate();
  const link = (parent: number, index: number, child: number) =>
    memory.write(parent + 8 * index, 8, BigInt(child) | READ_WRITE_EXECUTE);
  const pml4 = table();
  const pdpt = table();
  link(pml4, 0, pdpt);
  const directories = new Map<number, number>();
  for (let address = 0; address < ram.size; address += TWO_MEGABYTES) {
    const page = address / TWO_MEGABYTES;
    const gigabyte = Math.floor(page / ENTRIES);
    let directory = directories.get(gigabyte);
    if (directory === undefined) {
      directory = table();
      directories.set(gigabyte, directory);
      link(pdpt, gigabyte, directory);
    }
    const entry = BigInt(ram.base + address) | LARGE | WRITE_BACK | READ_WRITE_EXECUTE;
    memory.write(directory + 8 * (page % ENTRIES), 8, entry);
  }
  return BigInt(pml4) | EPTP_FLAGS;
}
