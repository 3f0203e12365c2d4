import type { Insn } from '../insn.ts';
import { extraCycles } from './costs.ts';

/** What a branch shows a predictor; 0 is no branch, or one that nobody predicts. */
// biome-ignore format: a table
export const PREDICTED = {
  NOT_TAKEN: 1, TAKEN: 2, CALL: 3, INDIRECT_JUMP: 4, INDIRECT_CALL: 5, RETURN: 6,
} as const;

/** What the model must know of an instruction besides addresses, as one small number that generated code can carry. */
// biome-ignore format: a table
export const FACT = {
  EXTRA_CYCLES: 0xff,  BRANCH_SHIFT: 8,  BRANCH: 0xf00,
} as const;

/** The facts of an instruction; a conditional branch as not taken. */
export function factsOf(insn: Insn): number {
  const { op, operands } = insn;
  const direct = operands[0]?.kind === 'rel';
  const conditional = op === 'JCC' || op === 'JCXZ' || op.startsWith('LOOP');
  const branch = conditional
    ? PREDICTED.NOT_TAKEN
    : op === 'RET'
      ? PREDICTED.RETURN
      : op === 'CALL'
        ? direct
          ? PREDICTED.CALL
          : PREDICTED.INDIRECT_CALL
        : op === 'JMP' && !direct
          ? PREDICTED.INDIRECT_JUMP
          : 0;
  return extraCycles(insn) | (branch << FACT.BRANCH_SHIFT);
}

/** What is added to the facts of a conditional branch that is taken. */
export const TAKEN = (PREDICTED.TAKEN - PREDICTED.NOT_TAKEN) << FACT.BRANCH_SHIFT;

/** Instructions that act on caches themselves; generated code leaves them to plain TypeScript while it is observed. */
export const maintains = (op: string): boolean =>
  op.startsWith('CLFLUSH') || op.startsWith('PREFETCH');
