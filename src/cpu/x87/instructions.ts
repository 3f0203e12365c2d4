import type { Mnemonic } from '../insn.ts';
import type { SystemFunction } from '../system/core.ts';
import { X87_ARITHMETIC } from './arithmetic.ts';
import { X87_COMPARE } from './compare.ts';
import { X87_CONTROL } from './control.ts';
import { fxrstor, fxsave } from './fxsave.ts';
import { X87_TRANSCENDENTAL } from './transcendental.ts';
import { X87_TRANSFER } from './transfer.ts';
import { xrstor, xrstors, xsave, xsavec, xsaveopt, xsaves } from './xsave.ts';

/** The x87, and the state of all floating-point registers, by mnemonic. */
// biome-ignore format: a table
export const X87_INSTRUCTIONS = {
  ...X87_ARITHMETIC,  ...X87_TRANSFER,  ...X87_COMPARE,  ...X87_CONTROL,  ...X87_TRANSCENDENTAL,
  FXSAVE: fxsave,    FXSAVE64: fxsave,    FXRSTOR: fxrstor,    FXRSTOR64: fxrstor,
  XSAVE: xsave,      XSAVE64: xsave,      XRSTOR: xrstor,      XRSTOR64: xrstor,
  XSAVEC: xsavec,    XSAVEC64: xsavec,    XSAVEOPT: xsaveopt,  XSAVEOPT64: xsaveopt,
  XSAVES: xsaves,    XSAVES64: xsaves,    XRSTORS: xrstors,    XRSTORS64: xrstors,
} as const satisfies Partial<Record<Mnemonic, SystemFunction>>;
