import { type Emit, RCX, RDI, RSI } from '../emit.ts';
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

/** One comparison, with the index registers moved on. The second operand is read first. */
function compareElements<V, C>(e: Emit<V, C>, insn: Insn, registers: number[]): [V, V] {
  const second = read(e, insn, 1);
  const first = read(e, insn, 0);
  advance(e, insn, ...registers);
  return [first, second];
}

/** With a prefix: while the elements are equal, or while they are not. Only the last comparison sets flags. */
function compareRepeated<V, C>(e: Emit<V, C>, insn: Insn, registers: number[]): void {
  const size = insn.addressSize;
  let goesOn: C;
  const body = () => {
    const lastByCount = e.equal(size, e.reg(size, RCX), e.const(size, 1));
    const [a, b] = compareElements(e, insn, registers);
    const equal = e.equal(width(insn), a, b);
    goesOn = insn.rep === 'rep' ? equal : e.not(equal);
    e.flagsIf(e.either(lastByCount, e.not(goesOn)), 'SUB', width(insn), a, b);
  };
  e.repeat(size, body, () => goesOn);
}

const compare =
  (...registers: number[]): Semantics =>
  (e, insn) => {
    if (insn.rep) compareRepeated(e, insn, registers);
    else e.flags('SUB', width(insn), ...compareElements(e, insn, registers));
  };

// biome-ignore format: a table
export const STRING = {
  MOVS: repeated(move),  STOS: repeated(store),  LODS: repeated(load),
  CMPS: compare(RSI, RDI),  SCAS: compare(RDI),
} satisfies Record<string, Semantics>;
