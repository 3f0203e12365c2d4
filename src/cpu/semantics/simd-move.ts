import type { Emit, ValueSize } from '../emit.ts';
import type { Insn, Mnemonic } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import { anyBit, gpr, operand, type Semantics, width, xmm } from './operand.ts';
import { enterMmx, isMmx, requireFor, requireMmx, requireSse, setVector, source } from './simd.ts';

/** Stores a value at the first operand. */
function storeFirst<V, C>(e: Emit<V, C>, insn: Insn, size: ValueSize, value: V, aligned = false) {
  const { segment, ...it } = operand(insn, 0, 'mem');
  e.store(size, segment, e.address({ segment, ...it }), value, aligned);
}

const storesTo = ({ operands }: Insn): boolean => operands[0]?.kind === 'mem';

/** Sixteen bytes, aligned or not. */
const whole =
  (aligned: boolean): Semantics =>
  (e, insn) => {
    requireSse(e);
    const value = source(e, insn, 1, 16, aligned);
    if (storesTo(insn)) storeFirst(e, insn, 16, value, aligned);
    else e.setXmm(16, xmm(insn, 0), value);
  };

/** MOVSS and MOVSD: between registers the upper lanes stay, from memory they are cleared. */
const scalar: Semantics = (e, insn) => {
  requireSse(e);
  const size = insn.size as 4 | 8;
  const value = source(e, insn, 1, size);
  if (storesTo(insn)) storeFirst(e, insn, size, value);
  else e.setXmm(insn.operands[1]!.kind === 'mem' ? 16 : size, xmm(insn, 0), value);
};

/** MOVD and MOVQ: what is above is cleared. */
const zeroExtended: Semantics = (e, insn) => {
  requireFor(e, insn);
  const size = (
    insn.operands[0]!.kind === 'mm' || insn.operands[0]!.kind === 'xmm'
      ? (insn.sourceSize ?? insn.size)
      : insn.size
  ) as 4 | 8;
  const value = source(e, insn, 1, size);
  const fromMmx = isMmx(insn, 1);
  if (storesTo(insn)) storeFirst(e, insn, size, fromMmx ? e.low(size, value) : value);
  else if (insn.operands[0]!.kind === 'gpr') {
    e.setReg(size, gpr(insn, 0), fromMmx ? e.low(size, value) : value);
  } else setVector(e, insn, value);
  if (fromMmx) enterMmx(e);
};

/** MOVLPS, MOVLPD. */
const lowHalf: Semantics = (e, insn) => {
  requireSse(e);
  const value = source(e, insn, 1, 8);
  if (storesTo(insn)) storeFirst(e, insn, 8, value);
  else e.setXmm(8, xmm(insn, 0), value);
};

/** MOVHPS, MOVHPD. */
const highHalf: Semantics = (e, insn) => {
  requireSse(e);
  if (storesTo(insn)) {
    storeFirst(e, insn, 8, e.high64(e.xmm(16, xmm(insn, 1))));
    return;
  }
  const value = source(e, insn, 1, 8);
  e.setXmm(16, xmm(insn, 0), e.join(value, e.xmm(8, xmm(insn, 0))));
};

const highToLow: Semantics = (e, insn) => {
  requireSse(e);
  e.setXmm(8, xmm(insn, 0), e.high64(e.xmm(16, xmm(insn, 1))));
};

const lowToHigh: Semantics = (e, insn) => {
  requireSse(e);
  e.setXmm(16, xmm(insn, 0), e.join(e.xmm(8, xmm(insn, 1)), e.xmm(8, xmm(insn, 0))));
};

/** MOVNTI is an integer instruction. */
const nonTemporalInteger: Semantics = (e, insn) => {
  const size = width(insn);
  storeFirst(e, insn, size, e.reg(size, gpr(insn, 1)));
};

/** MASKMOVQ and MASKMOVDQU: the bytes that the mask leaves out are written back as they were. */
const masked: Semantics = (e, insn) => {
  requireFor(e, insn);
  const size = isMmx(insn) ? 8 : 16;
  const it = operand(insn, 2, 'mem');
  const data = source(e, insn, 0, size);
  const mask = source(e, insn, 1, size);
  const old = e.loadForWrite(size, it.segment, e.address(it));
  const bytes = e.vector('MASKMOV', data, mask, old);
  e.storeBack(size, size === 8 ? e.low(8, bytes) : bytes);
  if (size === 8) enterMmx(e);
};

const MXCSR_RESERVED = 0xffff_0000;

/** Reserved bits are #GP(0). */
const loadMxcsr: Semantics = (e, insn) => {
  requireSse(e);
  const value = source(e, insn, 0, 4);
  e.trapIf(anyBit(e, 4, value, MXCSR_RESERVED), '#GP', 0);
  e.setField(4, STATE.MXCSR, value);
};

const storeMxcsr: Semantics = (e, insn) => {
  requireSse(e);
  storeFirst(e, insn, 4, e.field(4, STATE.MXCSR));
};

/** Every x87 register empty. */
const emms: Semantics = (e) => {
  requireMmx(e);
  e.setField(2, STATE.FTW, e.const(2, 0));
};

/** Moves of vectors, and the control registers beside them. */
// biome-ignore format: a table
export const SIMD_MOVE = {
  MOVAPS: whole(true),   MOVAPD: whole(true),   MOVDQA: whole(true),   MOVNTPS: whole(true),  MOVNTPD: whole(true),
  MOVNTDQ: whole(true),  MOVNTDQA: whole(true),
  MOVUPS: whole(false),  MOVUPD: whole(false),  MOVDQU: whole(false),  LDDQU: whole(false),
  MOVSS: scalar,         MOVSD: scalar,         MOVD: zeroExtended,    MOVQ: zeroExtended,    MOVNTQ: zeroExtended,
  MOVQ2DQ: zeroExtended, MOVDQ2Q: zeroExtended,
  MOVLPS: lowHalf,       MOVLPD: lowHalf,       MOVHPS: highHalf,      MOVHPD: highHalf,
  MOVHLPS: highToLow,    MOVLHPS: lowToHigh,    MOVNTI: nonTemporalInteger,
  MASKMOVQ: masked,      MASKMOVDQU: masked,    LDMXCSR: loadMxcsr,    STMXCSR: storeMxcsr,   EMMS: emms,
} as const satisfies Partial<Record<Mnemonic, Semantics>>;
