import type { Insn, Memory, Operand, Size } from '../../../src/cpu/insn.ts';

/**
 * What a decoder says about some bytes, in words that two decoders can agree on: 'invalid', or length and text.
 * Registers are `r<bytes>:<number>`, immediates and displacements modulo 2^64.
 */
export type View = 'invalid' | { readonly length: number; readonly text: string };

export const hex = (value: bigint) => `0x${BigInt.asUintN(64, value).toString(16)}`;

export const memoryText = (
  width: number | undefined,
  addressSize: number,
  { segment, base, index, scale, disp }: Memory,
) =>
  `mem${width ?? ''}[${segment}:a${addressSize} ${base}+${index < 0 ? 'none' : `${index}*${1 << scale}`}+${hex(BigInt.asUintN(8 * addressSize, disp))}]`;

/** Operands that have a width of their own, whatever the instruction's. */
const FIXED_WIDTH: Readonly<Record<string, readonly (Size | undefined)[]>> = {
  IN: [undefined, 2],
  OUT: [2],
  INS: [undefined, 2],
  OUTS: [2],
  SHL: [undefined, 1],
  SHR: [undefined, 1],
  SAR: [undefined, 1],
  ROL: [undefined, 1],
  ROR: [undefined, 1],
  RCL: [undefined, 1],
  RCR: [undefined, 1],
  SHLD: [undefined, undefined, 1],
  SHRD: [undefined, undefined, 1],
};

function operandText(insn: Insn, operand: Operand, i: number): string {
  const { size, sourceSize = size } = insn;
  // The first operand that is no immediate has `size`; the next has `sourceSize`.
  const sized = insn.operands.filter(({ kind }) => kind !== 'imm').indexOf(operand);
  const first = insn.op === 'OUTS' ? 1 : 0;
  const width =
    FIXED_WIDTH[insn.op]?.[i] ?? (sized <= first ? size : sized === 1 ? sourceSize : size);
  switch (operand.kind) {
    case 'gpr':
      return `r${width}:${operand.high ? `high${operand.index}` : operand.index}`;
    case 'imm':
      return hex(operand.value);
    case 'rel':
      return `rel ${hex(operand.displacement)}`;
    case 'far':
      return `far ${hex(BigInt(operand.selector))}:${hex(operand.offset)}`;
    case 'mem':
      return memoryText(width, insn.addressSize, operand);
    default:
      return `${operand.kind}:${operand.index}`;
  }
}

/** Our own decoder's view. */
export function viewOf(insn: Insn | string): View {
  if (typeof insn === 'string') return 'invalid';
  const words = [
    ...(insn.lock ? ['LOCK'] : []),
    ...(insn.rep ? [insn.rep] : []),
    insn.op,
    ...(insn.condition === undefined ? [] : [`cc${insn.condition}`]),
    insn.operands.map((operand, i) => operandText(insn, operand, i)).join(', '),
  ];
  return { length: insn.length, text: words.join(' ').trim() };
}
