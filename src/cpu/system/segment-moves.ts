import { SIZE_MASK } from '../../bits/u64.ts';
import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { SEGMENTS } from '../state/layout.ts';
import type { Core, SystemFunction } from './core.ts';
import { blockByMovSs, type DataSegment, dataSegment, loadDataSegment } from './segments.ts';

/** The segment register that operand `i` names, if software may load it. @throws Fault #UD for CS and none */
function destination(insn: Insn, i: number): DataSegment {
  const operand = insn.operands[i];
  const name = operand?.kind === 'seg' ? SEGMENTS[operand.index] : undefined;
  if (!name || name === 'CS' || name === 'LDTR' || name === 'TR') throw new Fault('#UD');
  return name;
}

/** MOV to a segment register. */
export const movSeg: SystemFunction = (core, insn) => {
  const name = destination(insn, 0);
  loadDataSegment(core, name, Number(core.operand(insn, 1, 2)));
  if (name === 'SS') blockByMovSs(core);
};

/** POP of a segment register: the selector is its low 16 bits. */
export const popSeg: SystemFunction = (core, insn) => {
  const name = destination(insn, 0);
  const [slot = 0n] = core.peekStack(1, insn.size);
  const segment = dataSegment(core, name, Number(slot & 0xffffn));
  const top = core.stackPointer + BigInt(insn.size);
  core.setStackPointer(top);
  core.state.setSegment(name, segment);
  if (name === 'SS') blockByMovSs(core);
};

/** LDS, LES, LFS, LGS, LSS: a far pointer into a segment register and a general one. */
const loadFar =
  (name: DataSegment): SystemFunction =>
  (core, insn) => {
    const { offset, selector } = farPointer(core, insn, 1);
    const segment = dataSegment(core, name, selector);
    core.setOperand(insn, 0, offset);
    core.state.setSegment(name, segment);
  };

export const lds = loadFar('DS');
export const les = loadFar('ES');
export const lfs = loadFar('FS');
export const lgs = loadFar('GS');
export const lss = loadFar('SS');

/** A far pointer, in the instruction or in memory (m16:16, m16:32, m16:64). */
export function farPointer(
  core: Core,
  insn: Insn,
  i: number,
): { readonly selector: number; readonly offset: bigint } {
  const operand = insn.operands[i];
  if (operand?.kind === 'far') return operand;
  if (operand?.kind !== 'mem') throw new Fault('#UD');
  const at = core.offset(operand, insn);
  const mask = SIZE_MASK[insn.addressSize]!;
  core.linear(operand.segment, at, insn.size + 2, 'read');
  const offset = core.load(operand.segment, at, insn.size);
  const selector = Number(core.load(operand.segment, (at + BigInt(insn.size)) & mask, 2));
  return { offset, selector };
}
