import { bits } from '../../bits/bitfield.ts';
import type { Segment } from '../state/state.ts';

/** Access rights of a segment, in the VMCS format. Vol. 3, "Guest Register State". */
// biome-ignore format: a table
export const RIGHTS = {
  ACCESSED: 1 << 0, WRITABLE: 1 << 1, EXPAND_DOWN: 1 << 2, CODE: 1 << 3,
  TYPE: 0xf, S: 1 << 4, DPL: 3 << 5, P: 1 << 7, AVL: 1 << 12, L: 1 << 13, DB: 1 << 14, G: 1 << 15, UNUSABLE: 1 << 16,
} as const;
/** Names of the same type bits for a code segment. */
export const CODE_RIGHTS = { READABLE: 1 << 1, CONFORMING: 1 << 2 } as const;

/** System-segment and gate types. Vol. 3, "System Descriptor Types". */
// biome-ignore format: a table
export const SYSTEM_TYPE = {
  TSS16: 1, LDT: 2, BUSY_TSS16: 3, CALL_GATE16: 4, TASK_GATE: 5, INTERRUPT_GATE16: 6, TRAP_GATE16: 7,
  TSS: 9, BUSY_TSS: 11, CALL_GATE: 12, INTERRUPT_GATE: 14, TRAP_GATE: 15,
} as const;

export const dpl = (rights: number): number => (rights >> 5) & 3;

/** An unusable segment register, as loading a null selector leaves it. */
export const NULL_SEGMENT: Segment = { selector: 0, base: 0n, limit: 0, rights: RIGHTS.UNUSABLE };

/** A raw 8-byte segment descriptor. */
export interface Descriptor {
  readonly raw: bigint;
  readonly rights: number;
  readonly base: bigint;
  /** In bytes, scaled by G. */
  readonly limit: number;
}

const TYPE_TO_P = bits(47, 40);

/** Vol. 3, "Segment Descriptors". */
export function parseDescriptor(raw: bigint): Descriptor {
  const low = Number(raw & 0xffff_ffffn);
  const high = Number((raw >> 32n) & 0xffff_ffffn);
  const rights = Number((raw & TYPE_TO_P) >> 40n) | ((high >> 8) & 0xf000);
  const limit = (low & 0xffff) | (high & 0xf_0000);
  return {
    raw,
    rights,
    base: BigInt((low >>> 16) + (high & 0xff) * 0x1_0000 + (high >>> 24) * 0x100_0000),
    limit: (rights & RIGHTS.G) === 0 ? limit : limit * 4096 + 4095,
  };
}

/** Whether a descriptor is a code segment; data and system ones are not. */
export const isCode = (rights: number): boolean =>
  (rights & (RIGHTS.S | RIGHTS.CODE)) === (RIGHTS.S | RIGHTS.CODE);
export const isData = (rights: number): boolean => (rights & (RIGHTS.S | RIGHTS.CODE)) === RIGHTS.S;
export const isConforming = (rights: number): boolean =>
  isCode(rights) && (rights & CODE_RIGHTS.CONFORMING) !== 0;
export const isReadable = (rights: number): boolean =>
  isData(rights) || (isCode(rights) && (rights & CODE_RIGHTS.READABLE) !== 0);
export const isWritableData = (rights: number): boolean =>
  isData(rights) && (rights & RIGHTS.WRITABLE) !== 0;
/** Type of a system segment or gate, undefined for code and data. */
export const systemType = (rights: number): number | undefined =>
  (rights & RIGHTS.S) === 0 ? rights & RIGHTS.TYPE : undefined;
