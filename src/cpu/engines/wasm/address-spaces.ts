import { CR0, CR4, EFER } from '../../control-registers.ts';
import { STATE } from '../../state/layout.ts';
import type { Core } from '../../system/core.ts';
import { isStale, type Stale, type TranslationTags } from '../../system/translation-tags.ts';

/** First-level TLBs in linear memory: one set for each of the address spaces used last. */
export const TLB_SETS = 4;
/** Address spaces that are known at a time. */
const MOST_SPACES = 64;

/** Translations that may be used together: those with the same tags, and rights worked out from the same control bits. */
export interface AddressSpace {
  readonly tags: TranslationTags;
  /** The control bits that rights depend on, and PKRU where protection keys are on. */
  readonly rights: number;
  readonly pkru: number;
  /** Number that no other address space has or had; a new one makes what the second level knows under the old one void. */
  epoch: number;
  /** Its first-level TLBs; -1 while it has none. */
  set: number;
  /** Which pages of more than 4 KiB are remembered parts of: they go together. */
  readonly large: LargePages;
}

/** Sizes of pages above 4 KiB, as bits of an offset: 2 and 4 MiB, 1 GiB. */
const LARGE_SHIFTS = [21, 22, 30] as const;

/** A set of pages of more than 4 KiB. */
export class LargePages {
  /** For each size, which addresses divided by it. */
  readonly #numbers = LARGE_SHIFTS.map(() => new Set<number>());

  add(linear: bigint, shift: number): void {
    this.#numbers[LARGE_SHIFTS.indexOf(shift as 21)]?.add(Number(linear >> BigInt(shift)));
  }

  has(linear: bigint): boolean {
    const number = Number(linear >> 21n);
    return this.#numbers.some((numbers, i) => {
      if (numbers.size === 0) return false;
      return numbers.has(Math.floor(number / 2 ** (LARGE_SHIFTS[i]! - LARGE_SHIFTS[0])));
    });
  }

  clear(): void {
    for (const numbers of this.#numbers) numbers.clear();
  }
}

/** The TLBs that an address space has entries in. */
interface Level {
  /** Forgets all entries of a set. */
  wipe(set: number): void;
  /** Forgets the page of a linear address. */
  flushPage(space: AddressSpace, linear: bigint): void;
}

/**
 * Bits of control registers that a translation's rights or format depend on.
 * Because they are part of what tells address spaces apart, changing them makes nothing stale.
 */
const CR0_RIGHTS = Number(CR0.PG | CR0.WP);
const CR4_RIGHTS = Number(CR4.PSE | CR4.PAE | CR4.LA57 | CR4.SMEP | CR4.SMAP | CR4.PKE);
const EFER_RIGHTS = Number(EFER.NXE | EFER.LMA);
const CR4_PKE = Number(CR4.PKE);
const CR4_PCIDE = Number(CR4.PCIDE);

/** The address spaces of one CPU whose translations the interpreter remembers, most recently used first. */
export class AddressSpaces {
  readonly #core: Core;
  readonly #levels: readonly Level[];
  readonly #spaces: AddressSpace[] = [];
  /** Who has each set, and when it last got it. */
  readonly #owners: (AddressSpace | undefined)[] = Array.from({ length: TLB_SETS });
  #epoch = 0;

  constructor(core: Core, levels: readonly Level[]) {
    this.#core = core;
    this.#levels = levels;
  }

  /** The one that the CPU's state chooses; it has first-level TLBs. */
  current(): AddressSpace {
    const { state, nonRoot } = this.#core;
    const cr4 = state.get32(STATE.CR4);
    const vpid = nonRoot?.vpid ?? 0;
    const ept = nonRoot?.ept;
    const pcid = (cr4 & CR4_PCIDE) === 0 ? 0 : state.get32(STATE.CR3) & 0xfff;
    // The bits kept of the three registers lie apart.
    const rights =
      (state.get32(STATE.CR0) & CR0_RIGHTS) |
      (cr4 & CR4_RIGHTS) |
      (state.get32(STATE.EFER) & EFER_RIGHTS);
    const pkru = (cr4 & CR4_PKE) === 0 ? 0 : state.get32(STATE.PKRU);
    const spaces = this.#spaces;
    for (let i = 0; i < spaces.length; i++) {
      const space = spaces[i]!;
      const { tags } = space;
      if (tags.vpid !== vpid || tags.pcid !== pcid || tags.ept !== ept) continue;
      if (space.rights !== rights || space.pkru !== pkru) continue;
      if (i > 0) {
        spaces.copyWithin(1, 0, i);
        spaces[0] = space;
      }
      return this.#placed(space);
    }
    if (spaces.length === MOST_SPACES) this.#displace(spaces.pop()!);
    const space = {
      tags: { vpid, pcid, ept },
      rights,
      pkru,
      epoch: ++this.#epoch,
      set: -1,
      large: new LargePages(),
    };
    spaces.unshift(space);
    return this.#placed(space);
  }

  /** Forgets translations. */
  flush(stale: Stale): void {
    const { linear } = stale;
    for (const space of this.#spaces) {
      if (!isStale(stale, space.tags)) continue;
      // Vol. 3, "Operations that Invalidate TLBs": one address stands for its whole page, however large.
      if (linear === undefined || space.large.has(linear)) this.#forget(space);
      else for (const level of this.#levels) level.flushPage(space, linear);
    }
  }

  #forget(space: AddressSpace): void {
    space.epoch = ++this.#epoch;
    space.large.clear();
    if (space.set >= 0) for (const level of this.#levels) level.wipe(space.set);
  }

  /** Gives an address space the set of the one that has not been used for longest, if it has none. */
  #placed(space: AddressSpace): AddressSpace {
    if (space.set >= 0) return space;
    let set = this.#owners.indexOf(undefined);
    if (set < 0) {
      const last = this.#spaces.findLast((other) => other.set >= 0)!;
      set = last.set;
      this.#displace(last);
    }
    space.set = set;
    this.#owners[set] = space;
    for (const level of this.#levels) level.wipe(set);
    return space;
  }

  #displace(space: AddressSpace): void {
    if (space.set < 0) return;
    this.#owners[space.set] = undefined;
    space.set = -1;
  }
}
