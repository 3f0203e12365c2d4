import { INTERPRETER } from '../../state/layout.ts';
import type { State } from '../../state/state.ts';
import type { CodeLines, CodeWatcher } from '../code-lines.ts';
import { type AddressSpace, LargePages, TLB_SETS } from './address-spaces.ts';
import type { DataTlb } from './data-tlb.ts';
import { RECORD, STUB } from './record.ts';

/** The code TLB, one of each set: where an entry's parts are. A tag is the linear address of a page plus a context number below 4096. */
export const CODE_TLB = {
  ENTRIES: 512,
  ENTRY_SHIFT: 4,
  SIZE: 512 << 4,
  /** i64 */
  TAG: 0,
  /** u32: address of the page's slots, one u32 per byte of the page: the record that starts there, or 0. */
  SLOTS: 8,
} as const;

const PAGE = 4096;
const SLOTS_SIZE = PAGE * 4;
/** What one block of decoded code may take at most; with less left, everything decoded is thrown away. */
const HEADROOM = 64 * 1024;

/** Entries that are cheaper forgotten one by one than with the whole TLB. */
const FEW = 64;

/**
 * Decoded code in linear memory. Slots are per physical page and context (a context stands for all that code is
 * specialised on), so a change of address space flushes only the code TLB and nothing is decoded twice.
 */
export class CodeMap implements CodeWatcher {
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #base: number;
  readonly #arena: number;
  readonly #end: number;
  readonly #lines: CodeLines;
  readonly #dataTlb: DataTlb;
  #top: number;
  /** Slots by physical page, then linear page and context: records hold linear addresses. */
  readonly #pages = new Map<number, Map<bigint, number>>();
  /** Entries of each code TLB set since it was last wiped, as long as they are few. */
  readonly #fresh: number[][] = Array.from({ length: TLB_SETS }, () => []);
  /** Which code TLB is in use. */
  #set = 0;
  /** The large pages of that address space. */
  #large = new LargePages();
  /** Grows when record addresses become meaningless. */
  epoch = 0;

  constructor({ linear, base, size }: State, lines: CodeLines, dataTlb: DataTlb) {
    this.#words = new Int32Array(linear.buffer);
    this.#view = new DataView(linear.buffer);
    this.#base = base;
    this.#arena = base + INTERPRETER.ARENA;
    this.#end = base + size;
    this.#top = this.#arena;
    this.#lines = lines;
    this.#dataTlb = dataTlb;
    for (let set = 0; set < TLB_SETS; set++) this.#wipeAll(set);
    lines.watch(this);
  }

  /** Slots of a physical page that is mapped at `address` in a context, made if new. */
  slots(page: number, address: bigint, context: number): number {
    const key = (address & ~0xfffn) | BigInt(context);
    let contexts = this.#pages.get(page);
    if (!contexts) {
      contexts = new Map();
      this.#pages.set(page, contexts);
    }
    let slots = contexts.get(key);
    if (slots === undefined) {
      slots = this.allocate(SLOTS_SIZE);
      this.#words.fill(0, slots >> 2, (slots + SLOTS_SIZE) >> 2);
      contexts.set(key, slots);
    }
    return slots;
  }

  /** The record of the instruction at `offset` of a page, or 0. */
  record(slots: number, offset: number): number {
    return this.#words[(slots >> 2) + offset]!;
  }

  setRecord(slots: number, offset: number, record: number): void {
    this.#words[(slots >> 2) + offset] = record;
  }

  /** Room for records; `makeRoom` has seen to it that there is some. */
  allocate(size: number): number {
    const at = this.#top;
    this.#top += size;
    return at;
  }

  /** Throws away all decoded code if there is little room left. No generated code may be running. */
  makeRoom(): void {
    if (this.#end - this.#top < HEADROOM) this.clear();
  }

  /** Throws away all decoded code. */
  clear(): void {
    this.#top = this.#arena;
    this.#pages.clear();
    for (let set = 0; set < TLB_SETS; set++) this.wipe(set);
    this.epoch++;
  }

  /** Looks code up in the TLB of an address space from now on. */
  use({ set, large }: AddressSpace): void {
    this.#set = set;
    this.#large = large;
    this.#view.setUint32(this.#base + INTERPRETER.CODE_SET, set * CODE_TLB.SIZE, true);
  }

  /** Has a linear page, in a context, found in the code TLB; `shift` is that of the whole page it is part of. */
  map(address: bigint, context: number, slots: number, shift: number): void {
    if (shift > 12) this.#large.add(address, shift);
    const low = Number(address & 0xffff_f000n) | 0;
    const at = this.#tlbEntry(this.#set, low);
    this.#words[at] = low | context;
    this.#words[at + 1] = Number((address >> 32n) & 0xffff_ffffn) | 0;
    this.#words[at + 2] = slots;
    const fresh = this.#fresh[this.#set]!;
    if (fresh.length <= FEW) fresh.push(at);
  }

  /** The record at a linear address, given by halves, that the code TLB leads to; 0 if it has none. */
  lookup(low: number, high: number, context: number): number {
    const at = this.#tlbEntry(this.#set, low);
    const words = this.#words;
    const hit = words[at] === ((low & ~(PAGE - 1)) | context) && words[at + 1] === high;
    return hit ? words[(words[at + 2]! >> 2) + (low & (PAGE - 1))]! : 0;
  }

  wipe(set: number): void {
    const fresh = this.#fresh[set]!;
    if (fresh.length > FEW) this.#wipeAll(set);
    else for (const at of fresh) this.#words.fill(-1, at, at + 2);
    fresh.length = 0;
  }

  #wipeAll(set: number): void {
    const start = this.#tlbEntry(set, 0);
    this.#words.fill(-1, start, start + (CODE_TLB.SIZE >> 2));
  }

  flushPage({ set }: AddressSpace, linear: bigint): void {
    if (set < 0) return;
    const at = this.#tlbEntry(set, Number(linear & 0xffff_f000n) | 0);
    this.#words.fill(-1, at, at + 2);
  }

  /** Bytes of one page were decoded. */
  decoded(physical: number, length: number): void {
    this.#lines.decoded(physical, length);
  }

  protect(page: number): void {
    this.#dataTlb.protect(page);
  }

  /** Records of an overwritten page turn stale where they stand: direct edges lead to them. */
  drop(page: number): void {
    const contexts = this.#pages.get(page);
    if (!contexts) return;
    this.#pages.delete(page);
    for (const slots of contexts.values()) {
      for (let at = slots >> 2; at < (slots + SLOTS_SIZE) >> 2; at++) {
        const record = this.#words[at]!;
        if (record === 0) continue;
        this.#words[(record + RECORD.HANDLER) >> 2] = STUB.STALE;
        this.#words[at] = 0;
      }
      this.#unmap(slots);
    }
  }

  #unmap(slots: number): void {
    const start = this.#tlbEntry(0, 0);
    for (let at = start; at < start + TLB_SETS * CODE_TLB.ENTRIES * 4; at += 4) {
      if (this.#words[at + 2] === slots) this.#words.fill(-1, at, at + 3);
    }
  }

  #tlbEntry(set: number, low: number): number {
    const index = (low >>> 12) & (CODE_TLB.ENTRIES - 1);
    const tlb = this.#base + INTERPRETER.CODE_TLB + set * CODE_TLB.SIZE;
    return (tlb + (index << CODE_TLB.ENTRY_SHIFT)) >> 2;
  }
}
