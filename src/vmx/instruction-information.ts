import { MASK32, MASK64 } from '../bits/u64.ts';
import type { Insn, Memory, Operand } from '../cpu/insn.ts';
import type { SegmentName } from '../cpu/state/layout.ts';

/*
 * The VM-exit instruction-information field and the displacement that goes with it.
 * Vol. 3, "Information for VM Exits Due to Instruction Execution".
 */

const SEGMENT_NUMBER: Readonly<Record<SegmentName, number>> = {
  ES: 0,
  CS: 1,
  SS: 2,
  DS: 3,
  FS: 4,
  GS: 5,
  LDTR: 0,
  TR: 0,
};
const ADDRESS_SIZE = { 2: 0, 4: 1, 8: 2 } as const;
const RIP = 16;
const REGISTER_FORM = 1 << 10;
const INDEX_INVALID = 1 << 22;
const BASE_INVALID = 1 << 27;

const memoryOf = (insn: Insn): Memory | undefined =>
  insn.operands.find((operand): operand is Memory => operand.kind === 'mem');

export const gprOf = (operand: Operand | undefined): number =>
  operand?.kind === 'gpr' ? operand.index : 0;

/** Scaling, address size, segment, index and base: bits 1:0, 9:7, 27:15. */
function address(insn: Insn): number {
  const size = ADDRESS_SIZE[insn.addressSize] << 7;
  const memory = memoryOf(insn);
  if (!memory) return size;
  const index = memory.index < 0 ? INDEX_INVALID : (memory.index << 18) | memory.scale;
  const base = memory.base < 0 || memory.base === RIP ? BASE_INVALID : memory.base << 23;
  return size | (SEGMENT_NUMBER[memory.segment] << 15) | index | base;
}

/** Displacement of the memory operand, RIP-relative ones resolved; 0 without one. `rip` is the instruction's. */
export function displacement(insn: Insn, rip: bigint): bigint {
  const memory = memoryOf(insn);
  if (!memory) return 0n;
  const relative = memory.base === RIP ? rip + BigInt(insn.length) : 0n;
  const mask = insn.addressSize === 8 ? MASK64 : insn.addressSize === 4 ? MASK32 : 0xffffn;
  return (memory.disp + relative) & mask;
}

/** VMCLEAR, VMPTRLD, VMPTRST, VMXON, XSAVES, XRSTORS: a memory operand. */
export const memoryInformation = (insn: Insn): number => address(insn) >>> 0;

/** INVEPT, INVVPID, INVPCID: a memory operand and a register in bits 31:28. */
export const invalidationInformation = (insn: Insn): number =>
  (address(insn) | (gprOf(insn.operands.find(({ kind }) => kind === 'gpr')) << 28)) >>> 0;

/** VMREAD and VMWRITE: `value` may be a register (bits 6:3), `field` is one (bits 31:28). */
export function fieldAccessInformation(insn: Insn, value: number, field: number): number {
  const operand = insn.operands[value];
  const where =
    operand?.kind === 'mem' ? address(insn) : REGISTER_FORM | (gprOf(operand) << 3) | address(insn);
  return (where | (gprOf(insn.operands[field]) << 28)) >>> 0;
}

const TABLE_IDENTITY: Readonly<Record<string, number>> = {
  SGDT: 0,
  SIDT: 1,
  LGDT: 2,
  LIDT: 3,
  SLDT: 0,
  STR: 1,
  LLDT: 2,
  LTR: 3,
};

/** LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR: the identity in bits 29:28. */
export function descriptorTableInformation(insn: Insn): number {
  const identity = (TABLE_IDENTITY[insn.op] ?? 0) << 28;
  const operand = insn.operands[0];
  if (operand?.kind === 'gpr') return (REGISTER_FORM | (operand.index << 3) | identity) >>> 0;
  const gdt = insn.op.endsWith('GDT') || insn.op.endsWith('IDT');
  const operandSize = gdt && insn.codeSize !== 8 && insn.size === 4 ? 1 << 11 : 0;
  return (address(insn) | operandSize | identity) >>> 0;
}

/** RDRAND and RDSEED: the register in bits 6:3, the operand size in bits 12:11. */
export function randomInformation(insn: Insn): number {
  const size = insn.size === 8 ? 2 : insn.size === 4 ? 1 : 0;
  return (gprOf(insn.operands[0]) << 3) | (size << 11);
}

/** INS and OUTS: the address size, and the segment of OUTS. */
export const stringIoInformation = (insn: Insn, segment: SegmentName | undefined): number =>
  (ADDRESS_SIZE[insn.addressSize] << 7) | (segment ? SEGMENT_NUMBER[segment] << 15 : 0);
