import { INTERPRETER } from '../../state/layout.ts';

/** Entries of one bank, and where an entry's parts are. Tags are linear addresses of pages; all ones is none. */
export const DATA_TLB = {
  ENTRIES: 2048,
  ENTRY_SHIFT: 5,
  READ_TAG: 0,
  WRITE_TAG: 8,
  /** Linear-memory address minus linear address, modulo 2^32. */
  ADDEND: 16,
  /** Number of the physical page. */
  PAGE: 20,
  BANK_SIZE: 2048 << 5,
} as const;

/**
 * Who may use a translation: rights differ between CPL 3, CPL 0–2, and CPL 0–2 with EFLAGS.AC lifting SMAP,
 * so each has a bank of its own and a change of CPL flushes nothing.
 */
export const BANK = { SUPERVISOR: 0, SUPERVISOR_AC: 1, USER: 2, COUNT: 3 } as const;

const WORDS = 1 << (DATA_TLB.ENTRY_SHIFT - 2);
const NONE = -1;
/** Entries that are cheaper forgotten one by one than with their whole bank. */
const FEW = 64;

/** The level behind, in TypeScript: entries of eight words. A tag has the bank in its low bits. */
const SECOND = {
  ENTRIES: 16384,
  SHIFT: 3,
  LOW: 0,
  HIGH: 1,
  EPOCH: 2,
  HOST: 3,
  PAGE: 4,
  RIGHTS: 5,
} as const;
const RIGHT = { READ: 1, WRITE: 2 } as const;

/**
 * The software TLB that generated code checks inline. It holds pages of RAM only. The write tag is valid only
 * while a store needs nobody's attention: the page is writable, already dirty, and holds no decoded code.
 */
export class DataTlb {
  readonly #words: Int32Array;
  readonly #used: boolean[] = [];
  /** Entries set since the last flush, as long as they are few: VM entry and exit flush, and touch little between. */
  #fresh: number[] = [];
  /** What the first level forgot for want of room; flushed as a whole by a new epoch. */
  readonly #second = new Int32Array(SECOND.ENTRIES << SECOND.SHIFT);
  #epoch = 1;

  /** @param base offset of the CPU's state block */
  constructor(linear: WebAssembly.Memory, base: number) {
    this.#words = new Int32Array(
      linear.buffer,
      base + INTERPRETER.DATA_TLB,
      (BANK.COUNT * DATA_TLB.BANK_SIZE) / 4,
    );
    this.#used.length = BANK.COUNT;
    this.#used.fill(true);
    this.#words.fill(NONE);
  }

  /** @param host offset in linear memory of the page's first byte */
  fill(
    bank: number,
    address: bigint,
    page: number,
    host: number,
    readable: boolean,
    writable: boolean,
  ): void {
    const low = Number(address & 0xffff_f000n) | 0;
    const high = Number((address >> 32n) & 0xffff_ffffn) | 0;
    const second = this.#second;
    const behind = this.#behind(bank, low);
    second[behind + SECOND.LOW] = low | bank;
    second[behind + SECOND.HIGH] = high;
    second[behind + SECOND.EPOCH] = this.#epoch;
    second[behind + SECOND.HOST] = host;
    second[behind + SECOND.PAGE] = page | 0;
    second[behind + SECOND.RIGHTS] = (readable ? RIGHT.READ : 0) | (writable ? RIGHT.WRITE : 0);
    this.#set(bank, low, high, page | 0, host, readable, writable);
  }

  /**
   * Brings a page back from the second level, for an access at an address given by halves.
   * @returns the offset in linear memory of the page's first byte; 0 if it must be walked for
   */
  refill(bank: number, low: number, high: number, write: boolean): number {
    const second = this.#second;
    const page = low & ~0xfff;
    const behind = this.#behind(bank, page);
    const rights = second[behind + SECOND.RIGHTS]!;
    const hit =
      second[behind + SECOND.LOW] === (page | bank) &&
      second[behind + SECOND.HIGH] === high &&
      second[behind + SECOND.EPOCH] === this.#epoch &&
      (rights & (write ? RIGHT.WRITE : RIGHT.READ)) !== 0;
    if (!hit) return 0;
    const host = second[behind + SECOND.HOST]!;
    const [readable, writable] = [(rights & RIGHT.READ) !== 0, (rights & RIGHT.WRITE) !== 0];
    this.#set(bank, page, high, second[behind + SECOND.PAGE]!, host, readable, writable);
    return host;
  }

  #set(
    bank: number,
    low: number,
    high: number,
    page: number,
    host: number,
    readable: boolean,
    writable: boolean,
  ): void {
    const at = this.#entry(bank, low);
    const words = this.#words;
    words[at] = readable ? low : NONE;
    words[at + 1] = readable ? high : NONE;
    words[at + 2] = writable ? low : NONE;
    words[at + 3] = writable ? high : NONE;
    words[at + 4] = (host - low) | 0;
    words[at + 5] = page;
    this.#used[bank] = true;
    if (this.#fresh.length <= FEW) this.#fresh.push(at);
  }

  flush(): void {
    this.#epoch++;
    const fresh = this.#fresh;
    this.#fresh = [];
    if (fresh.length <= FEW) {
      for (const at of fresh) this.#words.fill(NONE, at, at + 4);
      this.#used.fill(false);
      return;
    }
    for (let bank = 0; bank < BANK.COUNT; bank++) {
      if (!this.#used[bank]) continue;
      const start = (bank * DATA_TLB.BANK_SIZE) / 4;
      this.#words.fill(NONE, start, start + DATA_TLB.BANK_SIZE / 4);
      this.#used[bank] = false;
    }
  }

  /** Forgets the page of one linear address (INVLPG). */
  flushPage(address: bigint): void {
    const low = Number(address & 0xffff_f000n) | 0;
    for (let bank = 0; bank < BANK.COUNT; bank++) {
      this.#words.fill(NONE, this.#entry(bank, low), this.#entry(bank, low) + 4);
      this.#second[this.#behind(bank, low) + SECOND.EPOCH] = 0;
    }
  }

  /** Makes stores to a physical page take the slow path, because it holds decoded code from now on. */
  protect(page: number): void {
    const words = this.#words;
    const second = this.#second;
    for (let at = 0; at < second.length; at += 1 << SECOND.SHIFT) {
      if (second[at + SECOND.PAGE] === (page | 0)) second[at + SECOND.RIGHTS]! &= RIGHT.READ;
    }
    for (let bank = 0; bank < BANK.COUNT; bank++) {
      if (!this.#used[bank]) continue;
      const end = ((bank + 1) * DATA_TLB.BANK_SIZE) / 4;
      for (let at = (bank * DATA_TLB.BANK_SIZE) / 4; at < end; at += WORDS) {
        if (words[at + 5] === (page | 0)) words.fill(NONE, at + 2, at + 4);
      }
    }
  }

  #behind(bank: number, low: number): number {
    return (((low >>> 12) ^ (bank << 12)) & (SECOND.ENTRIES - 1)) << SECOND.SHIFT;
  }

  #entry(bank: number, low: number): number {
    return (bank * DATA_TLB.ENTRIES + ((low >>> 12) & (DATA_TLB.ENTRIES - 1))) * WORDS;
  }
}
