import { CC, type Emit, RDI, RSI } from '../emit.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import { anyBit, operand, read, type Semantics, width, write } from './operand.ts';

/** RFLAGS.DF */
const DIRECTION = 1 << 10;

/** Moves index registers on by one element, as DF says. */
function advance<V, C>(e: Emit<V, C>, insn: Insn, ...registers: number[]): void {
  const n = insn.addressSize;
  const down = anyBit(e, 4, e.field(4, STATE.RFLAGS_SYSTEM), DIRECTION);
  const step = e.select(n, down, e.const(n, -insn.size), e.const(n, insn.size));
  for (const register of registers)
    e.setReg(n, register, e.bin('add', n, e.reg(n, register), step));
}

/** One element, or as many as REP says. */
const repeated =
  (element: Semantics): Semantics =>
  (e, insn) =>
    insn.rep ? e.repeat(insn.addressSize, () => element(e, insn)) : element(e, insn);

/** The same while ZF is as the prefix asks. */
const repeatedWhile =
  (element: Semantics): Semantics =>
  (e, insn) => {
    if (!insn.rep) return element(e, insn);
    const condition = insn.rep === 'rep' ? CC.E : CC.NE;
    e.repeat(
      insn.addressSize,
      () => element(e, insn),
      () => e.cond(condition),
    );
  };

const move: Semantics = (e, insn) => {
  write(e, insn, 0, read(e, insn, 1));
  advance(e, insn, RSI, RDI);
};

const store: Semantics = (e, insn) => {
  write(e, insn, 0, read(e, insn, 1));
  advance(e, insn, RDI);
};

const load: Semantics = (e, insn) => {
  e.setReg(width(insn), operand(insn, 0, 'gpr'), read(e, insn, 1));
  advance(e, insn, RSI);
};

const compare =
  (...registers: number[]): Semantics =>
  (e, insn) => {
    const a = read(e, insn, 0);
    const b = read(e, insn, 1);
    advance(e, insn, ...registers);
    e.flags('SUB', width(insn), a, b);
  };

// biome-ignore format: a table
export const STRING = {
  MOVS: repeated(move),  STOS: repeated(store),  LODS: repeated(load),
  CMPS: repeatedWhile(compare(RSI, RDI)),  SCAS: repeatedWhile(compare(RDI)),
} satisfies Record<string, Semantics>;
