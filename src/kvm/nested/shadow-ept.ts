import type { PageAllocator } from '../../host/pages.ts';
import type { MemoryPorts } from '../../host/ports.ts';

const ENTRIES = 512;
const READ = 1n;
const WRITE = 2n;
const EXECUTE = 4n;
const ALL = READ | WRITE | EXECUTE;
const WRITE_BACK = 0x30n;
const ADDRESS = 0xf_ffff_ffff_f000n;
/** Walk length 4, write-back, no accessed and dirty flags. */
const EPTP_FLAGS = 0x1en;
/** Bytes that one entry of a table maps, from the PML4 table down. */
const SPANS = [2 ** 39, 2 ** 30, 2 ** 21] as const;
const PAGE = 0x1000;

export interface SavedShadowEpt {
  readonly eptp: bigint | undefined;
  readonly tables: readonly number[];
}

/** What one page may be used for. */
export interface PageRights {
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** The EPT by which L2 runs when L1 has one for it: L1's and KVM's in one, made page by page as L2 touches them. */
export class ShadowEpt {
  readonly #memory: MemoryPorts;
  readonly #pages: PageAllocator;
  readonly #root: number;
  /** The tables below the root. */
  #tables: number[] = [];
  /** The EPTP of L1 that it is made from. */
  #of: bigint | undefined;

  constructor(memory: MemoryPorts, pages: PageAllocator) {
    this.#memory = memory;
    this.#pages = pages;
    this.#root = pages.allocate();
  }

  get eptp(): bigint {
    return BigInt(this.#root) | EPTP_FLAGS;
  }

  /** From now on it follows this EPTP of L1. Answers whether it followed another, whose pages must be forgotten. */
  follow(eptp: bigint): boolean {
    const other = this.#of !== eptp;
    this.#of = eptp;
    return other;
  }

  /** Maps the page of a physical address of L2 to one of the host. */
  map(address: number, host: number, rights: PageRights): void {
    let table = this.#root;
    for (const span of SPANS)
      table = this.#below(table + 8 * (Math.floor(address / span) % ENTRIES));
    const entry =
      BigInt(host - (host % PAGE)) |
      WRITE_BACK |
      (rights.readable ? READ : 0n) |
      (rights.writable ? WRITE : 0n) |
      (rights.executable ? EXECUTE : 0n);
    this.#memory.write(table + 8 * (Math.floor(address / PAGE) % ENTRIES), 8, entry);
  }

  /** Forgets every page. Answers whether there were any: whoever has cached a translation must be told. */
  forget(): boolean {
    if (this.#tables.length === 0) return false;
    for (let i = 0; i < ENTRIES; i++) this.#memory.write(this.#root + 8 * i, 8, 0n);
    for (const table of this.#tables) this.#pages.free(table);
    this.#tables = [];
    return true;
  }

  save(): SavedShadowEpt {
    return { eptp: this.#of, tables: [...this.#tables] };
  }

  restore({ eptp, tables }: SavedShadowEpt): void {
    this.#of = eptp;
    this.#tables = [...tables];
  }

  /** The table that an entry points to. */
  #below(entry: number): number {
    const found = this.#memory.read(entry, 8);
    if (found !== 0n) return Number(found & ADDRESS);
    const table = this.#pages.allocate();
    this.#tables.push(table);
    this.#memory.write(entry, 8, BigInt(table) | ALL);
    return table;
  }
}
