import { CR0, EFER, RFLAGS } from '../control-registers.ts';
import { SEGMENT, STATE } from '../state/layout.ts';
import { SEGMENT_INDEX, type State } from '../state/state.ts';
import { RIGHTS } from './rights.ts';

const PE = Number(CR0.PE);
const LMA = Number(EFER.LMA);
const VM = Number(RFLAGS.VM);
const CS_RIGHTS = STATE.SEGMENT + SEGMENT_INDEX.CS * SEGMENT.SIZE + SEGMENT.RIGHTS;
const SS_RIGHTS = STATE.SEGMENT + SEGMENT_INDEX.SS * SEGMENT.SIZE + SEGMENT.RIGHTS;

/** IA-32e mode: 64-bit or compatibility mode. */
export const isLongMode = (state: State): boolean => (state.get32(STATE.EFER) & LMA) !== 0;

export const is64Bit = (state: State): boolean =>
  isLongMode(state) && (state.get32(CS_RIGHTS) & RIGHTS.L) !== 0;

export const isProtected = (state: State): boolean => (state.get32(STATE.CR0) & PE) !== 0;

export const isVirtual8086 = (state: State): boolean =>
  (state.get32(STATE.RFLAGS_SYSTEM) & VM) !== 0;

/** Real-address mode or virtual-8086 mode: segments are selector × 16. */
export const isRealLike = (state: State): boolean => !isProtected(state) || isVirtual8086(state);

/** Bytes of code-segment default size: 8 in 64-bit mode, else 4 or 2 by CS.D. */
export const codeSize = (state: State): 2 | 4 | 8 =>
  is64Bit(state) ? 8 : (state.get32(CS_RIGHTS) & RIGHTS.DB) !== 0 ? 4 : 2;

/** Bytes of the stack pointer: 8 in 64-bit mode, else 4 or 2 by SS.B. */
export const stackSize = (state: State): 2 | 4 | 8 =>
  is64Bit(state) ? 8 : (state.get32(SS_RIGHTS) & RIGHTS.DB) !== 0 ? 4 : 2;

/** Current I/O privilege level. */
export const iopl = (state: State): number => (state.get32(STATE.RFLAGS_SYSTEM) >> 12) & 3;
