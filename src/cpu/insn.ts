import type { SegmentName } from './state/layout.ts';

/** Bytes of an operand. */
export type Size = 1 | 2 | 4 | 8 | 10 | 16 | 28 | 32 | 108 | 512;

/** A decoded operand. Numbers a handler may read from a record (registers, imm, disp) are no part of a form. */
export type Operand =
  /** General register; `high` for AH CH DH BH (index 0–3). */
  | { readonly kind: 'gpr'; readonly index: number; readonly high?: boolean }
  | { readonly kind: 'xmm' | 'mm' | 'st' | 'seg' | 'cr' | 'dr'; readonly index: number }
  /** Sign-extended to the operand size by the decoder, modulo 2^64. */
  | { readonly kind: 'imm'; readonly value: bigint }
  /** Branch displacement from the end of the instruction, signed. */
  | { readonly kind: 'rel'; readonly displacement: bigint }
  /** Far pointer in the instruction. */
  | { readonly kind: 'far'; readonly selector: number; readonly offset: bigint }
  | Memory;

export interface Memory {
  readonly kind: 'mem';
  readonly segment: SegmentName;
  /** Register numbers; -1 none, 16 RIP (of the next instruction). */
  readonly base: number;
  readonly index: number;
  readonly scale: 0 | 1 | 2 | 3;
  /** Sign-extended displacement. */
  readonly disp: bigint;
}

/** One decoded instruction: plain data, valid wherever the same bytes stand in the same code size. */
export interface Insn {
  /** The manual's mnemonic, condition codes split off: 'ADD', 'JCC', 'CMOVCC', 'MOVSB' is 'MOVS' with size 1. */
  readonly op: string;
  /** Operand size in bytes. */
  readonly size: Size;
  /** Size of the second operand where it differs (MOVZX, MOVSX, CRC32, …). */
  readonly sourceSize?: Size;
  /** 2, 4 or 8. */
  readonly addressSize: 2 | 4 | 8;
  /** Code size the bytes were decoded for. */
  readonly codeSize: 2 | 4 | 8;
  readonly operands: readonly Operand[];
  /** Condition code 0–15 of JCC, SETCC, CMOVCC. */
  readonly condition?: number;
  readonly lock?: boolean;
  readonly rep?: 'rep' | 'repne';
  readonly length: number;
}

/** Why bytes are no instruction: the fault to raise. */
export type DecodeFault = '#UD' | '#GP';
