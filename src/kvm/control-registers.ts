import { bit } from '../bits/bitfield.ts';

/** Bits of the guest's control registers that KVM itself looks at. */
export const CR0 = {
  PE: bit(0),
  ET: bit(4),
  NE: bit(5),
  WP: bit(16),
  NW: bit(29),
  CD: bit(30),
  PG: bit(31),
} as const;
export const CR4 = {
  PAE: bit(5),
  PCE: bit(8),
  VMXE: bit(13),
  OSXSAVE: bit(18),
  PKE: bit(22),
} as const;
export const EFER = { SCE: bit(0), LME: bit(8), LMA: bit(10), NXE: bit(11) } as const;
export const RFLAGS = { FIXED: bit(1), TF: bit(8), IF: bit(9) } as const;

/** Interruptibility state. */
export const BLOCKING = { STI: 1, MOV_SS: 2, NMI: 8 } as const;
/** Activity state. */
export const ACTIVITY = { ACTIVE: 0, HLT: 1 } as const;
