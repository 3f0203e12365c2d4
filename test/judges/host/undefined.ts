import type { Insn, Mnemonic } from '../../../src/cpu/insn.ts';

/** Status flags in RFLAGS. */
const CF = 0x001n;
const PF = 0x004n;
const AF = 0x010n;
const ZF = 0x040n;
const SF = 0x080n;
const OF = 0x800n;

/** What Vol. 2 says is undefined, instruction by instruction, under "Flags Affected". */
// biome-ignore format: a table
const UNDEFINED: Partial<Record<Mnemonic, bigint>> = {
  AND: AF,  OR: AF,  XOR: AF,  TEST: AF,
  MUL: SF | ZF | AF | PF,  IMUL: SF | ZF | AF | PF,
  DIV: CF | OF | SF | ZF | AF | PF,  IDIV: CF | OF | SF | ZF | AF | PF,
  BT: OF | SF | AF | PF,  BTS: OF | SF | AF | PF,  BTR: OF | SF | AF | PF,  BTC: OF | SF | AF | PF,
  BSF: CF | OF | SF | AF | PF,  BSR: CF | OF | SF | AF | PF,
  TZCNT: OF | SF | AF | PF,  LZCNT: OF | SF | AF | PF,
  ANDN: AF | PF,  BLSR: AF | PF,  BLSI: AF | PF,  BLSMSK: AF | PF,  BZHI: AF | PF,  BEXTR: AF | SF | PF,
  DAA: OF,  DAS: OF,  AAA: OF | SF | ZF | PF,  AAS: OF | SF | ZF | PF,  AAM: OF | AF | CF,  AAD: OF | AF | CF,
};

const ROTATES: ReadonlySet<Mnemonic> = new Set(['ROL', 'ROR', 'RCL', 'RCR'] as const);
const SHIFTS: ReadonlySet<Mnemonic> = new Set(['SHL', 'SHR', 'SAR', 'SHLD', 'SHRD'] as const);

/** The flags that are undefined after `insn`; `count` is CL, or undefined where it is not known. */
export function undefinedFlags(insn: Insn, cl: bigint | undefined): bigint {
  const { op, operands, size } = insn;
  if (!ROTATES.has(op) && !SHIFTS.has(op)) return UNDEFINED[op] ?? 0n;
  const last = operands.at(-1);
  const amount = last?.kind === 'imm' ? last.value : cl;
  const count = amount === undefined ? 31 : Number(amount & (size === 8 ? 63n : 31n));
  if (count === 0) return 0n;
  const overflow = count === 1 ? 0n : OF;
  if (ROTATES.has(op)) return overflow;
  if (count > size * 8 && op !== 'SHR' && op !== 'SHL' && op !== 'SAR')
    return CF | PF | AF | ZF | SF | OF;
  return overflow | AF | (count >= size * 8 && op !== 'SAR' ? CF : 0n);
}

/** SHLD and SHRD of two bytes by more than 16: the result is undefined as well. */
export const undefinedResult = (insn: Insn, cl: bigint | undefined): boolean => {
  const last = insn.operands.at(-1);
  const count = last?.kind === 'imm' ? last.value : (cl ?? 31n);
  return (insn.op === 'SHLD' || insn.op === 'SHRD') && insn.size === 2 && (count & 31n) > 16n;
};

/**
 * REP with 32-bit addresses in 64-bit mode: when the upper halves of RCX, RSI and RDI are cleared is not said. Our
 * instructions clear them as they write the registers, silicon sometimes without having done an iteration.
 */
export const upperHalvesUndefined = (insn: Insn): boolean =>
  insn.rep !== undefined && insn.codeSize === 8 && insn.addressSize === 4;

/** POPA that faults on the way has loaded some registers on silicon, none with us; it is restarted either way. */
export const popsInPart = (insns: readonly Insn[], vector: number): boolean =>
  vector !== 1 && vector !== 3 && insns.some(({ op }) => op === 'POPA');
