import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import { CR0, CR4, EFER, RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import type { MemoryAccess, NonRoot } from '../ports.ts';
import { STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Breakpoints } from './breakpoints.ts';

/**
 * On whose behalf memory is accessed: code at CPL 3, code at CPL 0–2, or the CPU itself
 * (descriptor tables, TSS; an "implicit supervisor-mode access").
 */
export type Privilege = 'user' | 'supervisor' | 'implicit';

/** A translated linear address. */
export interface Translation {
  /** Physical address of the byte asked for. */
  readonly physical: number;
  /** Whether writes by the same privilege may now go to this 4-KiB page without a walk: allowed, and already dirty. */
  readonly writable: boolean;
  /** Whether the same privilege may read it (an execute-access may be to a page that data access may not touch). */
  readonly readable: boolean;
  readonly global: boolean;
  /** Bits of the offset in the linear page: 12, or more in a larger page. */
  readonly shift: number;
  /** A data breakpoint lies on the page, or it is the APIC-access page: no access to it may go without a walk. */
  readonly watched: boolean;
}

const PG = Number(CR0.PG);
const WP = Number(CR0.WP);
const PSE = Number(CR4.PSE);
const PAE = Number(CR4.PAE);
const PGE = Number(CR4.PGE);
const LA57 = Number(CR4.LA57);
const SMEP = Number(CR4.SMEP);
const SMAP = Number(CR4.SMAP);
const PKE = Number(CR4.PKE);
const LMA = Number(EFER.LMA);
const NXE = Number(EFER.NXE);
const AC = Number(RFLAGS.AC);

/** Bits 31:0 of a paging-structure entry. */
const ENTRY = { P: 1, W: 2, U: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const;

/** Page-fault error code. Vol. 3, "Page-Fault Exceptions". */
export const PAGE_FAULT = { P: 1, W: 2, U: 4, RSVD: 8, I: 16, PK: 32 } as const;

const TWO32 = 2 ** 32;
const MAX_LEVELS = 5;

/** Linear to physical, by the paging mode that CR0, CR4 and EFER choose. Vol. 3, "Paging". */
export class Paging {
  readonly #state: State;
  readonly #memory: PhysicalMemory;
  readonly #nonRoot: () => NonRoot | undefined;
  readonly #breakpoints: Breakpoints;
  /** Bits 63:32 of an entry that hold no address bit of this CPU. */
  readonly #reservedHigh: number;
  /** Entries passed in the current walk: their addresses and low halves. */
  readonly #addresses = new Float64Array(MAX_LEVELS);
  readonly #entries = new Uint32Array(MAX_LEVELS);

  constructor(
    state: State,
    memory: PhysicalMemory,
    physicalWidth: number,
    nonRoot: () => NonRoot | undefined,
    breakpoints: Breakpoints,
  ) {
    this.#state = state;
    this.#memory = memory;
    this.#nonRoot = nonRoot;
    this.#breakpoints = breakpoints;
    this.#reservedHigh = 0xf_ffff & ~(2 ** (physicalWidth - 32) - 1);
  }

  /** @throws Fault #PF, VmExit (nested translation) */
  translate(linear: bigint, access: MemoryAccess, privilege: Privilege): Translation {
    const view = this.#state.view;
    const base = this.#state.base;
    const cr0 = view.getUint32(base + STATE.CR0, true);
    if ((cr0 & PG) === 0) return this.#unpaged(linear, access);
    const cr4 = view.getUint32(base + STATE.CR4, true);
    const efer = view.getUint32(base + STATE.EFER, true);
    const linearLow = Number(linear & 0xffff_ffffn);
    const linearHigh = Number(linear >> 32n);

    const longMode = (efer & LMA) !== 0;
    const wide = (cr4 & PAE) !== 0;
    const nxe = wide && (efer & NXE) !== 0;
    const faultCode =
      (access === 'write' ? PAGE_FAULT.W : 0) |
      (privilege === 'user' ? PAGE_FAULT.U : 0) |
      (access === 'execute' && (nxe || (cr4 & SMEP) !== 0) ? PAGE_FAULT.I : 0);

    // The walk: rights accumulate in `allowed`, entries are kept for their accessed and dirty flags.
    let level = longMode ? ((cr4 & LA57) !== 0 ? 5 : 4) : wide ? 3 : 2;
    let table: number;
    let allowed = ENTRY.W | ENTRY.U;
    let noExecute = false;
    let low = 0;
    let high = 0;
    let depth = 0;

    if (longMode || !wide) {
      const cr3 = view.getUint32(base + STATE.CR3, true);
      table = (cr3 & ~0xfff) >>> 0;
      if (longMode) table += (view.getUint32(base + STATE.CR3 + 4, true) & 0xf_ffff) * TWO32;
    } else {
      const slot = base + STATE.PDPTE + (linearLow >>> 30) * 8;
      low = view.getUint32(slot, true);
      high = view.getUint32(slot + 4, true);
      if ((low & ENTRY.P) === 0) throw new Fault('#PF', faultCode, linear);
      table = ((low & ~0xfff) >>> 0) + (high & 0xf_ffff) * TWO32;
      level = 2;
    }

    let shift: number;
    for (;;) {
      shift = wide ? 12 + 9 * (level - 1) : 12 + 10 * (level - 1);
      const index = wide ? field9(linearLow, linearHigh, shift) : (linearLow >>> shift) & 0x3ff;
      const entry = table + index * (wide ? 8 : 4);
      const address = this.#host(entry, 'read', linear);
      low = this.#read32(address);
      high = wide ? this.#read32(address + 4) : 0;
      this.#addresses[depth] = entry;
      this.#entries[depth] = low;
      depth++;
      if ((low & ENTRY.P) === 0) throw new Fault('#PF', faultCode, linear);
      const leaf = level === 1 || ((low & ENTRY.PS) !== 0 && (wide || (cr4 & PSE) !== 0));
      if (this.#reserved(low, high, level, leaf, wide, longMode, nxe)) {
        throw new Fault('#PF', faultCode | PAGE_FAULT.P | PAGE_FAULT.RSVD, linear);
      }
      allowed &= low;
      if (wide && high >>> 31 !== 0) noExecute = true;
      if (leaf) break;
      table = ((low & ~0xfff) >>> 0) + (high & 0xf_ffff) * TWO32;
      level--;
    }

    // Access rights. Vol. 3, "Determination of Access Rights".
    const userPage = (allowed & ENTRY.U) !== 0;
    const writeProtected = (allowed & ENTRY.W) === 0;
    const enforceWrite = privilege === 'user' || (cr0 & WP) !== 0;
    let readable: boolean;
    if (privilege === 'user') readable = userPage;
    else if (!userPage || (cr4 & SMAP) === 0) readable = true;
    else {
      const flags = view.getUint32(base + STATE.RFLAGS_SYSTEM, true);
      readable = privilege === 'supervisor' && (flags & AC) !== 0;
    }
    let mayWrite = readable && !(writeProtected && enforceWrite);
    let keyDenies = false;
    if (userPage && longMode && (cr4 & PKE) !== 0) {
      const rights = view.getUint32(base + STATE.PKRU, true) >>> (((high >>> 27) & 15) * 2);
      const accessDenied = (rights & 1) !== 0;
      const writeDenied = (rights & 2) !== 0 && enforceWrite;
      keyDenies = access !== 'execute' && (accessDenied || (access === 'write' && writeDenied));
      if (accessDenied) readable = false;
      if (accessDenied || writeDenied) mayWrite = false;
    }
    let denied: boolean;
    if (access === 'execute') {
      denied = noExecute || (privilege === 'user' ? !userPage : userPage && (cr4 & SMEP) !== 0);
    } else denied = access === 'read' ? !readable : !mayWrite;
    if (denied) {
      throw new Fault('#PF', faultCode | PAGE_FAULT.P | (keyDenies ? PAGE_FAULT.PK : 0), linear);
    }

    // Accessed and dirty flags.
    for (let i = 0; i < depth; i++) {
      const last = i === depth - 1;
      const wanted = ENTRY.A | (last && access === 'write' ? ENTRY.D : 0);
      const entry = this.#entries[i]!;
      if ((entry & wanted) !== wanted) {
        const address = this.#host(this.#addresses[i]!, 'write', linear);
        this.#memory.write(address, 1, BigInt((entry | wanted) & 0xff));
        this.#entries[i] = entry | wanted;
      }
    }
    const dirty = (this.#entries[depth - 1]! & ENTRY.D) !== 0;

    // The page itself.
    const size = 2 ** shift;
    let physical = ((low & ~0xfff) >>> 0) + (high & 0xf_ffff) * TWO32;
    if (!wide && level === 2) {
      physical = ((low & 0xffc0_0000) >>> 0) + ((low >>> 13) & 0xff) * TWO32;
    }
    const offset = shift >= 32 ? 0 : linearLow & (size - 1);
    physical = physical - (physical % size) + (offset >>> 0);
    const page = this.#nested(physical, access, linear);
    const watched =
      (privilege !== 'implicit' && this.#breakpoints.watchesPage(linear)) ||
      this.#isApic(page.physical, access);
    return {
      physical: page.physical,
      writable: mayWrite && dirty && page.writable,
      readable,
      global: (low & ENTRY.G) !== 0 && (cr4 & PGE) !== 0,
      shift,
      watched,
    };
  }

  #unpaged(linear: bigint, access: MemoryAccess): Translation {
    const { physical, writable } = this.#nested(Number(linear & 0xffff_ffffn), access, linear);
    const watched = this.#breakpoints.watchesPage(linear) || this.#isApic(physical, access);
    return { physical, writable, readable: true, global: false, shift: 12, watched };
  }

  /** Whether a host-physical address is on the APIC-access page. @throws VmExit for a fetch from there */
  #isApic(physical: number, access: MemoryAccess): boolean {
    const nonRoot = this.#nonRoot();
    if (nonRoot?.apicAccessPage !== Math.floor(physical / 4096)) return false;
    if (access === 'execute') nonRoot.apicAccess('fetch', physical % 4096);
    return true;
  }

  #nested(
    physical: number,
    access: MemoryAccess,
    linear: bigint,
  ): { physical: number; writable: boolean } {
    const nested = this.#nonRoot()?.translate;
    return nested ? nested(physical, access, linear, false) : { physical, writable: true };
  }

  /** Whether an entry has a bit set that must be clear. Vol. 3, the "Format of …" tables of "Paging". */
  #reserved(
    low: number,
    high: number,
    level: number,
    leaf: boolean,
    wide: boolean,
    longMode: boolean,
    nxe: boolean,
  ): boolean {
    if (!wide) return leaf && level === 2 && (low & 0x20_0000) !== 0;
    if ((high & this.#reservedHigh) !== 0) return true;
    if (high >>> 31 !== 0 && !nxe) return true;
    if (!longMode && (high & 0x7ff0_0000) !== 0) return true;
    if (level >= 4) return (low & ENTRY.PS) !== 0;
    if (!leaf || level === 1) return false;
    return (low & (level === 3 ? 0x3fff_e000 : 0x001f_e000)) !== 0;
  }

  /** Host-physical address of the paging-structure entry at guest-physical `entry`. */
  #host(entry: number, access: MemoryAccess, linear: bigint): number {
    const nonRoot = this.#nonRoot();
    if (nonRoot === undefined) return entry;
    const physical = nonRoot.translate?.(entry, access, linear, true).physical ?? entry;
    if (nonRoot.apicAccessPage === Math.floor(physical / 4096)) nonRoot.apicAccess('walk', 0);
    return physical;
  }

  #read32(address: number): number {
    return address + 4 <= this.#memory.ramSize
      ? this.#memory.view.getUint32(this.#memory.ramBase + address, true)
      : Number(this.#memory.read(address, 4));
  }
}

/** Nine bits of a 64-bit number in two halves, from bit `shift` up. */
function field9(low: number, high: number, shift: number): number {
  if (shift >= 32) return (high >>> (shift - 32)) & 0x1ff;
  if (shift <= 23) return (low >>> shift) & 0x1ff;
  return ((low >>> shift) | (high << (32 - shift))) & 0x1ff;
}
