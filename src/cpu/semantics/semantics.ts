import type { Emit } from '../emit.ts';
import type { Insn, Mnemonic } from '../insn.ts';
import { ARITHMETIC } from './arithmetic.ts';
import { BIT } from './bit.ts';
import { BMI } from './bmi.ts';
import { BRANCH } from './branch.ts';
import { COMPARE_EXCHANGE } from './compare-exchange.ts';
import { DECIMAL } from './decimal.ts';
import { FLAG_CONTROL } from './flag-control.ts';
import { IDLE } from './idle.ts';
import { LOGIC } from './logic.ts';
import { MOVE } from './move.ts';
import type { Semantics } from './operand.ts';
import { SHIFT } from './shift.ts';
import { SIMD_FLOAT } from './simd-float.ts';
import { SIMD_INTEGER } from './simd-integer.ts';
import { SIMD_MOVE } from './simd-move.ts';
import { SIMD_STRING } from './simd-string.ts';
import { STACK } from './stack.ts';
import { STRING } from './string.ts';

/** Instructions on general registers and flags, by mnemonic. */
export const INTEGER: Partial<Record<Mnemonic, Semantics>> = {
  ...ARITHMETIC,
  ...LOGIC,
  ...SHIFT,
  ...BIT,
  ...BMI,
  ...DECIMAL,
  ...MOVE,
  ...COMPARE_EXCHANGE,
  ...STACK,
  ...STRING,
  ...BRANCH,
  ...FLAG_CONTROL,
  ...IDLE,
} satisfies Partial<Record<Mnemonic, Semantics>>;

/** Every instruction that the emitter expresses, by mnemonic. All others are system instructions. */
export const SEMANTICS: Partial<Record<Mnemonic, Semantics>> = {
  ...INTEGER,
  ...SIMD_MOVE,
  ...SIMD_INTEGER,
  ...SIMD_FLOAT,
  ...SIMD_STRING,
} satisfies Partial<Record<Mnemonic, Semantics>>;

/** Semantics of an instruction; undefined where it is a function of cpu/system, which MOV to a segment register is, too. */
export const semanticsOf = ({ op, operands }: Insn): Semantics | undefined =>
  op === 'MOVSEG' && operands[0]?.kind === 'seg' ? undefined : SEMANTICS[op];

/** Emits one instruction. */
export function emitInstruction<V, C>(e: Emit<V, C>, insn: Insn): void {
  const semantics = semanticsOf(insn);
  if (semantics) semantics(e, insn);
  else e.system();
}
