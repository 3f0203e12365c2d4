import type { Operand, Size } from '../insn.ts';
import { type Cursor, SEGMENT_NUMBERS } from './cursor.ts';

/** One operand of a form: how to read it, and what it says about the instruction's size. */
export interface OperandReader {
  readonly read: (cursor: Cursor) => Operand;
  /** Its width; undefined if it says nothing about the instruction's. */
  readonly size: ((cursor: Cursor) => Size) | undefined;
  readonly modrm: boolean;
  /** Whether it may be the memory operand of ModRM. */
  readonly memory: boolean;
}

/** The second letter: how wide. Vol. 2, "Codes for Operand Type". */
// biome-ignore format: a table
const WIDTHS: Readonly<Record<string, (cursor: Cursor) => Size>> = {
  b: () => 1,  w: () => 2,  d: () => 4,  q: () => 8,  t: () => 10,  x: () => 16,
  v: (c) => c.operandSize,                              // word, doubleword or quadword
  z: (c) => (c.operandSize === 2 ? 2 : 4),              // word or doubleword
  y: (c) => (c.w ? 8 : 4),                              // doubleword or quadword
  r: (c) => (c.codeSize === 8 ? 8 : 4),                 // the mode's register width
  a: (c) => c.operandSize,                              // BOUND: two of these
  p: (c) => c.operandSize,                              // far pointer: selector after this much offset
  s: (c) => (c.codeSize === 8 ? 8 : c.operandSize),     // pseudo-descriptor: base of this much, limit
  e: (c) => (c.operandSize === 2 ? 14 : 28),            // x87 environment
  f: (c) => (c.operandSize === 2 ? 94 : 108),           // x87 state
  512: () => 512,                                       // FXSAVE area
  576: () => 576,                                       // XSAVE area: at least legacy region and header
};

/** A general register; without REX, byte registers 4–7 are AH CH DH BH. */
const gpr = (c: Cursor, index: number, size: Size): Operand =>
  size === 1 && !c.rex && index > 3 && index < 8
    ? { kind: 'gpr', index: index - 4, high: true }
    : { kind: 'gpr', index };

/** CR1, CR5–CR7 and CR9 on do not exist. Vol. 2, "MOV—Move to/from Control Registers". */
const CONTROL_REGISTERS = new Set([0, 2, 3, 4, 8]);

const MASK: Readonly<Record<number, bigint>> = { 1: 0xffn, 2: 0xffffn, 4: 0xffff_ffffn };
const narrow = (value: bigint, size: Size) => {
  const mask = MASK[size];
  return mask === undefined ? BigInt.asUintN(64, value) : value & mask;
};

type Read = (cursor: Cursor, size: Size) => Operand;

const memoryOnly: Read = (c) => (c.modrm < 0xc0 ? c.memory() : c.undefinedOpcode());
const registerOnly =
  (read: Read): Read =>
  (c, size) =>
    c.modrm >= 0xc0 ? read(c, size) : c.undefinedOpcode();
const registerOrMemory =
  (read: Read): Read =>
  (c, size) =>
    c.modrm >= 0xc0 ? read(c, size) : c.memory();

const rmGpr: Read = (c, size) => gpr(c, (c.modrm & 7) | c.b, size);
const rmXmm: Read = (c) => ({ kind: 'xmm', index: (c.modrm & 7) | c.b });
const rmMm: Read = (c) => ({ kind: 'mm', index: c.modrm & 7 });
const reg = (c: Cursor) => ((c.modrm >> 3) & 7) | c.r;

/** The first letter, where ModRM is needed: which operand. Vol. 2, "Codes for Addressing Method". */
// biome-ignore format: a table
const BY_MODRM: Readonly<Record<string, Read>> = {
  E: registerOrMemory(rmGpr),      M: memoryOnly,               R: rmGpr,
  G: (c, size) => gpr(c, reg(c), size),
  W: registerOrMemory(rmXmm),      U: registerOnly(rmXmm),      V: (c) => ({ kind: 'xmm', index: reg(c) }),
  Q: registerOrMemory(rmMm),       N: registerOnly(rmMm),       P: (c) => ({ kind: 'mm', index: reg(c) & 7 }),
  B: (c) => ({ kind: 'gpr', index: c.vvvv }), // VEX.vvvv
  S: (c) => ((reg(c) & 7) < 6 ? { kind: 'seg', index: reg(c) & 7 } : c.undefinedOpcode()),
  C: (c) => (CONTROL_REGISTERS.has(reg(c)) ? { kind: 'cr', index: reg(c) } : c.undefinedOpcode()),
  D: (c) => (reg(c) < 8 ? { kind: 'dr', index: reg(c) } : c.undefinedOpcode()),
};

/** Registers whatever ModRM.mod says. Of the others, those that do not allow memory must see it to refuse it. */
const NEVER_MEMORY = new Set(['R', 'G', 'V', 'P', 'B', 'S', 'C', 'D']);

/** The first letter, where it is not. */
// biome-ignore format: a table
const BY_OPCODE: Readonly<Record<string, Read>> = {
  Z: (c, size) => gpr(c, (c.opcode & 7) | c.b, size), // register in the opcode's low three bits
  X: (c) => c.at(6, c.segment ?? 'DS'),               // DS:rSI, segment overridable
  Y: (c) => c.at(7, 'ES'),                            // ES:rDI, not overridable
  O: (c) => c.absolute(),                             // offset in the instruction
  A: (c, size) => {                                   // far pointer in the instruction
    const offset = c.unsigned(size);
    return { kind: 'far', selector: Number(c.unsigned(2)), offset };
  },
};

/** Operands spelt out, and what they say about size. */
// biome-ignore format: a table
const FIXED: Readonly<Record<string, { read: (cursor: Cursor) => Operand; size?: string }>> = {
  AL:      { read: () => ({ kind: 'gpr', index: 0 }), size: 'b' },
  AX:      { read: () => ({ kind: 'gpr', index: 0 }), size: 'w' },
  eAX:     { read: () => ({ kind: 'gpr', index: 0 }), size: 'z' },
  rAX:     { read: () => ({ kind: 'gpr', index: 0 }), size: 'v' },
  CL:      { read: () => ({ kind: 'gpr', index: 1 }) },
  DX:      { read: () => ({ kind: 'gpr', index: 2 }) },
  XMM0:    { read: () => ({ kind: 'xmm', index: 0 }) },
  ST:      { read: () => ({ kind: 'st', index: 0 }), size: 't' },
  '1':     { read: () => ({ kind: 'imm', value: 1n }) },
  '[rAX]': { read: (c) => c.at(0, c.segment ?? 'DS') },
  '[rBX]': { read: (c) => c.at(3, c.segment ?? 'DS'), size: 'b' },
  '[rDI]': { read: (c) => c.at(7, c.segment ?? 'DS') },
  ...Object.fromEntries(
    SEGMENT_NUMBERS.map((name, index) => [name, { read: () => ({ kind: 'seg', index }) as const }]),
  ),
};

/** Immediates and displacements: how many bytes stand in the instruction. */
// biome-ignore format: a table
const IMMEDIATES: Readonly<Record<string, (cursor: Cursor) => Operand>> = {
  Ib:  (c) => ({ kind: 'imm', value: c.unsigned(1) }),
  Iw:  (c) => ({ kind: 'imm', value: c.unsigned(2) }),
  Ibs: (c) => ({ kind: 'imm', value: narrow(c.signed(1), c.operandSize) }), // sign-extended
  Iz:  (c) => ({ kind: 'imm', value: narrow(c.signed(c.operandSize === 2 ? 2 : 4), c.operandSize) }),
  Iv:  (c) => ({ kind: 'imm', value: c.unsigned(c.operandSize) }),
  Jb:  (c) => ({ kind: 'rel', displacement: c.signed(1) }),
  Jz:  (c) => ({ kind: 'rel', displacement: c.signed(c.operandSize === 2 ? 2 : 4) }),
};

function oneReader(token: string): OperandReader {
  const immediate = IMMEDIATES[token];
  if (immediate) return { read: immediate, size: undefined, modrm: false, memory: false };

  const fixed = FIXED[token];
  if (fixed)
    return { read: fixed.read, size: WIDTHS[fixed.size ?? ''], modrm: false, memory: false };

  if (token === 'STi') {
    return {
      read: (c) => ({ kind: 'st', index: c.modrm & 7 }),
      size: WIDTHS['t'],
      modrm: true,
      memory: false,
    };
  }
  const letter = token.slice(0, 1);
  const size = WIDTHS[token.slice(1)];
  const byModrm = BY_MODRM[letter];
  const read = byModrm ?? BY_OPCODE[letter];
  if (!read || (!size && token !== 'M')) throw new Error(`no such operand: ${token}`);
  const width = size ?? (() => 1 as const);
  return {
    read: (c) => read(c, width(c)),
    // Segment registers say nothing about the size, nor does an address that is not accessed.
    size: letter === 'S' ? undefined : size,
    modrm: byModrm !== undefined,
    memory: byModrm !== undefined && !NEVER_MEMORY.has(letter),
  };
}

/** The reader of an operand code; `Rd/Mw` is one code for the register form, one for memory. */
export function operandReader(token: string): OperandReader {
  const [inRegister = '', inMemory] = token.split('/');
  const register = oneReader(inRegister);
  if (inMemory === undefined) return register;
  const memory = oneReader(inMemory);
  const side = (c: Cursor) => (c.modrm >= 0xc0 ? register : memory);
  return { read: (c) => side(c).read(c), size: (c) => side(c).size!(c), modrm: true, memory: true };
}
