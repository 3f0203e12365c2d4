import { INTERPRETER } from '../../state/layout.ts';
import { type AddressSpace, LargePages, TLB_SETS } from './address-spaces.ts';

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

/** Banks of all sets. */
const BANKS = TLB_SETS * BANK.COUNT;

/**
 * The level behind, in TypeScript, which all address spaces share: entries of eight words. A tag has the bank in its
 * low bits; the epoch stands for the address space.
 */
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
const RIGHT = { READ: 1, WRITE: 2, DEVICE: 4 } as const;
/** Spreads address spaces over the second level: an odd number. */
const SCATTER = 0x9e5;

/**
 * The software TLB that generated code checks inline. It holds pages of RAM only. The write tag is valid only
 * while a store needs nobody's attention: the page is writable, already dirty, and holds no decoded code.
 */
export class DataTlb {
  readonly #words: Int32Array;
  /** Which banks hold anything. */
  readonly #used: boolean[] = Array.from({ length: BANKS }, () => false);
  /**
   * Entries of each set made since it was last wiped, as long as they are few: between VM entry and VM exit little is
   * touched. None of a set that no address space has had yet: it is wiped before the first has it.
   */
  readonly #fresh: (number[] | undefined)[] = Array.from({ length: TLB_SETS });
  /** What the first level forgot for want of room. */
  readonly #second = new Int32Array(SECOND.ENTRIES << SECOND.SHIFT);
  #space: Pick<AddressSpace, 'set' | 'epoch' | 'large'> = {
    set: 0,
    epoch: -1,
    large: new LargePages(),
  };

  /** @param base offset of the CPU's state block */
  constructor(linear: WebAssembly.Memory, base: number) {
    this.#words = new Int32Array(
      linear.buffer,
      base + INTERPRETER.DATA_TLB,
      (BANKS * DATA_TLB.BANK_SIZE) / 4,
    );
  }

  /** Looks translations up in an address space from now on. */
  use(space: AddressSpace): void {
    this.#space = space;
  }

  /** @param host offset in linear memory of the page's first byte; `shift` is that of the whole page it is part of */
  fill(
    bank: number,
    address: bigint,
    page: number,
    host: number,
    readable: boolean,
    writable: boolean,
    shift: number,
  ): void {
    const low = Number(address & 0xffff_f000n) | 0;
    const high = Number((address >> 32n) & 0xffff_ffffn) | 0;
    const rights = (readable ? RIGHT.READ : 0) | (writable ? RIGHT.WRITE : 0);
    this.#remember(bank, address, page, host, rights, shift);
    this.#set(bank, low, high, page | 0, host, readable, writable);
  }

  /** Remembers a page that is no RAM, in the second level only; `device` finds it. */
  fillDevice(
    bank: number,
    address: bigint,
    page: number,
    readable: boolean,
    writable: boolean,
    shift: number,
  ): void {
    if (page > 0x7fff_ffff) return;
    const rights = (readable ? RIGHT.READ : 0) | (writable ? RIGHT.WRITE : 0) | RIGHT.DEVICE;
    this.#remember(bank, address, page, 0, rights, shift);
  }

  #remember(
    bank: number,
    address: bigint,
    page: number,
    host: number,
    rights: number,
    shift: number,
  ): void {
    const low = Number(address & 0xffff_f000n) | 0;
    const second = this.#second;
    const { epoch, large } = this.#space;
    if (shift > 12) large.add(address, shift);
    const behind = this.#behind(bank, low, epoch);
    second[behind + SECOND.LOW] = low | bank;
    second[behind + SECOND.HIGH] = Number((address >> 32n) & 0xffff_ffffn) | 0;
    second[behind + SECOND.EPOCH] = epoch;
    second[behind + SECOND.HOST] = host;
    second[behind + SECOND.PAGE] = page | 0;
    second[behind + SECOND.RIGHTS] = rights;
  }

  /**
   * Brings a page back from the second level, for an access at an address given by halves.
   * @returns the offset in linear memory of the page's first byte; 0 if it must be walked for
   */
  refill(bank: number, low: number, high: number, write: boolean): number {
    const second = this.#second;
    const page = low & ~0xfff;
    const behind = this.#hit(bank, page, high, write);
    if (behind < 0) return 0;
    const rights = second[behind + SECOND.RIGHTS]!;
    if ((rights & RIGHT.DEVICE) !== 0) return 0;
    const host = second[behind + SECOND.HOST]!;
    const [readable, writable] = [(rights & RIGHT.READ) !== 0, (rights & RIGHT.WRITE) !== 0];
    this.#set(bank, page, high, second[behind + SECOND.PAGE]!, host, readable, writable);
    return host;
  }

  /** Number of the physical page, no RAM, that an address leads to; -1 if that is not known here. */
  device(bank: number, low: number, high: number, write: boolean): number {
    const second = this.#second;
    const behind = this.#hit(bank, low & ~0xfff, high, write);
    if (behind < 0 || (second[behind + SECOND.RIGHTS]! & RIGHT.DEVICE) === 0) return -1;
    return second[behind + SECOND.PAGE]!;
  }

  /** Where the second level has a page for such an access; -1 if it has not. */
  #hit(bank: number, page: number, high: number, write: boolean): number {
    const second = this.#second;
    const { epoch } = this.#space;
    const behind = this.#behind(bank, page, epoch);
    const hit =
      second[behind + SECOND.LOW] === (page | bank) &&
      second[behind + SECOND.HIGH] === high &&
      second[behind + SECOND.EPOCH] === epoch &&
      (second[behind + SECOND.RIGHTS]! & (write ? RIGHT.WRITE : RIGHT.READ)) !== 0;
    return hit ? behind : -1;
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
    const { set } = this.#space;
    const at = this.#entry(set, bank, low);
    const words = this.#words;
    words[at] = readable ? low : NONE;
    words[at + 1] = readable ? high : NONE;
    words[at + 2] = writable ? low : NONE;
    words[at + 3] = writable ? high : NONE;
    words[at + 4] = (host - low) | 0;
    words[at + 5] = page;
    this.#used[set * BANK.COUNT + bank] = true;
    const fresh = this.#fresh[set];
    if (fresh && fresh.length <= FEW) fresh.push(at);
  }

  wipe(set: number): void {
    const fresh = this.#fresh[set];
    const few = fresh !== undefined && fresh.length <= FEW;
    if (few) for (const at of fresh) this.#words.fill(NONE, at, at + 4);
    for (let bank = set * BANK.COUNT; bank < (set + 1) * BANK.COUNT; bank++) {
      if (!fresh || (!few && this.#used[bank])) {
        const start = (bank * DATA_TLB.BANK_SIZE) / 4;
        this.#words.fill(NONE, start, start + DATA_TLB.BANK_SIZE / 4);
      }
      this.#used[bank] = false;
    }
    if (fresh) fresh.length = 0;
    else this.#fresh[set] = [];
  }

  flushPage({ set, epoch }: AddressSpace, linear: bigint): void {
    const low = Number(linear & 0xffff_f000n) | 0;
    const second = this.#second;
    for (let bank = 0; bank < BANK.COUNT; bank++) {
      if (set >= 0) {
        const at = this.#entry(set, bank, low);
        this.#words.fill(NONE, at, at + 4);
      }
      const behind = this.#behind(bank, low, epoch);
      if (second[behind + SECOND.EPOCH] === epoch) second[behind + SECOND.EPOCH] = 0;
    }
  }

  /** Makes stores to a physical page take the slow path, because it holds decoded code from now on. */
  protect(page: number): void {
    const words = this.#words;
    const second = this.#second;
    for (let at = 0; at < second.length; at += 1 << SECOND.SHIFT) {
      if (second[at + SECOND.PAGE] === (page | 0)) second[at + SECOND.RIGHTS]! &= ~RIGHT.WRITE;
    }
    for (let bank = 0; bank < BANKS; bank++) {
      if (!this.#used[bank]) continue;
      const end = ((bank + 1) * DATA_TLB.BANK_SIZE) / 4;
      for (let at = (bank * DATA_TLB.BANK_SIZE) / 4; at < end; at += WORDS) {
        if (words[at + 5] === (page | 0)) words.fill(NONE, at + 2, at + 4);
      }
    }
  }

  #behind(bank: number, low: number, epoch: number): number {
    const index = (low >>> 12) ^ (bank << 12) ^ Math.imul(epoch, SCATTER);
    return (index & (SECOND.ENTRIES - 1)) << SECOND.SHIFT;
  }

  #entry(set: number, bank: number, low: number): number {
    const banks = set * BANK.COUNT + bank;
    return (banks * DATA_TLB.ENTRIES + ((low >>> 12) & (DATA_TLB.ENTRIES - 1))) * WORDS;
  }
}
