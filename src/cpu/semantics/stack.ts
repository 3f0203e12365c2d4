import { type Emit, RBP, RSP } from '../emit.ts';
import { nestingLevel } from '../form.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import { operand, read, type Semantics, width } from './operand.ts';

/** The stack pointer moved by `bytes`; not yet written. */
export const stackAt = <V, C>(e: Emit<V, C>, bytes: number): V =>
  e.bin('add', e.stackSize, e.reg(e.stackSize, RSP), e.const(e.stackSize, bytes));

export const setStack = <V, C>(e: Emit<V, C>, pointer: V): void =>
  e.setReg(e.stackSize, RSP, pointer);

/** Pushes `value`, `bytes` of which are written into a slot of the operand size. */
function pushValue<V, C>(e: Emit<V, C>, insn: Insn, value: V, bytes = width(insn)): void {
  const top = stackAt(e, -insn.size);
  e.store(bytes, 'SS', top, value);
  setStack(e, top);
}

const push: Semantics = (e, insn) => pushValue(e, insn, read(e, insn, 0));

/** Of a slot of 4 bytes, only two are written. Vol. 2, "PUSH—Push Word, Doubleword, or Quadword Onto the Stack". */
const pushSegment: Semantics = (e, insn) =>
  pushValue(e, insn, e.selector(operand(insn, 0, 'seg')), insn.size === 4 ? 2 : width(insn));

/** The address of a destination in memory is computed with the stack pointer already moved. */
const pop: Semantics = (e, insn) => {
  const n = width(insn);
  const value = e.load(n, 'SS', e.reg(e.stackSize, RSP));
  const top = stackAt(e, n);
  const destination = insn.operands[0];
  if (destination?.kind === 'mem') {
    const address = e.address(destination);
    const moved = e.bin('add', insn.addressSize, address, e.const(insn.addressSize, n));
    e.store(n, destination.segment, destination.base === RSP ? moved : address, value);
    setStack(e, top);
  } else {
    setStack(e, top);
    e.setReg(n, operand(insn, 0, 'gpr'), value);
  }
};

const ALL = [0, 1, 2, 3, 4, 5, 6, 7];
const FROM_TOP = [7, 6, 5, 4, 3, 2, 1, 0];

/** The eight registers in the order of their numbers, RSP as it was. */
const pushAll: Semantics = (e, insn) => {
  const n = width(insn);
  e.probe(n, 'SS', stackAt(e, -n));
  e.probe(n, 'SS', stackAt(e, -8 * n));
  for (const i of ALL) e.store(n, 'SS', stackAt(e, -(i + 1) * n), e.reg(n, i));
  setStack(e, stackAt(e, -8 * n));
};

/** Skips the slot of RSP. */
const popAll: Semantics = (e, insn) => {
  const n = width(insn);
  const values = FROM_TOP.filter((i) => i !== RSP).map(
    (i) => [i, e.load(n, 'SS', stackAt(e, (7 - i) * n))] as const,
  );
  const top = stackAt(e, 8 * n);
  for (const [i, value] of values) e.setReg(n, i, value);
  setStack(e, top);
};

/** RFLAGS.IOPL, both bits. */
const IOPL = 0x3000;

/** VM and RF are pushed as 0. In virtual-8086 mode, which runs at CPL 3, IOPL must be 3. */
const pushFlags: Semantics = (e, insn) => {
  if (e.virtual8086) {
    const iopl = e.bin('and', 4, e.field(4, STATE.RFLAGS_SYSTEM), e.const(4, IOPL));
    e.trapIf(e.not(e.equal(4, iopl, e.const(4, IOPL))), '#GP', 0);
  }
  const system = e.bin('and', 4, e.field(4, STATE.RFLAGS_SYSTEM), e.const(4, 0x00fc_ffff));
  pushValue(e, insn, e.low(width(insn), e.bin('or', 4, system, e.statusFlags())));
};

/**
 * Pushes the outer frame pointer, copies the display of the outer frames, ends it with the new frame; the new top must
 * be writable. What was stored before a fault stays stored. Vol. 2, "ENTER—Make Stack Frame for Procedure Parameters".
 */
const enter: Semantics = (e, insn) => {
  const n = width(insn);
  const level = nestingLevel(insn);
  const below = (slots: number, register: number) =>
    e.bin('sub', e.stackSize, e.reg(e.stackSize, register), e.const(e.stackSize, slots * n));
  const frame = below(1, RSP);
  // The new frame pointer has all of the operand size, even where the stack pointer is narrower.
  const pointer =
    n > e.stackSize
      ? e.bin('or', n, e.bin('and', n, e.reg(n, RSP), e.const(n, 0xffff_0000)), frame)
      : e.low(n, frame);
  e.store(n, 'SS', frame, e.reg(n, RBP));
  for (let i = 1; i < level; i++) {
    e.store(n, 'SS', below(i + 1, RSP), e.load(n, 'SS', below(i, RBP)));
  }
  if (level > 0) e.store(n, 'SS', below(level + 1, RSP), pointer);
  const bottom = below(level + 1, RSP);
  const top = e.bin('sub', e.stackSize, bottom, e.imm(2, operand(insn, 0, 'imm')));
  e.probe(n, 'SS', top);
  setStack(e, top);
  e.setReg(n, RBP, pointer);
};

const leave: Semantics = (e, insn) => {
  const n = width(insn);
  const frame = e.reg(e.stackSize, RBP);
  const outer = e.load(n, 'SS', frame);
  setStack(e, e.bin('add', e.stackSize, frame, e.const(e.stackSize, n)));
  e.setReg(n, RBP, outer);
};

// biome-ignore format: a table
export const STACK = {
  PUSH: push,   PUSHSEG: pushSegment,  PUSHA: pushAll,  PUSHF: pushFlags,  ENTER: enter,
  POP: pop,     POPA: popAll,          LEAVE: leave,
} satisfies Record<string, Semantics>;
