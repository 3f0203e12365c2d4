import type { ValueSize } from '../emit.ts';
import type { Mnemonic } from '../insn.ts';
import { type Semantics, xmm } from './operand.ts';
import {
  functionOf,
  packed,
  requireFor,
  requireSse,
  setVector,
  source,
  third,
  toGeneral,
} from './simd.ts';

/** PINSRB, PINSRW, …: the source may be a register wider than the lane. */
const insert: Semantics = (e, insn) => {
  requireFor(e, insn);
  const lane = source(e, insn, 1);
  setVector(
    e,
    insn,
    e.vector(functionOf(insn), source(e, insn, 0, insn.size as ValueSize), lane, third(e, insn)),
  );
};

const insertSingle: Semantics = (e, insn) => {
  requireSse(e);
  const name = insn.operands[1]!.kind === 'mem' ? 'INSERTPS.mem' : 'INSERTPS';
  const lane = source(e, insn, 1);
  e.setXmm(16, xmm(insn, 0), e.vector(name, e.xmm(16, xmm(insn, 0)), lane, third(e, insn)));
};

const ZF = 6;

/** PTEST: ZF and CF, the others cleared. */
const test: Semantics = (e, insn) => {
  requireSse(e);
  const b = source(e, insn, 1);
  const bits = e.low(4, e.vector('PTEST', e.xmm(16, xmm(insn, 0)), b));
  const zf = e.shift('shl', 4, e.bin('and', 4, bits, e.const(4, 1)), e.const(1, ZF));
  e.flags('RAW', 4, e.bin('or', 4, zf, e.shift('shr', 4, bits, e.const(1, 1))));
};

// biome-ignore format: a table
const PACKED = [
  'PADDB', 'PADDW', 'PADDD', 'PADDQ', 'PSUBB', 'PSUBW', 'PSUBD', 'PSUBQ',
  'PADDSB', 'PADDSW', 'PADDUSB', 'PADDUSW', 'PSUBSB', 'PSUBSW', 'PSUBUSB', 'PSUBUSW',
  'PAND', 'PANDN', 'POR', 'PXOR',
  'PCMPEQB', 'PCMPEQW', 'PCMPEQD', 'PCMPEQQ', 'PCMPGTB', 'PCMPGTW', 'PCMPGTD', 'PCMPGTQ',
  'PAVGB', 'PAVGW', 'PMINUB', 'PMINUW', 'PMINUD', 'PMAXUB', 'PMAXUW', 'PMAXUD', 'PMINSB', 'PMINSW', 'PMINSD', 'PMAXSB', 'PMAXSW', 'PMAXSD',
  'PSIGNB', 'PSIGNW', 'PSIGND', 'PABSB', 'PABSW', 'PABSD',
  'PMULLW', 'PMULLD', 'PMULHW', 'PMULHUW', 'PMULHRSW', 'PMULUDQ', 'PMULDQ', 'PMADDWD', 'PMADDUBSW', 'PSADBW', 'MPSADBW', 'PHMINPOSUW',
  'PHADDW', 'PHADDD', 'PHADDSW', 'PHSUBW', 'PHSUBD', 'PHSUBSW',
  'PSLLW', 'PSLLD', 'PSLLQ', 'PSRLW', 'PSRLD', 'PSRLQ', 'PSRAW', 'PSRAD', 'PSLLDQ', 'PSRLDQ',
  'PUNPCKLBW', 'PUNPCKLWD', 'PUNPCKLDQ', 'PUNPCKLQDQ', 'PUNPCKHBW', 'PUNPCKHWD', 'PUNPCKHDQ', 'PUNPCKHQDQ',
  'PACKSSWB', 'PACKSSDW', 'PACKUSWB', 'PACKUSDW', 'PSHUFD', 'PSHUFLW', 'PSHUFHW', 'PSHUFW', 'PSHUFB', 'PALIGNR',
  'PBLENDW', 'BLENDPS', 'BLENDPD', 'PBLENDVB', 'BLENDVPS', 'BLENDVPD',
  'PMOVSXBW', 'PMOVSXBD', 'PMOVSXBQ', 'PMOVSXWD', 'PMOVSXWQ', 'PMOVSXDQ', 'PMOVZXBW', 'PMOVZXBD', 'PMOVZXBQ', 'PMOVZXWD', 'PMOVZXWQ', 'PMOVZXDQ',
  'SHUFPS', 'SHUFPD', 'UNPCKLPS', 'UNPCKHPS', 'UNPCKLPD', 'UNPCKHPD', 'MOVSLDUP', 'MOVSHDUP', 'MOVDDUP',
  'AESENC', 'AESENCLAST', 'AESDEC', 'AESDECLAST', 'AESIMC', 'AESKEYGENASSIST', 'PCLMULQDQ',
  'SHA1NEXTE', 'SHA1MSG1', 'SHA1MSG2', 'SHA1RNDS4', 'SHA256MSG1', 'SHA256MSG2', 'SHA256RNDS2',
] as const satisfies readonly Mnemonic[];

const GENERAL = [
  'PMOVMSKB',
  'MOVMSKPS',
  'MOVMSKPD',
  'PEXTRB',
  'PEXTRW',
  'PEXTRD',
  'PEXTRQ',
  'EXTRACTPS',
] as const satisfies readonly Mnemonic[];

const each = <M extends Mnemonic>(mnemonics: readonly M[], semantics: Semantics) =>
  Object.fromEntries(mnemonics.map((mnemonic) => [mnemonic, semantics])) as Record<M, Semantics>;

/** Logic on floating-point registers is logic. */
// biome-ignore format: a table
const LOGIC = { ANDPS: 'PAND', ANDPD: 'PAND', ANDNPS: 'PANDN', ANDNPD: 'PANDN', ORPS: 'POR', ORPD: 'POR', XORPS: 'PXOR', XORPD: 'PXOR' } as const satisfies Partial<Record<Mnemonic, Mnemonic>>;

/** Instructions on vectors that know no floating-point exception: integer arithmetic, shuffles, ciphers, hashes. */
export const SIMD_INTEGER = {
  ...each(PACKED, packed),
  ...each(GENERAL, toGeneral),
  ...(Object.fromEntries(
    Object.entries(LOGIC).map(([mnemonic, op]) => [
      mnemonic,
      ((e, insn) => packed(e, { ...insn, op })) as Semantics,
    ]),
  ) as Record<keyof typeof LOGIC, Semantics>),
  PINSRB: insert,
  PINSRW: insert,
  PINSRD: insert,
  PINSRQ: insert,
  INSERTPS: insertSingle,
  PTEST: test,
} as const;
