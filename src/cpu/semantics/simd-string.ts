import { RAX, RCX, RDX } from '../emit.ts';
import { operand, type Semantics, xmm } from './operand.ts';
import { requireSse, source } from './simd.ts';

/** PCMPxSTRI into ECX, PCMPxSTRM into XMM0, both into the status flags; explicit lengths in rAX and rDX. */
const compare =
  (name: string, lengths?: 4 | 8): Semantics =>
  (e, insn) => {
    requireSse(e);
    const b = source(e, insn, 1, 16, false);
    const length = (register: number) =>
      lengths === 4 ? e.signExtend(4, 8, e.reg(4, register)) : e.reg(8, register);
    const args = [
      { size: 16, value: e.xmm(16, xmm(insn, 0)) },
      { size: 16, value: b },
      { size: 1, value: e.imm(1, operand(insn, 2, 'imm')) },
      ...(lengths
        ? ([
            { size: 8, value: length(RAX) },
            { size: 8, value: length(RDX) },
          ] as const)
        : []),
    ] as const;
    const index = name.endsWith('I');
    const [result, flags] = e.assist(name, [index ? 4 : 16, 4], args);
    if (index) e.setReg(4, RCX, result!);
    else e.setXmm(16, 0, result!);
    e.flags('RAW', 4, flags!);
  };

/** String comparisons of SSE4.2; memory need not be aligned. */
export const SIMD_STRING = {
  PCMPESTRI: compare('PCMPESTRI', 4),
  PCMPESTRI64: compare('PCMPESTRI', 8),
  PCMPESTRM: compare('PCMPESTRM', 4),
  PCMPESTRM64: compare('PCMPESTRM', 8),
  PCMPISTRI: compare('PCMPISTRI'),
  PCMPISTRM: compare('PCMPISTRM'),
} as const;
