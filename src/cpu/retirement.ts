import { MNEMONICS } from './decode/mnemonics.ts';
import type { Insn, Mnemonic } from './insn.ts';
import type { Total } from './state/layout.ts';

const CONDITIONAL: readonly Total[] = ['branches', 'conditionalBranches'];
const RETURN: readonly Total[] = ['branches', 'nearReturns', 'nearTaken'];
const FAR: readonly Total[] = ['branches', 'farBranches'];
const NOP: readonly Total[] = ['nops'];

const of =
  (...totals: readonly Total[]) =>
  (...mnemonics: readonly Mnemonic[]): Partial<Record<Mnemonic, readonly Total[]>> =>
    Object.fromEntries(mnemonics.map((mnemonic) => [mnemonic, totals]));

/** Computational SSE instructions by width and precision; a dot product counts twice, as the events' text has it. */
// biome-ignore format: a table
const FLOATING_POINT: Partial<Record<Mnemonic, readonly Total[]>> = {
  ...of('scalarDouble')('ADDSD', 'SUBSD', 'MULSD', 'DIVSD', 'MINSD', 'MAXSD', 'SQRTSD'),
  ...of('scalarSingle')('ADDSS', 'SUBSS', 'MULSS', 'DIVSS', 'MINSS', 'MAXSS', 'SQRTSS', 'RCPSS', 'RSQRTSS'),
  ...of('packedDouble128')('ADDPD', 'SUBPD', 'MULPD', 'DIVPD', 'MINPD', 'MAXPD', 'SQRTPD', 'HADDPD', 'HSUBPD', 'ADDSUBPD'),
  ...of('packedSingle128')('ADDPS', 'SUBPS', 'MULPS', 'DIVPS', 'MINPS', 'MAXPS', 'SQRTPS', 'RCPPS', 'RSQRTPS', 'HADDPS', 'HSUBPS', 'ADDSUBPS'),
  ...of('packedDouble128', 'packedDouble128')('DPPD'),
  ...of('packedSingle128', 'packedSingle128')('DPPS'),
  ...of('x87')(...MNEMONICS.filter((name) => /^F(?!X(SAVE|RSTOR)|WAIT)/.test(name))),
};

/**
 * Accesses of instructions executed in plain TypeScript, which no engine sees: those they always make, and those they
 * make when they have a memory operand.
 */
// biome-ignore format: a table
const SYSTEM_ACCESSES: Partial<Record<Mnemonic, readonly Total[]>> = {
  ...of('loads')('LGDT', 'LIDT', 'INVPCID', 'LDS', 'LES', 'LFS', 'LGS', 'LSS', 'POPSEG', 'POPF', 'OUTS',
    'VMXON', 'VMPTRLD', 'VMCLEAR', 'INVEPT', 'INVVPID'),
  ...of('stores')('SGDT', 'SIDT', 'INS', 'VMPTRST'),
};
/** The x87 and the XSAVE family: what stores, what loads. */
const FLOATING = MNEMONICS.filter((name) => /^(F(?!WAIT)|XSAVE|XRSTOR)/.test(name));
const storesState = (name: Mnemonic) =>
  /^(F(I|B)?STP?$|FISTTP|FN?ST|FN?SAVE|FXSAVE|XSAVE)/.test(name);

// biome-ignore format: a table
const OPERAND_ACCESSES: Partial<Record<Mnemonic, readonly Total[]>> = {
  ...of('loads')('LLDT', 'LTR', 'LMSW', 'VERR', 'VERW', 'LAR', 'LSL', 'VMWRITE'),
  ...of('stores')('SLDT', 'STR', 'SMSW', 'VMREAD'),
  ...of('loads', 'stores')('ARPL'),
  ...Object.fromEntries(FLOATING.map((name) => [
    name, [...(FLOATING_POINT[name] ?? []), storesState(name) ? 'stores' : 'loads'] as const,
  ])),
  JMPF: [...FAR, 'loads'],  CALLF: [...FAR, 'loads', 'stores'],
};
const SEGMENT_LOAD: readonly Total[] = ['loads'];

/** What an instruction of a mnemonic counts as when it retires, beyond `instructions` and `ticks`. */
// biome-ignore format: a table
const BY_MNEMONIC: Partial<Record<Mnemonic, readonly Total[]>> = {
  ...FLOATING_POINT,
  ...SYSTEM_ACCESSES,
  JCC: CONDITIONAL,  JCXZ: CONDITIONAL,  LOOP: CONDITIONAL,  LOOPE: CONDITIONAL,  LOOPNE: CONDITIONAL,
  RET: RETURN,
  JMPF: FAR,  CALLF: [...FAR, 'stores'],  RETF: [...FAR, 'loads'],  IRET: [...FAR, 'interruptReturns', 'loads'],
  INT: [...FAR, 'stores'],  INT1: [...FAR, 'stores'],  INT3: [...FAR, 'stores'],  INTO: FAR,
  SYSCALL: FAR,  SYSRET: FAR,  SYSENTER: FAR,  SYSEXIT: FAR,
  NOP,  ENDBR32: NOP,  ENDBR64: NOP,  PAUSE: ['pauses'],  LFENCE: ['lfences'],
  PREFETCHNTA: ['prefetchNta', 'loads'],  PREFETCHT0: ['prefetchT0', 'loads'],  PREFETCHT1: ['prefetchT1T2', 'loads'],
  PREFETCHT2: ['prefetchT1T2', 'loads'],  PREFETCHW: ['prefetchW', 'loads'],
};

const JUMP: readonly Total[] = ['branches', 'nearTaken'];
const JUMP_INDIRECT: readonly Total[] = [...JUMP, 'indirectBranches'];
const CALL: readonly Total[] = [...JUMP, 'nearCalls'];
const CALL_INDIRECT: readonly Total[] = [...CALL, 'indirectBranches', 'nearIndirectCalls'];
const LOCKED: readonly Total[] = ['lockedLoads'];
const NONE: readonly Total[] = [];

/**
 * The totals that one retirement of `insn` adds 1 to, as far as the instruction alone tells: all but `instructions`,
 * the ticks, and what depends on the run: `conditionalTaken` (with `nearTaken`), loads, stores, misses.
 */
export function retirement(insn: Insn): readonly Total[] {
  const { op, lock, operands } = insn;
  const direct = operands[0]?.kind === 'rel';
  if (op === 'JMP') return direct ? JUMP : JUMP_INDIRECT;
  if (op === 'CALL') return direct ? CALL : CALL_INDIRECT;
  const [first, second] = operands;
  if (op === 'MOVSEG' && second?.kind === 'mem') return SEGMENT_LOAD;
  if (OPERAND_ACCESSES[op] && operands.some(({ kind }) => kind === 'mem'))
    return OPERAND_ACCESSES[op];
  // XCHG with memory locks without being told.
  if (lock || (op === 'XCHG' && first?.kind === 'mem')) return LOCKED;
  return BY_MNEMONIC[op] ?? NONE;
}
