import { CC, RCX } from '../emit.ts';
import { operand, read, type Semantics, width } from './operand.ts';
import { setStack, stackAt } from './stack.ts';

const jump: Semantics = (e, insn) => {
  if (insn.operands[0]?.kind === 'rel') {
    const to = operand(insn, 0, 'rel');
    e.checkTarget(e.relative(to));
    e.jump(to);
  } else {
    const target = read(e, insn, 0);
    e.checkTarget(target);
    e.jumpTo(target);
  }
};

const jumpIf: Semantics = (e, insn) => {
  const to = operand(insn, 0, 'rel');
  const taken = e.cond(insn.condition!);
  e.checkTarget(e.relative(to), taken);
  e.jump(to, taken);
};

const call: Semantics = (e, insn) => {
  const n = width(insn);
  const direct = insn.operands[0]?.kind === 'rel' ? operand(insn, 0, 'rel') : undefined;
  const target = direct ? e.relative(direct) : read(e, insn, 0);
  const top = stackAt(e, -n);
  e.store(n, 'SS', top, e.low(n, e.next()));
  e.checkTarget(target);
  setStack(e, top);
  if (direct) e.jump(direct);
  else e.jumpTo(target);
};

/** RET, with an immediate that releases so many bytes more. */
const ret: Semantics = (e, insn) => {
  const n = width(insn);
  const target = e.load(n, 'SS', stackAt(e, 0));
  e.checkTarget(target);
  const popped = stackAt(e, n);
  const released = insn.operands[0]?.kind === 'imm' ? operand(insn, 0, 'imm') : undefined;
  setStack(e, released ? e.bin('add', e.stackSize, popped, e.imm(2, released)) : popped);
  e.jumpTo(target);
};

/** LOOP, LOOPE, LOOPNE: rCX of the address size. */
const loop =
  (condition?: number): Semantics =>
  (e, insn) => {
    const n = insn.addressSize;
    const to = operand(insn, 0, 'rel');
    const count = e.bin('sub', n, e.reg(n, RCX), e.const(n, 1));
    const more = e.not(e.isZero(n, count));
    const taken = condition === undefined ? more : e.both(more, e.cond(condition));
    e.checkTarget(e.relative(to), taken);
    e.setReg(n, RCX, count);
    e.jump(to, taken);
  };

const jumpIfCountZero: Semantics = (e, insn) => {
  const to = operand(insn, 0, 'rel');
  const taken = e.isZero(insn.addressSize, e.reg(insn.addressSize, RCX));
  e.checkTarget(e.relative(to), taken);
  e.jump(to, taken);
};

// biome-ignore format: a table
export const BRANCH = {
  JMP: jump,  JCC: jumpIf,  CALL: call,  RET: ret,
  LOOP: loop(),  LOOPE: loop(CC.E),  LOOPNE: loop(CC.NE),  JCXZ: jumpIfCountZero,
} satisfies Record<string, Semantics>;
