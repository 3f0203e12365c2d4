import { operand, type Semantics, width } from './operand.ts';

const nothing: Semantics = () => {};

/** #BR unless the index lies between the two bounds in memory. The second is read only if the first holds. */
const bound: Semantics = (e, insn) => {
  const n = width(insn);
  const memory = operand(insn, 1, 'mem');
  const index = e.reg(n, operand(insn, 0, 'gpr'));
  const lower = e.address(memory);
  e.trapIf(e.less(n, index, e.load(n, memory.segment, lower)), '#BR');
  const upper = e.bin('add', insn.addressSize, lower, e.const(insn.addressSize, n));
  e.trapIf(e.less(n, e.load(n, memory.segment, upper), index), '#BR');
};

/** The cache-line instructions ask for read access to the byte they name. */
const touch: Semantics = (e, insn) => {
  const memory = operand(insn, 0, 'mem');
  e.load(1, memory.segment, e.address(memory));
};

/** What changes nothing: hints, fences (every access is ordered here), and BOUND. */
// biome-ignore format: a table
export const IDLE = {
  NOP: nothing,  ENDBR32: nothing,  ENDBR64: nothing,
  PREFETCHNTA: nothing,  PREFETCHT0: nothing,  PREFETCHT1: nothing,  PREFETCHT2: nothing,  PREFETCHW: nothing,
  LFENCE: nothing,  MFENCE: nothing,  SFENCE: nothing,  SERIALIZE: nothing,
  CLFLUSH: touch,   CLFLUSHOPT: touch,  CLWB: touch,
  BOUND: bound,
} satisfies Record<string, Semantics>;
