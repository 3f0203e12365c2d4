import type { Insn } from '../../insn.ts';
import { retirement } from '../../retirement.ts';
import type { Total } from '../../state/layout.ts';

/**
 * Near branches by class. Generated code counts each retired branch once, in the counter of its class
 * (`INTERPRETER.BRANCHES`), whatever the number of totals it moves; far branches are no business of generated code.
 */
// biome-ignore format: a table
export const BRANCH_CLASS = {
  NOT_TAKEN: 0, TAKEN: 1, JUMP: 2, INDIRECT_JUMP: 3, CALL: 4, INDIRECT_CALL: 5, RETURN: 6,
} as const;

const totalsOf = (op: 'JCC' | 'JMP' | 'CALL' | 'RET', kind: 'rel' | 'gpr'): readonly Total[] =>
  retirement({ op, operands: [{ kind }] } as unknown as Insn);

/** The totals that one branch of each class adds one to. */
export const BRANCH_TOTALS: readonly (readonly Total[])[] = [
  totalsOf('JCC', 'rel'),
  [...totalsOf('JCC', 'rel'), 'conditionalTaken', 'nearTaken'],
  totalsOf('JMP', 'rel'),
  totalsOf('JMP', 'gpr'),
  totalsOf('CALL', 'rel'),
  totalsOf('CALL', 'gpr'),
  totalsOf('RET', 'gpr'),
];

/** Class of an unconditional branch. */
export function classOf({ op, operands }: Insn): number {
  if (op === 'RET') return BRANCH_CLASS.RETURN;
  const direct = operands[0]?.kind === 'rel';
  if (op === 'CALL') return direct ? BRANCH_CLASS.CALL : BRANCH_CLASS.INDIRECT_CALL;
  return direct ? BRANCH_CLASS.JUMP : BRANCH_CLASS.INDIRECT_JUMP;
}
