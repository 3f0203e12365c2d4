import type { Stale } from '../system/translation-tags.ts';
import { Cache } from './cache.ts';

/** Entries and ways of the first-level and the shared second-level TLB. */
export interface TlbShape {
  readonly dtlb: { readonly entries: number; readonly ways: number };
  readonly itlb: { readonly entries: number; readonly ways: number };
  readonly stlb: { readonly entries: number; readonly ways: number };
}

/** Where a translation was found. */
export type Translation = 'TLB' | 'STLB' | 'walk';

/**
 * The modelled TLBs, on 4-KiB pages whatever the page size. They are apart from the engines' own caches of
 * translations, which no guest can see.
 */
export class Tlbs {
  readonly #dtlb: Cache;
  readonly #itlb: Cache;
  readonly #stlb: Cache;

  constructor({ dtlb, itlb, stlb }: TlbShape) {
    const cacheOf = ({ entries, ways }: { entries: number; ways: number }) =>
      new Cache({ bytes: entries, ways }, 1);
    this.#dtlb = cacheOf(dtlb);
    this.#itlb = cacheOf(itlb);
    this.#stlb = cacheOf(stlb);
  }

  /** @param page bits 42:12 of the linear address */
  access(kind: 'data' | 'code', page: number): Translation {
    if ((kind === 'data' ? this.#dtlb : this.#itlb).access(page)) return 'TLB';
    return this.#stlb.access(page) ? 'STLB' : 'walk';
  }

  /** Neither tags nor global pages are told apart: what spares others flushes them here. */
  flush({ linear }: Stale): void {
    for (const tlb of this.#all) {
      if (linear !== undefined) tlb.drop(pageOf(linear));
      else tlb.clear();
    }
  }

  save(): readonly (readonly number[])[] {
    return this.#all.map((tlb) => tlb.save());
  }

  restore(saved: readonly (readonly number[])[]): void {
    this.#all.forEach((tlb, i) => {
      tlb.restore(saved[i]!);
    });
  }

  get #all(): readonly Cache[] {
    return [this.#dtlb, this.#itlb, this.#stlb];
  }
}

/** Bits 42:12: enough to tell apart the pages of one address space of 8 TiB. */
const pageOf = (linear: bigint): number => Number((linear >> 12n) & 0x7fff_ffffn);
