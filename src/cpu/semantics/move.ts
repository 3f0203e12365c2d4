import { type IntegerSize, RAX, RDX } from '../emit.ts';
import {
  gpr,
  operand,
  read,
  readForWrite,
  type Semantics,
  sourceWidth,
  width,
  write,
  writeBack,
} from './operand.ts';

const move: Semantics = (e, insn) => write(e, insn, 0, read(e, insn, 1));

const moveZeroExtended: Semantics = (e, insn) =>
  e.setReg(width(insn), gpr(insn, 0), read(e, insn, 1, sourceWidth(insn)));

const moveSignExtended: Semantics = (e, insn) => {
  const value = read(e, insn, 1, sourceWidth(insn));
  e.setReg(width(insn), gpr(insn, 0), e.signExtend(sourceWidth(insn), width(insn), value));
};

const loadEffectiveAddress: Semantics = (e, insn) =>
  e.setReg(width(insn), gpr(insn, 0), e.low(width(insn), e.address(operand(insn, 1, 'mem'))));

const exchange: Semantics = (e, insn) => {
  const b = read(e, insn, 1);
  const a = readForWrite(e, insn);
  writeBack(e, insn, b, () => write(e, insn, 1, a));
};

/** Reads its source, and with 4 bytes clears the upper half, whatever the condition. */
const moveIf: Semantics = (e, insn) => {
  const n = width(insn);
  const b = read(e, insn, 1);
  e.setReg(n, gpr(insn, 0), e.select(n, e.cond(insn.condition!), b, read(e, insn, 0)));
};

const setIf: Semantics = (e, insn) => write(e, insn, 0, e.truth(e.cond(insn.condition!)));

/** CBW, CWDE, CDQE. */
const extendAccumulator: Semantics = (e, insn) => {
  const half = (width(insn) / 2) as IntegerSize;
  e.setReg(width(insn), RAX, e.signExtend(half, width(insn), e.reg(half, RAX)));
};

/** CWD, CDQ, CQO. */
const extendIntoData: Semantics = (e, insn) => {
  const n = width(insn);
  e.setReg(n, RDX, e.shift('sar', n, e.reg(n, RAX), e.const(1, n * 8 - 1)));
};

/** Of two bytes the result is undefined; every processor gives 0. */
const byteSwap: Semantics = (e, insn) => {
  const n = width(insn);
  const a = read(e, insn, 0);
  e.setReg(n, gpr(insn, 0), n === 4 || n === 8 ? e.byteSwap(n, a) : e.const(n, 0));
};

const moveSwapped: Semantics = (e, insn) =>
  write(e, insn, 0, e.byteSwap(width(insn) as 2 | 4 | 8, read(e, insn, 1)));

/** AL from the table at rBX. */
const translate: Semantics = (e, insn) => {
  const table = operand(insn, 0, 'mem');
  const address = e.bin('add', insn.addressSize, e.address(table), e.reg(1, RAX));
  e.setReg(1, RAX, e.load(1, table.segment, address));
};

/** MOV from a segment register. To one: cpu/system. */
const moveSegment: Semantics = (e, insn) => write(e, insn, 0, e.selector(operand(insn, 1, 'seg')));

// biome-ignore format: a table
export const MOVE = {
  MOV: move,               MOVNTI: move,              MOVZX: moveZeroExtended,  MOVSX: moveSignExtended,
  MOVSXD: moveSignExtended, MOVSEG: moveSegment,      LEA: loadEffectiveAddress, XCHG: exchange,
  CMOVCC: moveIf,          SETCC: setIf,              CBW: extendAccumulator,   CWD: extendIntoData,
  BSWAP: byteSwap,         MOVBE: moveSwapped,        XLAT: translate,
} satisfies Record<string, Semantics>;
