import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Core, SystemFunction } from '../system/core.ts';
import { is64Bit } from '../system/mode.ts';
import { Area } from './area.ts';
import { requireX87, X87 } from './registers.ts';

/** Bits of MXCSR that exist; what FXSAVE reports as MXCSR_MASK. */
export const MXCSR_MASK = 0xffff;
export const MXCSR_RESET = 0x1f80;

/** Offsets in the legacy region. Vol. 2, "FXSAVE—Save x87 FPU, MMX Technology, and SSE State". */
const AT = {
  FCW: 0,
  FSW: 2,
  FTW: 4,
  FOP: 6,
  FIP: 8,
  FCS: 12,
  FDP: 16,
  FDS: 20,
  MXCSR: 24,
  MASK: 28,
  ST: 32,
  XMM: 160,
};

const isWide = (insn: Insn): boolean => insn.op.endsWith('64');

/** XMM registers that code of this size can name. */
const xmmCount = (state: State): number => (is64Bit(state) ? 16 : 8);

export function saveX87(area: Area, state: State, insn: Insn): void {
  const x87 = new X87(state);
  area.write(AT.FCW, 2, x87.fcw);
  area.write(AT.FSW, 2, x87.fsw);
  area.write(AT.FTW, 2, x87.ftw);
  area.write(AT.FOP, 2, x87.fop);
  if (isWide(insn)) {
    area.write(AT.FIP, 8, state.get(STATE.FIP));
    area.write(AT.FDP, 8, state.get(STATE.FDP));
  } else {
    area.write(AT.FIP, 4, state.get32(STATE.FIP));
    area.write(AT.FCS, 4, x87.fcs);
    area.write(AT.FDP, 4, state.get32(STATE.FDP));
    area.write(AT.FDS, 4, x87.fds);
  }
  for (let i = 0; i < 8; i++) {
    const bits = x87.get(i);
    area.write(AT.ST + 16 * i, 8, bits & 0xffff_ffff_ffff_ffffn);
    area.write(AT.ST + 16 * i + 8, 8, bits >> 64n);
  }
}

export function restoreX87(area: Area, state: State, insn: Insn): void {
  const x87 = new X87(state);
  const word = (at: number) => Number(area.read(at, 2));
  x87.fsw = word(AT.FSW);
  x87.fcw = word(AT.FCW);
  x87.ftw = word(AT.FTW) & 0xff;
  x87.fop = word(AT.FOP) & 0x7ff;
  state.set(STATE.FIP, area.read(AT.FIP, isWide(insn) ? 8 : 4));
  state.set(STATE.FDP, area.read(AT.FDP, isWide(insn) ? 8 : 4));
  x87.fcs = isWide(insn) ? 0 : word(AT.FCS);
  x87.fds = isWide(insn) ? 0 : word(AT.FDS);
  for (let i = 0; i < 8; i++) {
    const low = area.read(AT.ST + 16 * i, 8);
    x87.setPhysicalBits(x87.physical(i), low | (area.read(AT.ST + 16 * i + 8, 2) << 64n));
  }
}

export function saveXmm(area: Area, state: State): void {
  for (let i = 0; i < xmmCount(state); i++) {
    area.write(AT.XMM + 16 * i, 8, state.get(STATE.XMM + 32 * i));
    area.write(AT.XMM + 16 * i + 8, 8, state.get(STATE.XMM + 32 * i + 8));
  }
}

/** From memory; without an area, to zero. */
export function restoreXmm(area: Area | undefined, state: State): void {
  for (let i = 0; i < xmmCount(state); i++) {
    state.set(STATE.XMM + 32 * i, area?.read(AT.XMM + 16 * i, 8) ?? 0n);
    state.set(STATE.XMM + 32 * i + 8, area?.read(AT.XMM + 16 * i + 8, 8) ?? 0n);
  }
}

export function saveMxcsr(area: Area, state: State): void {
  area.write(AT.MXCSR, 4, state.get32(STATE.MXCSR));
  area.write(AT.MASK, 4, MXCSR_MASK);
}

/** @throws Fault #GP(0) for reserved bits */
export function mxcsrOf(area: Area): number {
  const mxcsr = Number(area.read(AT.MXCSR, 4));
  if ((mxcsr & ~MXCSR_MASK) !== 0) throw new Fault('#GP', 0);
  return mxcsr;
}

const areaOf = (core: Core, insn: Insn, access: 'read' | 'write') =>
  new Area(core, insn, 512, access, { demanded: 16 });

/** FXSAVE, FXSAVE64. */
export const fxsave: SystemFunction = (core, insn) => {
  requireX87(core.state);
  const area = areaOf(core, insn, 'write');
  saveX87(area, core.state, insn);
  saveMxcsr(area, core.state);
  saveXmm(area, core.state);
};

/** FXRSTOR, FXRSTOR64. */
export const fxrstor: SystemFunction = (core, insn) => {
  requireX87(core.state);
  const area = areaOf(core, insn, 'read');
  const mxcsr = mxcsrOf(area);
  restoreX87(area, core.state, insn);
  core.state.set32(STATE.MXCSR, mxcsr);
  restoreXmm(area, core.state);
};
