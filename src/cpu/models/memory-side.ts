import { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import type { Total } from '../state/layout.ts';
import type { ModelArea } from './area.ts';
import { countOne } from './charge.ts';
import type { CacheShape, MicroArchitectureParameters } from './parameters.ts';
import type { Push } from './predictor.ts';
import { SetAssociative } from './set-associative.ts';

/** Size of a cache line in bytes. */
export const LINE = 64;
const PAGE = 4096;
const LINE_SHIFT = 6;
const PAGE_SHIFT = 12;
/** What no line and no page is: they are multiples of their sizes. */
const NONE = -1n;
/** The physical line of what is no RAM. */
const NOWHERE = -1;

/** Translations remembered, so that not every access walks the real page tables. A power of two. */
const REMEMBERED = 1024;
/** One of them: linear address of the page, first physical line. */
const TRANSLATION = { PAGE: 0, LINE: 8, SHIFT: 4 } as const;
/** Sets of a first-level cache that the recent table tells apart at most: those within a page. */
const FILTERED = PAGE / LINE;

/** The two sides of the first level. */
const KINDS = ['data', 'code'] as const;
type Kind = (typeof KINDS)[number];

/** Function indices of what the code here calls. */
export interface MemorySideCalls {
  /** Of TypeScript: (low, high half of a page's linear address) → its first physical line, or NOWHERE */
  readonly page: number;
  readonly l1d: number;
  readonly l1i: number;
  readonly l2: number;
  readonly llc: number;
  readonly dtlb: number;
  readonly itlb: number;
  readonly stlb: number;
}
export type Lookup = Exclude<keyof MemorySideCalls, 'page'>;

/** What the memory side needs to resume; plain data. */
export interface SavedMemorySide {
  readonly tables: Readonly<Record<Lookup, readonly number[]>>;
  readonly recent: Readonly<Record<Kind, readonly bigint[]>>;
}

const cache = ({ bytes, ways }: { bytes: number; ways: number }) => ({
  entries: bytes / LINE,
  ways,
});

/**
 * Caches and TLBs of the model. An access to the line that its first-level set was last used for costs nothing, changes
 * nothing and is not looked up, its translation neither: generated code tests that inline, by the *recent* tables.
 */
export class MemorySide {
  readonly #penalties: MicroArchitectureParameters['penalties'];
  readonly #base: number;
  readonly tables: Readonly<Record<Lookup, SetAssociative>>;
  /** The linear line that each set of the first-level caches was last used for. */
  readonly #recent: Readonly<Record<Kind, BigInt64Array>>;
  readonly #translations: BigInt64Array;

  constructor(area: ModelArea, base: number, parameters: MicroArchitectureParameters) {
    const { caches, tlbs, penalties } = parameters;
    const { buffer } = area.memory;
    const quadwords = (count: number) => new BigInt64Array(buffer, area.take(8 * count), count);
    this.#penalties = penalties;
    this.#base = base;
    const table = (shape: { entries: number; ways: number }) => new SetAssociative(area, shape);
    this.tables = {
      l1d: table(cache(caches.l1d)),
      l1i: table(cache(caches.l1i)),
      l2: table(cache(caches.l2)),
      llc: table(cache(caches.llc)),
      dtlb: table(tlbs.dtlb),
      itlb: table(tlbs.itlb),
      stlb: table(tlbs.stlb),
    };
    const sets = ({ bytes, ways }: CacheShape) => Math.min(FILTERED, bytes / LINE / ways);
    this.#recent = { data: quadwords(sets(caches.l1d)), code: quadwords(sets(caches.l1i)) };
    this.#translations = quadwords(2 * REMEMBERED);
    this.forgetTranslations();
  }

  /**
   * Leaves whether `bytes` bytes at a linear address, an i64, must be looked up; what crosses the end of its line always.
   */
  unlikeRecent(f: FunctionWriter, kind: Kind, linear: Push, bytes: Push): void {
    this.#recentEntry(f, kind, linear);
    f.memory('i64.load', this.#recent[kind].byteOffset);
    linear();
    bytes();
    f.op('i64.extend_i32_u', 'i64.add').i64(1).op('i64.sub').i64(-LINE).op('i64.and', 'i64.ne');
  }

  /** Leaves the offset of the entry for an address in the recent table. */
  #recentEntry(f: FunctionWriter, kind: Kind, linear: Push): void {
    linear();
    f.i64(LINE_SHIFT - 3).op('i64.shr_u', 'i32.wrap_i64');
    f.i32((this.#recent[kind].length - 1) << 3).op('i32.and');
  }

  #remember(f: FunctionWriter, kind: Kind, linear: Push): void {
    this.#recentEntry(f, kind, linear);
    linear();
    f.i64(-LINE).op('i64.and').memory('i64.store', this.#recent[kind].byteOffset);
  }

  /** (linear address, bytes, 1 for a store) of a data access → its cycles; in pieces where it lies in two pages */
  access(piece: number, beyond: number, calls: MemorySideCalls): FunctionWriter {
    const f = new FunctionWriter(['i64', 'i32', 'i32'], ['i32']);
    const [linear, size, store] = [0, 1, 2];
    const room = f.local('i32');
    f.i32(PAGE)
      .get(linear)
      .op('i32.wrap_i64')
      .i32(PAGE - 1)
      .op('i32.and', 'i32.sub')
      .tee(room);
    f.get(size).op('i32.lt_u');
    f.if(undefined, () => {
      f.get(linear).get(room).get(store).call(piece);
      f.get(linear).get(room).op('i64.extend_i32_u', 'i64.add');
      f.get(size).get(room).op('i32.sub').get(store).call(piece).op('i32.add', 'return');
    });
    return this.#inPage(f, beyond, calls);
  }

  /** The same within one page. */
  piece(beyond: number, calls: MemorySideCalls): FunctionWriter {
    return this.#inPage(new FunctionWriter(['i64', 'i32', 'i32'], ['i32']), beyond, calls);
  }

  #inPage(f: FunctionWriter, beyond: number, calls: MemorySideCalls): FunctionWriter {
    const [linear, size, store] = [0, 1, 2];
    const [line, last, cycles] = [f.local('i32'), f.local('i32'), f.local('i32')];
    this.#translate(f, linear, line, calls);
    f.get(line).i32(NOWHERE).op('i32.eq');
    f.if(undefined, () => f.i32(0).op('return'));
    this.#translated(f, linear, 'dtlb', calls, () => {
      f.get(store).if(
        undefined,
        () => countOne(f, this.#base, 'storeWalks'),
        () => countOne(f, this.#base, 'loadWalks'),
      );
    });
    f.set(cycles);
    f.get(line)
      .get(linear)
      .op('i32.wrap_i64')
      .i32(LINE - 1)
      .op('i32.and')
      .get(size)
      .op('i32.add');
    f.i32(1).op('i32.sub').i32(LINE_SHIFT).op('i32.shr_u', 'i32.add').set(last);
    f.loop((next) => {
      this.tables.l1d.find(f, line, calls.l1d);
      f.op('i32.eqz').if(undefined, () => {
        countOne(f, this.#base, 'l1dMisses');
        f.get(line).call(beyond).get(cycles).op('i32.add').set(cycles);
      });
      this.#remember(f, 'data', () => f.get(linear));
      f.get(linear).i64(LINE).op('i64.add').set(linear);
      f.get(line).i32(1).op('i32.add').tee(line).get(last).op('i32.le_u').branchIf(next);
    });
    return f.get(cycles);
  }

  /** (linear address, bytes) of an instruction → the cycles of its fetch, line by line */
  fetch(beyond: number, calls: MemorySideCalls): FunctionWriter {
    const f = new FunctionWriter(['i64', 'i32'], ['i32']);
    const [linear, length] = [0, 1];
    const [last, cycles, line] = [f.local('i64'), f.local('i32'), f.local('i32')];
    f.get(linear).get(length).op('i64.extend_i32_u', 'i64.add').i64(1).op('i64.sub').set(last);
    f.loop((next) => {
      this.unlikeRecent(
        f,
        'code',
        () => f.get(linear),
        () => f.i32(1),
      );
      f.if(undefined, () => {
        this.#translate(f, linear, line, calls);
        f.get(line).i32(NOWHERE).op('i32.ne');
        f.if(undefined, () => {
          this.#translated(f, linear, 'itlb', calls, () => countOne(f, this.#base, 'codeWalks'));
          f.get(cycles).op('i32.add').set(cycles);
          this.tables.l1i.find(f, line, calls.l1i);
          f.op('i32.eqz');
          f.if(undefined, () => f.get(line).call(beyond).get(cycles).op('i32.add').set(cycles));
          this.#remember(f, 'code', () => f.get(linear));
        });
      });
      f.get(linear).i64(-LINE).op('i64.and').i64(LINE).op('i64.add').tee(linear);
      f.get(last).op('i64.le_u').branchIf(next);
    });
    return f.get(cycles);
  }

  /** (physical line) that missed a first-level cache → cycles until it is found */
  beyond(calls: MemorySideCalls): FunctionWriter {
    const { l2, llc, memory } = this.#penalties;
    const f = new FunctionWriter(['i32'], ['i32']);
    const found = (where: number, cycles: number, otherwise: readonly Total[]) => {
      f.get(0)
        .call(where)
        .if(undefined, () => f.i32(cycles).op('return'));
      for (const total of otherwise) countOne(f, this.#base, total);
    };
    found(calls.l2, l2, ['l2Misses', 'llcReferences']);
    found(calls.llc, llc, ['llcMisses']);
    return f.i32(memory);
  }

  /** (physical line) of a prefetch: it is in every level then, and nothing is counted */
  prefetch({ l1d, l2, llc }: MemorySideCalls): FunctionWriter {
    const f = new FunctionWriter(['i32'], []);
    for (const cache of [l1d, l2, llc]) {
      f.get(0)
        .call(cache)
        .if(undefined, () => f.op('return'));
    }
    return f;
  }

  /** The physical line of a linear address, an i64 local, or NOWHERE in an i32 local. */
  #translate(f: FunctionWriter, linear: number, line: number, calls: MemorySideCalls): void {
    const entry = f.local('i32');
    const at = this.#translations.byteOffset;
    const page = () => f.get(linear).i64(-PAGE).op('i64.and');
    f.get(linear)
      .i64(PAGE_SHIFT - TRANSLATION.SHIFT)
      .op('i64.shr_u', 'i32.wrap_i64');
    f.i32((REMEMBERED - 1) << TRANSLATION.SHIFT)
      .op('i32.and')
      .tee(entry);
    f.memory('i64.load', at + TRANSLATION.PAGE);
    page();
    f.op('i64.ne').if(undefined, () => {
      f.get(entry);
      page();
      f.op('i32.wrap_i64');
      f.get(linear).i64(32).op('i64.shr_u', 'i32.wrap_i64').call(calls.page);
      f.memory('i32.store', at + TRANSLATION.LINE);
      f.get(entry);
      page();
      f.memory('i64.store', at + TRANSLATION.PAGE);
    });
    f.get(entry)
      .memory('i32.load', at + TRANSLATION.LINE)
      .tee(line)
      .i32(NOWHERE)
      .op('i32.ne');
    f.if(undefined, () => {
      f.get(line)
        .get(linear)
        .op('i32.wrap_i64')
        .i32(PAGE - 1)
        .op('i32.and')
        .i32(LINE_SHIFT);
      f.op('i32.shr_u', 'i32.add').set(line);
    });
  }

  /** Something was done to the caches or TLBs from outside: nothing is known to be the most recent any more. */
  interrupted(): void {
    for (const kind of KINDS) this.#recent[kind].fill(NONE);
  }

  /** Page tables have changed, or another address space is in use. */
  forgetTranslations(): void {
    this.interrupted();
    this.#translations.fill(NONE);
  }

  /** A linear page as the TLBs know it: bits 42:12 of the address, apart for 8 TiB of address space. */
  static pageKey(linear: bigint): number {
    return Number((linear >> 12n) & 0x7fff_ffffn);
  }

  save(): SavedMemorySide {
    const tables = Object.entries(this.tables).map(([name, table]) => [name, table.save()]);
    return {
      tables: Object.fromEntries(tables) as SavedMemorySide['tables'],
      recent: { data: [...this.#recent.data], code: [...this.#recent.code] },
    };
  }

  restore({ tables, recent }: SavedMemorySide): void {
    for (const [name, table] of Object.entries(this.tables)) table.restore(tables[name as Lookup]);
    this.forgetTranslations();
    for (const kind of KINDS) this.#recent[kind].set(recent[kind]);
  }

  /** Leaves the cycles of finding a translation in the TLBs. */
  #translated(
    f: FunctionWriter,
    linear: number,
    first: 'dtlb' | 'itlb',
    calls: MemorySideCalls,
    walk: () => void,
  ): void {
    const { stlb, walk: walked } = this.#penalties;
    const key = f.local('i32');
    f.get(linear).i64(PAGE_SHIFT).op('i64.shr_u').i64(0x7fff_ffff).op('i64.and', 'i32.wrap_i64');
    f.set(key);
    this.tables[first].find(f, key, calls[first]);
    const behind = () => {
      f.get(key).call(calls.stlb);
      f.if(
        'i32',
        () => f.i32(stlb),
        () => {
          walk();
          f.i32(walked);
        },
      );
    };
    f.if('i32', () => f.i32(0), behind);
  }
}
