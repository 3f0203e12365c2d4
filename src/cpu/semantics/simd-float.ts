import type { ValueSize } from '../emit.ts';
import type { Mnemonic } from '../insn.ts';
import { gpr, type Semantics, xmm } from './operand.ts';
import { enterMmx, isMmx, requireFor, requireSse, setVector, source, third } from './simd.ts';

/** Whether the integer is in a general register or memory operand that has two widths. */
const WITH_WIDTH = /^CVT(SI2S[SD]|T?S[SD]2SI)$/;

/** destination := f(destination, source, immediate) under MXCSR; scalars leave the upper lanes alone. */
const float: Semantics = (e, insn) => {
  requireFor(e, insn);
  const size = insn.size as ValueSize;
  const from = (insn.sourceSize ?? insn.size) as ValueSize;
  const toGpr = insn.operands[0]!.kind === 'gpr';
  const b = source(e, insn, 1, from);
  const a = toGpr ? e.const(1, 0) : source(e, insn, 0, size);
  const imm = third(e, insn) ?? e.const(1, 0);
  const name = WITH_WIDTH.test(insn.op) ? `${insn.op}.${toGpr ? size : from}` : insn.op;
  const [result] = e.assist(
    name,
    [size],
    [
      { size: toGpr ? 1 : size, value: a },
      { size: from, value: b },
      { size: 1, value: imm },
    ],
  );
  if (isMmx(insn, 1)) enterMmx(e);
  if (toGpr) e.setReg(size as 4 | 8, gpr(insn, 0), result!);
  else if (isMmx(insn)) setVector(e, insn, result!);
  else e.setXmm(size, xmm(insn, 0), result!);
};

/** COMISx, UCOMISx: ZF, PF and CF; the others are cleared. */
const compared: Semantics = (e, insn) => {
  requireSse(e);
  const size = insn.size as 4 | 8;
  const b = source(e, insn, 1, size);
  const a = e.xmm(size, xmm(insn, 0));
  const args = [
    { size, value: a },
    { size, value: b },
    { size: 1, value: e.const(1, 0) },
  ] as const;
  const [flags] = e.assist(insn.op, [4], args);
  e.flags('RAW', 4, flags!);
};

// biome-ignore format: a table
const FLOAT = [
  'ADDPS', 'ADDPD', 'ADDSS', 'ADDSD', 'SUBPS', 'SUBPD', 'SUBSS', 'SUBSD', 'MULPS', 'MULPD', 'MULSS', 'MULSD', 'DIVPS', 'DIVPD', 'DIVSS', 'DIVSD',
  'SQRTPS', 'SQRTPD', 'SQRTSS', 'SQRTSD', 'MINPS', 'MINPD', 'MINSS', 'MINSD', 'MAXPS', 'MAXPD', 'MAXSS', 'MAXSD',
  'CMPPS', 'CMPPD', 'CMPSS', 'CMPSD', 'ROUNDPS', 'ROUNDPD', 'ROUNDSS', 'ROUNDSD', 'RCPPS', 'RCPSS', 'RSQRTPS', 'RSQRTSS',
  'HADDPS', 'HADDPD', 'HSUBPS', 'HSUBPD', 'ADDSUBPS', 'ADDSUBPD', 'DPPS', 'DPPD',
  'CVTSI2SS', 'CVTSI2SD', 'CVTPI2PS', 'CVTPI2PD', 'CVTDQ2PS', 'CVTDQ2PD', 'CVTSS2SI', 'CVTSD2SI', 'CVTTSS2SI', 'CVTTSD2SI',
  'CVTPS2PI', 'CVTTPS2PI', 'CVTPD2PI', 'CVTTPD2PI', 'CVTPS2DQ', 'CVTTPS2DQ', 'CVTPD2DQ', 'CVTTPD2DQ',
  'CVTSS2SD', 'CVTPS2PD', 'CVTSD2SS', 'CVTPD2PS',
] as const satisfies readonly Mnemonic[];

/** SSE floating-point instructions. */
export const SIMD_FLOAT = {
  ...(Object.fromEntries(FLOAT.map((mnemonic) => [mnemonic, float])) as Record<
    (typeof FLOAT)[number],
    Semantics
  >),
  COMISS: compared,
  COMISD: compared,
  UCOMISS: compared,
  UCOMISD: compared,
} as const;
