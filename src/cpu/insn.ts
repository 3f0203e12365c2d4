import type { Mnemonic } from './decode/mnemonics.ts';
import type { SegmentName } from './state/layout.ts';

export type { Mnemonic } from './decode/mnemonics.ts';

/** Bytes of an operand. */
export type Size = 1 | 2 | 4 | 8 | 10 | 14 | 16 | 28 | 32 | 94 | 108 | 512 | 576;

/** A decoded operand. Numbers a handler may read from a record (registers, imm, disp) are no part of a form. */
export type Operand =
  /** General register; `high` for AH CH DH BH (index 0–3). */
  | { readonly kind: 'gpr'; readonly index: number; readonly high?: boolean }
  /** `st` counts from the top of the stack; `seg` is the number in ModR/M, ES 0 … GS 5. */
  | { readonly kind: 'xmm' | 'mm' | 'st' | 'seg' | 'cr' | 'dr'; readonly index: number }
  /**
   * Extended to the operand size by the decoder as the instruction says, and unsigned of that many bytes:
   * 83 C0 FF, ADD EAX,-1, has 0xffff_ffffn. Vector controls, ports, shift counts and RET's count are zero-extended.
   */
  | { readonly kind: 'imm'; readonly value: bigint }
  /** Branch displacement from the end of the instruction, signed. */
  | { readonly kind: 'rel'; readonly displacement: bigint }
  /** Far pointer in the instruction. */
  | { readonly kind: 'far'; readonly selector: number; readonly offset: bigint }
  | Memory;

export interface Memory {
  readonly kind: 'mem';
  /** After overrides; in 64-bit mode only FS and GS override. */
  readonly segment: SegmentName;
  /** Register numbers; -1 none, 16 RIP (of the next instruction). */
  readonly base: number;
  readonly index: number;
  readonly scale: 0 | 1 | 2 | 3;
  /** Sign-extended displacement. */
  readonly disp: bigint;
}

/**
 * One decoded instruction: plain data, valid wherever the same bytes stand in the same code size.
 *
 * Mnemonics are the manual's. Where it uses one name for different things, or several for one:
 *
 * - JCC, SETCC, CMOVCC have their condition apart. JCC, JMP, CALL to a `rel`; JMP and CALL also through gpr or mem (near indirect).
 * - RET is near, CALLF JMPF RETF IRET far. CALLF and JMPF take `far`, or mem of `size` bytes of offset and a selector.
 * - MOVSEG, PUSHSEG, POPSEG, MOVCR, MOVDR are MOV, PUSH, POP of segment, control and debug registers.
 * - CBW, CWD, PUSHA, PUSHF, IRET, … go by `size`: CBW of 4 is CWDE, CWD of 8 is CQO. JCXZ goes by `addressSize`.
 * - SAL is SHL. Shift counts: `imm` (D0 and D1 have 1n), or gpr 1, which is CL whatever the size.
 * - MOVS CMPS STOS LODS SCAS INS OUTS carry their memory operands, base rSI or rDI of `addressSize`, in the manual's order:
 *   MOVS [rDI],[rSI]; CMPS [rSI],[rDI]; STOS [rDI],rAX; LODS rAX,[rSI]; SCAS rAX,[rDI]; INS [rDI],DX; OUTS DX,[rSI].
 *   DX as a port is gpr 2 and 2 bytes whatever the size. XLAT has [rBX]; MASKMOVQ/DQU have [rDI] third.
 * - IMUL has one, two or three operands; MUL DIV IDIV one. The implicit registers of MUL, CMPXCHG, ENTER … are not listed.
 * - MONITOR has [rAX], which nothing sizes.
 * - LGDT LIDT SGDT SIDT: `size` is that of the base's operand size (8 in 64-bit mode; 2 takes 24 bits).
 * - MOVD has 32-bit, MOVQ 64-bit partners. FXSAVE64, XSAVE64, … and PCMPESTRI64, … are the REX.W forms.
 * - 0F 18–1F hints without a name of their own are NOP with an operand that is not accessed.
 * - FSTPNCE is FSTP that only pops where ST(0) is empty.
 * - x87 arithmetic in registers names both, destination first, `size` 10; with memory it has the mem only, and its size.
 */
export interface Insn {
  readonly op: Mnemonic;
  /** Bytes of the first operand that is not an immediate; without one, the operand size. */
  readonly size: Size;
  /** Bytes of the next such operand where it differs (MOVZX, MOVSX, CRC32, CVTSI2SD, PMOVZXBW, …). */
  readonly sourceSize?: Size;
  /** 2, 4 or 8. */
  readonly addressSize: 2 | 4 | 8;
  /** Code size the bytes were decoded for. */
  readonly codeSize: 2 | 4 | 8;
  readonly operands: readonly Operand[];
  /** Condition code 0–15 of JCC, SETCC, CMOVCC. */
  readonly condition?: number;
  readonly lock?: boolean;
  /** Only on string instructions, and 'repne' only on CMPS and SCAS. */
  readonly rep?: 'rep' | 'repne';
  /** Encoded with VEX: #UD in real-address and virtual-8086 mode. */
  readonly vex?: boolean;
  /** x87: the 11 opcode bits that FOP keeps. */
  readonly fop?: number;
  readonly length: number;
}

/**
 * Why bytes are no instruction: the fault to raise; 'short' if it goes on behind the bytes there are,
 * and fetching those may fault first.
 */
export type DecodeFault = '#UD' | '#GP' | 'short';
