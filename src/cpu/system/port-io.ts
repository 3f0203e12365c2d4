import { SIZE_MASK } from '../../bits/u64.ts';
import { RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import type { Insn, Memory } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { Core, SystemFunction } from './core.ts';
import { iopl, isProtected, isVirtual8086 } from './mode.ts';
import { RIGHTS } from './rights.ts';
import { isWideTss } from './task-state.ts';

type PortSize = 1 | 2 | 4;
const BITMAP_BASE = 0x66;
const SINGLE = { string: false, rep: false } as const;

/** Whether the TSS lets `size` ports from `port` through. Vol. 1, "I/O Permission Bit Map". */
function permitted(core: Core, port: number, size: number): boolean {
  const tss = core.state.segment('TR');
  if ((tss.rights & RIGHTS.UNUSABLE) !== 0 || !isWideTss(tss.rights)) return false;
  if (tss.limit < BITMAP_BASE + 1) return false;
  const read = (offset: number, bytes: number) =>
    core.memory.read(tss.base + BigInt(offset), bytes, 'implicit');
  const at = Number(read(BITMAP_BASE, 2)) + (port >> 3);
  if (at + 1 > tss.limit) return false;
  const bits = Number(read(at, 2)) >> (port & 7);
  return (bits & ((1 << size) - 1)) === 0;
}

/** @throws Fault #GP(0) where neither IOPL nor the TSS allows it */
export function requirePort(core: Core, port: number, size: number): void {
  const free =
    !isProtected(core.state) || (core.cpl <= iopl(core.state) && !isVirtual8086(core.state));
  if (!free && !permitted(core, port, size)) throw new Fault('#GP', 0);
}

/** Port number of operand `i`: DX or an immediate. */
function portOf(core: Core, insn: Insn, i: number): { port: number; immediate: boolean } {
  const immediate = insn.operands[i]?.kind === 'imm';
  const port = immediate ? core.operand(insn, i, 1) : core.gpr(2, 2);
  return { port: Number(port), immediate };
}

const portSize = (insn: Insn): PortSize => (insn.size === 1 || insn.size === 2 ? insn.size : 4);

/** IN. */
export const input: SystemFunction = (core, insn) => {
  const size = portSize(insn);
  const { port, immediate } = portOf(core, insn, 1);
  requirePort(core, port, size);
  if (core.nonRoot?.io({ ...SINGLE, port, size, direction: 'in', immediate }, insn)) return;
  core.setGpr(0, size, BigInt(core.ports.io.read(port, size) >>> 0));
  core.pendDebug(core.breakpoints.port(port, size));
};

/** OUT. */
export const output: SystemFunction = (core, insn) => {
  const size = portSize(insn);
  const { port, immediate } = portOf(core, insn, 0);
  requirePort(core, port, size);
  if (core.nonRoot?.io({ ...SINGLE, port, size, direction: 'out', immediate }, insn)) return;
  core.ports.io.write(port, size, Number(core.gpr(0, size)));
  core.pendDebug(core.breakpoints.port(port, size));
  core.engine.endSlice();
};

/**
 * INS and OUTS: one element, and with a repeat prefix as many as rCX has. Each element commits before the next;
 * one that is not the last is a tick and no retirement.
 */
const stringIo =
  (direction: 'in' | 'out'): SystemFunction =>
  (core, insn) => {
    const size = portSize(insn);
    const rep = insn.rep !== undefined;
    const count = core.gpr(1, insn.addressSize);
    if (rep && count === 0n) return;
    const memory = insn.operands.find((operand): operand is Memory => operand.kind === 'mem');
    if (!memory) throw new Fault('#UD');
    const port = Number(core.gpr(2, 2));
    requirePort(core, port, size);
    const index = direction === 'in' ? 7 : 6;
    const offset = core.gpr(index, insn.addressSize);
    const access = direction === 'in' ? 'write' : 'read';
    if (core.nonRoot) {
      // Before any check of the segment. Vol. 3, "Relative Priority of Faults and VM Exits".
      const { segment } = memory;
      const place = {
        string: true,
        rep,
        immediate: false,
        linear: core.linearOf(memory, insn),
        segment,
      };
      if (core.nonRoot.io({ ...place, port, size, direction }, insn)) return;
    }
    const linear = core.linear(memory.segment, offset, size, access);
    core.memory.probe(linear, size, core.privilege, access);
    if (direction === 'in') {
      const value = BigInt(core.ports.io.read(port, size) >>> 0);
      core.memory.write(linear, size, value, core.privilege);
    } else {
      const value = core.memory.read(linear, size, core.privilege);
      core.ports.io.write(port, size, Number(value & SIZE_MASK[size]!));
    }
    core.pendDebug(core.breakpoints.port(port, size));
    const down = (core.state.get(STATE.RFLAGS_SYSTEM) & RFLAGS.DF) !== 0n;
    const step = BigInt(down ? -size : size);
    core.setGpr(index, insn.addressSize, offset + step);
    core.engine.endSlice();
    if (!rep) return;
    core.setGpr(1, insn.addressSize, count - 1n);
    if (count > 1n) core.nextRip = core.state.rip;
  };
export const ins = stringIo('in');
export const outs = stringIo('out');
