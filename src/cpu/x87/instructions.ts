import type { Mnemonic } from '../insn.ts';
import type { SystemFunction } from '../system/core.ts';
import { fxrstor, fxsave } from './fxsave.ts';
import { xrstor, xrstors, xsave, xsavec, xsaveopt, xsaves } from './xsave.ts';

/** Floating-point state, by mnemonic. */
// biome-ignore format: a table
export const X87_INSTRUCTIONS = {
  FXSAVE: fxsave,    FXSAVE64: fxsave,    FXRSTOR: fxrstor,    FXRSTOR64: fxrstor,
  XSAVE: xsave,      XSAVE64: xsave,      XRSTOR: xrstor,      XRSTOR64: xrstor,
  XSAVEC: xsavec,    XSAVEC64: xsavec,    XSAVEOPT: xsaveopt,  XSAVEOPT64: xsaveopt,
  XSAVES: xsaves,    XSAVES64: xsaves,    XRSTORS: xrstors,    XRSTORS64: xrstors,
} as const satisfies Partial<Record<Mnemonic, SystemFunction>>;
