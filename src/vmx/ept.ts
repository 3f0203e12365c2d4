import { isSet } from '../bits/bitfield.ts';
import type { MemoryAccess, NestedPage } from '../cpu/ports.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import type { PhysicalWords } from '../memory/physical-memory.ts';
import { EPT_VPID_CAP, type VmxShape } from '../msr/vmx.ts';
import { EXIT_REASON } from './exit-reasons.ts';

/** EPT pointer. Vol. 3, "Extended-Page-Table Pointer (EPTP)". */
const EPTP = { TYPE: 0x7n, WALK: 0x38n, ACCESSED_DIRTY: 0x40n, RESERVED: 0xf80n } as const;
const WALK_LENGTH_4 = 3n << 3n;
const UC = 0n;
const WB = 6n;

/** What an EPTP must be, rule by rule. */
export const eptpTypeIsSupported = ({ eptVpid }: VmxShape, eptp: bigint): boolean =>
  ((eptp & EPTP.TYPE) === UC && isSet(eptVpid, EPT_VPID_CAP.MEMORY_TYPE_UC)) ||
  ((eptp & EPTP.TYPE) === WB && isSet(eptVpid, EPT_VPID_CAP.MEMORY_TYPE_WB));

export const eptpWalksFourLevels = (eptp: bigint): boolean => (eptp & EPTP.WALK) === WALK_LENGTH_4;

export const eptpMayFlag = ({ eptVpid }: VmxShape, eptp: bigint): boolean =>
  !isSet(eptp, EPTP.ACCESSED_DIRTY) || isSet(eptVpid, EPT_VPID_CAP.ACCESSED_DIRTY);

export const eptpReservedIsClear = (eptp: bigint): boolean => (eptp & EPTP.RESERVED) === 0n;

/** All of them, and the address within the physical-address width: what INVEPT and EPTP switching take. */
export const eptpIsValid = (shape: VmxShape, physicalWidth: number, eptp: bigint): boolean =>
  eptpTypeIsSupported(shape, eptp) &&
  eptpWalksFourLevels(eptp) &&
  eptpMayFlag(shape, eptp) &&
  eptpReservedIsClear(eptp) &&
  eptp >> BigInt(physicalWidth) === 0n;

/** Physical address of the EPT PML4 table. */
export const eptRoot = (eptp: bigint): number => Number(eptp & ~0xfffn);

/** Bits 31:0 of an EPT entry. */
// biome-ignore format: a table
const ENTRY = { R: 1, W: 2, X: 4, RWX: 7, TYPE: 0x38, LARGE: 0x80, A: 0x100, D: 0x200 } as const;

/** Exit qualification of an EPT violation. Vol. 3, "Exit Qualification for EPT Violations". */
// biome-ignore format: a table
const VIOLATION = {
  READ: 1, WRITE: 2, FETCH: 4, ALLOWED_SHIFT: 3, LINEAR_VALID: 1 << 7, TRANSLATION: 1 << 8, NMI_UNBLOCKING: 1 << 12,
} as const;

const LEVELS = 4;
const TWO32 = 2 ** 32;

/** One processor's extended page tables. Vol. 3, "The Extended Page Table Mechanism (EPT)". */
export class ExtendedPageTables {
  readonly #memory: PhysicalWords;
  readonly #physicalWidth: number;
  readonly #executeOnly: boolean;
  readonly #pages1G: boolean;
  readonly #pages2M: boolean;
  /** Bits 51:32 of an entry that are no address bits of this CPU, as bits 19:0. */
  readonly #reservedHigh: number;
  readonly #unblockedByIret: () => boolean;
  readonly #log: ((physical: number) => void) | undefined;
  readonly #addresses = new Float64Array(LEVELS);
  /** Physical address of the EPT PML4 table. */
  root = 0;
  #flags = false;

  /**
   * @param unblockedByIret whether the instruction under way is an IRET that has unblocked NMIs
   * @param log page-modification logging: hears of each page before its dirty flag is set
   */
  constructor(parts: {
    memory: PhysicalWords;
    shape: VmxShape;
    physicalWidth: number;
    eptp: bigint;
    unblockedByIret: () => boolean;
    log?: ((physical: number) => void) | undefined;
  }) {
    const { memory, shape, physicalWidth, eptp, unblockedByIret, log } = parts;
    this.#memory = memory;
    this.#physicalWidth = physicalWidth;
    this.#executeOnly = isSet(shape.eptVpid, EPT_VPID_CAP.EXECUTE_ONLY);
    this.#pages1G = isSet(shape.eptVpid, EPT_VPID_CAP.PAGE_1G);
    this.#pages2M = isSet(shape.eptVpid, EPT_VPID_CAP.PAGE_2M);
    this.#reservedHigh = 0xf_ffff & ~(2 ** (physicalWidth - 32) - 1);
    this.#unblockedByIret = unblockedByIret;
    this.#log = log;
    this.use(eptp);
  }

  /** Switches to another valid EPTP. */
  use(eptp: bigint): void {
    this.root = eptRoot(eptp);
    this.#flags = isSet(eptp, EPTP.ACCESSED_DIRTY);
  }

  /**
   * Guest-physical to host-physical.
   * @param walk the access is to a guest paging structure
   * @throws VmExit EPT violation, EPT misconfiguration, page-modification log full
   */
  translate(
    physical: number,
    access: MemoryAccess,
    linear: bigint | undefined,
    walk: boolean,
  ): NestedPage {
    // With accessed and dirty flags, guest paging structures are written, whatever is done to them.
    const asWrite = access === 'write' || (walk && this.#flags);
    const wanted =
      access === 'execute' ? ENTRY.X : asWrite ? (walk ? ENTRY.R | ENTRY.W : ENTRY.W) : ENTRY.R;
    let allowed: number = ENTRY.RWX;
    let table = this.root;
    let depth = 0;
    for (let level = LEVELS; ; level--) {
      const size = 2 ** (12 + 9 * (level - 1));
      const entry = table + (Math.floor(physical / size) % 512) * 8;
      const low = Number(this.#memory.read(entry, 4));
      const high = Number(this.#memory.read(entry + 4, 4));
      const rights = low & ENTRY.RWX;
      if (rights === 0) throw this.#violation(physical, access, 0, linear, walk);
      const leaf = level === 1 || (low & ENTRY.LARGE) !== 0;
      if (this.#misconfigured(low, high, level, leaf)) {
        throw new VmExit(EXIT_REASON.EPT_MISCONFIG, { guestPhysical: BigInt(physical) });
      }
      allowed &= rights;
      this.#addresses[depth++] = entry;
      if (!leaf) {
        table = ((low & ~0xfff) >>> 0) + (high & 0xf_ffff) * TWO32;
        continue;
      }
      if ((allowed & wanted) !== wanted) {
        throw this.#violation(physical, access, allowed, linear, walk);
      }
      if (this.#flags && asWrite && (low & ENTRY.D) === 0) this.#log?.(physical);
      const dirty = this.#flags ? this.#flag(depth, asWrite) : true;
      const base = ((low & ~0xfff) >>> 0) + (high & 0xf_ffff) * TWO32;
      return {
        physical: base - (base % size) + (physical % size),
        writable: (allowed & ENTRY.W) !== 0 && dirty,
        executable: (allowed & ENTRY.X) !== 0,
      };
    }
  }

  /** The same for software that walks the tables of its guest's guest: the VM exit is answered. */
  resolve(...access: Parameters<ExtendedPageTables['translate']>): NestedPage | VmExit {
    try {
      return this.translate(...access);
    } catch (thrown) {
      if (thrown instanceof VmExit) return thrown;
      throw thrown;
    }
  }

  /** Sets the accessed flags of the entries used, and the dirty flag of the last for a write; answers that one. */
  #flag(depth: number, write: boolean): boolean {
    let low = 0;
    for (let i = 0; i < depth; i++) {
      const entry = this.#addresses[i]!;
      low = Number(this.#memory.read(entry, 4));
      const wanted = ENTRY.A | (write && i === depth - 1 ? ENTRY.D : 0);
      if ((low & wanted) === wanted) continue;
      low |= wanted;
      this.#memory.write(entry, 4, BigInt(low >>> 0));
    }
    return (low & ENTRY.D) !== 0;
  }

  /** Vol. 3, "EPT Misconfigurations". */
  #misconfigured(low: number, high: number, level: number, leaf: boolean): boolean {
    const rights = low & ENTRY.RWX;
    if ((rights & (ENTRY.R | ENTRY.W)) === ENTRY.W) return true;
    if (rights === ENTRY.X && !this.#executeOnly) return true;
    if ((high & this.#reservedHigh) !== 0) return true;
    if (!leaf) return (low & 0x78) !== 0;
    if (level === 4) return true;
    const type = (low & ENTRY.TYPE) >>> 3;
    if (type === 2 || type === 3 || type === 7) return true;
    if (level === 3) return !this.#pages1G || (low & 0x3fff_f000) !== 0;
    if (level === 2) return !this.#pages2M || (low & 0x1f_f000) !== 0;
    return false;
  }

  #violation(
    physical: number,
    access: MemoryAccess,
    allowed: number,
    linear: bigint | undefined,
    walk: boolean,
  ): VmExit {
    const kind =
      access === 'execute'
        ? VIOLATION.FETCH
        : access === 'write'
          ? VIOLATION.WRITE
          : VIOLATION.READ;
    const qualification =
      kind |
      (walk && this.#flags ? VIOLATION.READ | VIOLATION.WRITE : 0) |
      (allowed << VIOLATION.ALLOWED_SHIFT) |
      (linear === undefined ? 0 : VIOLATION.LINEAR_VALID) |
      (linear === undefined || walk ? 0 : VIOLATION.TRANSLATION) |
      (this.#unblockedByIret() ? VIOLATION.NMI_UNBLOCKING : 0);
    return new VmExit(EXIT_REASON.EPT_VIOLATION, {
      qualification: BigInt(qualification),
      guestLinear: linear ?? 0n,
      guestPhysical: BigInt(physical),
    });
  }

  /** Whether `eptp` may be switched to. */
  accepts(shape: VmxShape, eptp: bigint): boolean {
    return eptpIsValid(shape, this.#physicalWidth, eptp);
  }
}
