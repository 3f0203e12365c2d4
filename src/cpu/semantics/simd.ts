import { PACKED_INTEGER } from '../assists/packed-integer.ts';
import { PACKED_SHUFFLE } from '../assists/packed-shuffle.ts';
import type { Emit, ValueSize } from '../emit.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import { anyBit, gpr, operand, type Semantics, xmm } from './operand.ts';

const CR0_EM = 1 << 2;
const CR0_TS = 1 << 3;
const CR4_OSFXSR = 1 << 9;
const FSW_ES = 1 << 7;
const FSW_TOP = 7 << 11;

/** Vol. 3, "Providing Operating System Support for SSE Extensions": the operating system must know of XMM. */
export function requireSse<V, C>(e: Emit<V, C>): void {
  const cr0 = e.field(4, STATE.CR0);
  const known = anyBit(e, 4, e.field(4, STATE.CR4), CR4_OSFXSR);
  e.trapIf(e.either(anyBit(e, 4, cr0, CR0_EM), e.not(known)), '#UD');
  e.trapIf(anyBit(e, 4, cr0, CR0_TS), '#NM');
}

/** Vol. 3, "Emulation of the MMX Instruction Set" and "Exceptions That Can Occur When Executing MMX Instructions". */
export function requireMmx<V, C>(e: Emit<V, C>): void {
  const cr0 = e.field(4, STATE.CR0);
  e.trapIf(anyBit(e, 4, cr0, CR0_EM), '#UD');
  e.trapIf(anyBit(e, 4, cr0, CR0_TS), '#NM');
  e.trapIf(anyBit(e, 2, e.field(2, STATE.FSW), FSW_ES), '#MF');
}

/** Vol. 1, "MMX Instructions and the x87 FPU Tag Word": all registers valid, TOP 0. */
export function enterMmx<V, C>(e: Emit<V, C>): void {
  const fsw = e.field(2, STATE.FSW);
  e.setField(2, STATE.FSW, e.bin('and', 2, fsw, e.const(2, ~FSW_TOP)));
  e.setField(2, STATE.FTW, e.const(2, 0xff));
}

export const isMmx = ({ operands }: Insn, i = 0): boolean => operands[i]?.kind === 'mm';

/** What an instruction on XMM, MMX or both registers needs. */
export function requireFor<V, C>(e: Emit<V, C>, insn: Insn): void {
  const mmx = insn.operands.some(({ kind }) => kind === 'mm');
  const sse = insn.operands.some(({ kind }) => kind === 'xmm');
  if (sse) requireSse(e);
  if (mmx) requireMmx(e);
}

/** The value of operand `i`; 16 bytes of memory must be aligned unless told. */
export function source<V, C>(
  e: Emit<V, C>,
  insn: Insn,
  i: number,
  size = (insn.sourceSize ?? insn.size) as ValueSize,
  aligned = size === 16,
): V {
  const it = insn.operands[i]!;
  switch (it.kind) {
    case 'xmm':
      return e.xmm(size, xmm(insn, i));
    case 'mm':
      return e.mm(operand(insn, i, 'mm'));
    case 'gpr':
      return e.reg(size as 4, it);
    case 'imm':
      return e.imm(1, it);
    case 'mem':
      return e.load(size, it.segment, e.address(it), aligned);
    default:
      throw new TypeError(`${insn.op}: operand ${i} is ${it.kind}`);
  }
}

/** Writes the first operand, a whole XMM or MMX register. */
export function setVector<V, C>(e: Emit<V, C>, insn: Insn, value: V): void {
  if (isMmx(insn)) {
    enterMmx(e);
    e.setMm(operand(insn, 0, 'mm'), e.low(8, value));
  } else e.setXmm(16, xmm(insn, 0), value);
}

const MMX_FORMS = new Set(
  Object.keys({ ...PACKED_INTEGER, ...PACKED_SHUFFLE }).filter((name) => name.endsWith('.64')),
);
/** The vector function of a mnemonic. */
export const functionOf = (insn: Insn, mmx = isMmx(insn)): string =>
  mmx && MMX_FORMS.has(`${insn.op}.64`) ? `${insn.op}.64` : insn.op;

/** The immediate or third vector, where there is one. */
export function third<V, C>(e: Emit<V, C>, insn: Insn): V | undefined {
  const it = insn.operands[2];
  if (it?.kind === 'imm') return e.imm(1, it);
  return it?.kind === 'xmm' ? e.xmm(16, xmm(insn, 2)) : undefined;
}

/** destination := f(destination, source, immediate). */
export const packed: Semantics = (e, insn) => {
  requireFor(e, insn);
  const b = source(e, insn, 1);
  const a = source(e, insn, 0, insn.size as ValueSize);
  setVector(e, insn, e.vector(functionOf(insn), a, b, third(e, insn)));
};

/** A mask or lane of a vector into a general register; no more than 32 bits unless the operand is wider. */
export const toGeneral: Semantics = (e, insn) => {
  requireFor(e, insn);
  const size = insn.size as 1 | 2 | 4 | 8;
  const from = source(e, insn, 1);
  const value = e.vector(functionOf(insn, isMmx(insn, 1)), from, from, third(e, insn));
  const it = insn.operands[0]!;
  if (it.kind === 'mem') e.store(size, it.segment, e.address(it), e.low(size, value));
  else e.setReg(size, gpr(insn, 0), e.low(size, value));
  if (isMmx(insn, 1)) enterMmx(e);
};
