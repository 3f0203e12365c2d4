import type { Insn, Operand } from './insn.ts';

/** What is known of a shift count when code is made. */
export type ShiftCount = 'zero' | 'one' | 'many' | 'variable';

/** Class of the last operand of a shift or rotate, masked as the operand size masks it. */
export function shiftCount({ operands, size }: Insn): ShiftCount {
  const count = operands.at(-1);
  if (count?.kind !== 'imm') return 'variable';
  const masked = Number(count.value & (size === 8 ? 63n : 31n));
  return masked === 0 ? 'zero' : masked === 1 ? 'one' : 'many';
}

/** Nesting level of ENTER. Vol. 2, "ENTER—Make Stack Frame for Procedure Parameters". */
export const nestingLevel = ({ operands }: Insn): number => {
  const level = operands[1];
  return level?.kind === 'imm' ? Number(level.value & 31n) : 0;
};

/** Whether the address of a memory operand depends on RSP. */
export const usesStackPointer = ({ operands }: Insn): boolean =>
  operands.some((operand) => operand.kind === 'mem' && operand.base === 4);

/** What else than sizes and operand kinds the semantics of a mnemonic decide statically. */
const SPECIAL: Readonly<Record<string, (insn: Insn) => unknown>> = {
  ...Object.fromEntries(
    ['SHL', 'SHR', 'SAR', 'SAL', 'ROL', 'ROR', 'RCL', 'RCR', 'SHLD', 'SHRD'].map((op) => [
      op,
      shiftCount,
    ]),
  ),
  ENTER: nestingLevel,
  POP: usesStackPointer,
};

/** Shape of an operand: its kind, and for memory which parts the address has. */
function shape(operand: Operand): string {
  if (operand.kind === 'gpr') return operand.high ? 'high' : 'gpr';
  if (operand.kind !== 'mem') return operand.kind;
  const { segment, base, index, scale } = operand;
  const parts = `${base === 16 ? 'rip' : base < 0 ? '' : 'base'}${index < 0 ? '' : `+index*${1 << scale}`}`;
  return `${segment}[${parts}]`;
}

/**
 * Everything of an instruction that its semantics may decide on when code is made. Instructions of the same form differ
 * in register numbers, immediates, displacements and addresses only.
 */
export function formKey(insn: Insn): string {
  const {
    op,
    size,
    sourceSize = size,
    addressSize,
    codeSize,
    operands,
    condition,
    lock,
    rep,
  } = insn;
  const special = SPECIAL[op]?.(insn);
  return [
    condition === undefined ? op : `${op}.${condition}`,
    `${size}:${sourceSize}:${addressSize}:${codeSize}`,
    ...operands.map(shape),
    ...(lock ? ['lock'] : []),
    ...(rep ? [rep] : []),
    ...(special === undefined ? [] : [String(special)]),
  ].join(' ');
}
