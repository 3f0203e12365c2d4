import { bits, isSet, maskOf } from '../../bits/bitfield.ts';
import { MASK32, MASK64 } from '../../bits/u64.ts';
import { CR0, CR4, EFER } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core, SystemFunction } from './core.ts';
import { is64Bit, isLongMode } from './mode.ts';
import { RIGHTS, SYSTEM_TYPE } from './rights.ts';

const refuse = () => new Fault('#GP', 0);

const CR0_DEFINED = maskOf(...Object.values(CR0));
const CR4_PAGING = maskOf(
  CR4.PSE,
  CR4.PAE,
  CR4.PGE,
  CR4.LA57,
  CR4.PCIDE,
  CR4.SMEP,
  CR4.SMAP,
  CR4.PKE,
);
const PAGE_TABLE_BASE = (width: number) => bits(width - 1, 0);
const KEEP_TLB = 1n << 63n;

/** CR0 as MOV, LMSW and CLTS may leave it. @throws Fault #GP(0). Vol. 3, "Control Registers". */
export function writeCr0(core: Core, wanted: bigint): void {
  const { state } = core;
  const old = state.get(STATE.CR0);
  if (wanted >> 32n !== 0n) throw refuse();
  const value = (wanted & CR0_DEFINED) | CR0.ET;
  if (isSet(value, CR0.PG) && !isSet(value, CR0.PE)) throw refuse();
  if (isSet(value, CR0.NW) && !isSet(value, CR0.CD)) throw refuse();
  if (core.ports.vmx?.operation && !core.ports.vmx.mayHold(0, value)) throw refuse();

  const efer = state.get(STATE.EFER);
  const paging = isSet(value, CR0.PG);
  let lma = isSet(efer, EFER.LMA);
  if (paging !== isSet(old, CR0.PG)) {
    const cr4 = state.get(STATE.CR4);
    const cs = state.segment('CS').rights;
    if (paging && isSet(efer, EFER.LME)) {
      const tss = state.segment('TR').rights;
      if (!isSet(cr4, CR4.PAE) || (cs & RIGHTS.L) !== 0) throw refuse();
      if ((tss & RIGHTS.UNUSABLE) === 0 && (tss & RIGHTS.TYPE) === SYSTEM_TYPE.BUSY_TSS16) {
        throw refuse();
      }
      lma = true;
    } else if (!paging && lma) {
      if (is64Bit(state) || isSet(cr4, CR4.PCIDE)) throw refuse();
      lma = false;
    } else if (!paging && isSet(cr4, CR4.PCIDE)) throw refuse();
  }
  const caching = maskOf(CR0.CD, CR0.NW, CR0.PG);
  if (paging && !lma && isSet(state.get(STATE.CR4), CR4.PAE) && isSet(old ^ value, caching)) {
    loadPdptes(core, state.get(STATE.CR3));
  }
  state.set(STATE.EFER, lma ? efer | EFER.LMA : efer & ~EFER.LMA);
  state.set(STATE.CR0, value);
  if (isSet(old ^ value, caching)) core.forget();
}

export function writeCr3(core: Core, value: bigint): void {
  const { state } = core;
  const cr4 = state.get(STATE.CR4);
  const pcids = isSet(cr4, CR4.PCIDE);
  let base = value;
  if (isLongMode(state)) {
    if (pcids) base &= ~KEEP_TLB;
    if (isSet(base, ~PAGE_TABLE_BASE(core.features.physicalWidth) & MASK64)) throw refuse();
  } else {
    base &= MASK32;
    if (isSet(state.get(STATE.CR0), CR0.PG) && isSet(cr4, CR4.PAE)) loadPdptes(core, base);
  }
  state.set(STATE.CR3, base);
  if (!pcids) core.forget({ pcid: 0 });
  else {
    if (!isSet(value, KEEP_TLB)) core.forget({ pcid: Number(base & 0xfffn) });
    core.engine.retagged();
  }
}

export function writeCr4(core: Core, value: bigint): void {
  const { state } = core;
  const old = state.get(STATE.CR4);
  const changed = old ^ value;
  const long = isLongMode(state);
  if (isSet(value, ~core.features.cr4 & MASK64)) throw refuse();
  if (long && (!isSet(value, CR4.PAE) || isSet(changed, CR4.LA57))) throw refuse();
  if (isSet(value & changed, CR4.PCIDE) && (!long || isSet(state.get(STATE.CR3), 0xfffn))) {
    throw refuse();
  }
  if (core.ports.vmx?.operation && !core.ports.vmx.mayHold(4, value)) throw refuse();
  const reload = maskOf(CR4.PAE, CR4.PSE, CR4.PGE, CR4.SMEP);
  const paging = isSet(state.get(STATE.CR0), CR0.PG);
  if (paging && !long && isSet(value, CR4.PAE) && isSet(changed, reload)) {
    loadPdptes(core, state.get(STATE.CR3));
  }
  state.set(STATE.CR4, value);
  if (isSet(changed, CR4_PAGING)) core.forget();
  if (isSet(changed, CR4.DE)) core.engine.debugChanged();
}

/** Loads the four PDPTE registers. @throws Fault #GP(0). Vol. 3, "PDPTE Registers". */
export function loadPdptes(core: Core, cr3: bigint): void {
  const base = Number(cr3 & 0xffff_ffe0n);
  const reserved = 0x1e6n | (~PAGE_TABLE_BASE(core.features.physicalWidth) & MASK64);
  const translate = core.nonRoot?.translate;
  const entries = [0, 8, 16, 24].map((at) => {
    const physical = translate ? translate(base + at, 'read', undefined, true).physical : base + at;
    return core.ports.memory.read(physical, 8);
  });
  if (entries.some((entry) => isSet(entry, 1n) && isSet(entry, reserved))) throw refuse();
  for (const [i, entry] of entries.entries()) core.state.set(STATE.PDPTE + i * 8, entry);
}

const readable: Readonly<Record<number, (core: Core) => bigint>> = {
  0: ({ state }) => state.get(STATE.CR0),
  2: ({ state }) => state.get(STATE.CR2),
  3: ({ state }) => state.get(STATE.CR3),
  4: ({ state }) => state.get(STATE.CR4),
  8: (core) => BigInt(taskPriority(core)),
};

const taskPriority = (core: Core): number =>
  core.nonRoot?.taskPriority?.() ?? core.ports.interrupts.taskPriority();

const writable: Readonly<Record<number, (core: Core, value: bigint) => void>> = {
  0: writeCr0,
  2: ({ state }, value) => state.set(STATE.CR2, value),
  3: writeCr3,
  4: writeCr4,
  8: (core, value) => {
    if (value > 15n) throw refuse();
    const { nonRoot } = core;
    if (nonRoot?.setTaskPriority) nonRoot.setTaskPriority(Number(value));
    else core.ports.interrupts.setTaskPriority(Number(value));
    core.engine.endSlice();
  },
};

/** Size of the general register in MOV to and from CRn and DRn: no prefix changes it. */
export const moveSize = (core: Core) => (is64Bit(core.state) ? 8 : 4);

/** MOV to and from control registers. */
export const movCr: SystemFunction = (core, insn) => {
  const [to, from] = insn.operands;
  const size = moveSize(core);
  if (to?.kind === 'cr' && from?.kind === 'gpr') {
    const write = writable[to.index];
    if (!write) throw new Fault('#UD');
    core.requireCpl0();
    const value = core.gpr(from.index, size);
    const { nonRoot } = core;
    write(core, nonRoot ? nonRoot.movToCr(to.index, value, from.index, insn) : value);
  } else if (from?.kind === 'cr' && to?.kind === 'gpr') {
    const read = readable[from.index];
    if (!read) throw new Fault('#UD');
    core.requireCpl0();
    const { nonRoot } = core;
    const value = nonRoot ? nonRoot.movFromCr(from.index, read(core), to.index, insn) : read(core);
    core.setGpr(to.index, size, value);
  }
};

/** CLTS. */
export const clts: SystemFunction = (core, insn) => {
  core.requireCpl0();
  if (core.nonRoot && !core.nonRoot.clts(insn)) return;
  core.state.set(STATE.CR0, core.state.get(STATE.CR0) & ~CR0.TS);
};

/** LMSW: PE can be set but not cleared. */
export const lmsw: SystemFunction = (core, insn) => {
  core.requireCpl0();
  const source = Number(core.operand(insn, 0, 2));
  const memory = core.memoryOperand(insn);
  const linear = memory && core.linearOf(memory, insn);
  const low = core.nonRoot ? core.nonRoot.lmsw(source, linear, insn) : source & 0xf;
  const old = core.state.get(STATE.CR0);
  writeCr0(core, (old & ~0xen) | BigInt(low & 0xf));
};

/** SMSW: the whole of CR0 into a register wider than 16 bits. */
export const smsw: SystemFunction = (core, insn) => {
  requireUmip(core);
  const real = core.state.get(STATE.CR0);
  const value = core.nonRoot ? core.nonRoot.movFromCr(0, real, -1, insn) : real;
  core.setOperand(insn, 0, value, core.memoryOperand(insn) ? 2 : insn.size);
};

/** SGDT, SIDT, SLDT, SMSW, STR at CPL > 0 with CR4.UMIP set. @throws Fault #GP(0) */
export function requireUmip(core: Core): void {
  if (core.cpl > 0 && isSet(core.state.get(STATE.CR4), CR4.UMIP)) throw refuse();
}
