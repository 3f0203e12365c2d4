import { read, readForWrite, type Semantics, width, writeBack } from './operand.ts';

const logic =
  (op: 'and' | 'or' | 'xor'): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const b = read(e, insn, 1);
    const result = e.bin(op, n, readForWrite(e, insn), b);
    writeBack(e, insn, result);
    e.flags('LOGIC', n, result);
  };

const test: Semantics = (e, insn) => {
  const n = width(insn);
  const b = read(e, insn, 1);
  e.flags('LOGIC', n, e.bin('and', n, read(e, insn, 0), b));
};

const not: Semantics = (e, insn) => {
  const n = width(insn);
  writeBack(e, insn, e.bin('xor', n, readForWrite(e, insn), e.const(n, -1)));
};

// biome-ignore format: a table
export const LOGIC = {
  AND: logic('and'),  OR: logic('or'),  XOR: logic('xor'),  TEST: test,  NOT: not,
} satisfies Record<string, Semantics>;
