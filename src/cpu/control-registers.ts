import { bit, bits } from '../bits/bitfield.ts';

/** Vol. 3, "Control Registers". */
// biome-ignore format: a table
export const CR0 = {
  PE: bit(0),  MP: bit(1),  EM: bit(2),  TS: bit(3),  ET: bit(4),  NE: bit(5),
  WP: bit(16), AM: bit(18), NW: bit(29), CD: bit(30), PG: bit(31),
} as const;

// biome-ignore format: a table
export const CR4 = {
  VME: bit(0),   PVI: bit(1),    TSD: bit(2),   DE: bit(3),    PSE: bit(4),   PAE: bit(5),         MCE: bit(6),
  PGE: bit(7),   PCE: bit(8),    OSFXSR: bit(9), OSXMMEXCPT: bit(10), UMIP: bit(11), LA57: bit(12), VMXE: bit(13),
  SMXE: bit(14), FSGSBASE: bit(16), PCIDE: bit(17), OSXSAVE: bit(18), SMEP: bit(20), SMAP: bit(21), PKE: bit(22),
} as const;

/** IA32_EFER. */
export const EFER = { SCE: bit(0), LME: bit(8), LMA: bit(10), NXE: bit(11) } as const;

// biome-ignore format: a table
export const RFLAGS = {
  CF: bit(0),  PF: bit(2),  AF: bit(4),  ZF: bit(6),  SF: bit(7),  TF: bit(8),   IF: bit(9),   DF: bit(10),  OF: bit(11),
  IOPL: bits(13, 12), NT: bit(14), RF: bit(16), VM: bit(17), AC: bit(18), VIF: bit(19), VIP: bit(20), ID: bit(21),
  /** Bit 1, always set. */
  FIXED: bit(1),
} as const;

/** The six flags that arithmetic sets. */
export const STATUS_FLAGS = RFLAGS.CF | RFLAGS.PF | RFLAGS.AF | RFLAGS.ZF | RFLAGS.SF | RFLAGS.OF;

/** Debug status and control. Vol. 3, "Debug Registers". */
// biome-ignore format: a table
export const DR6 = { B: bits(3, 0), BD: bit(13), BS: bit(14), BT: bit(15), FIXED: 0xffff_0ff0n } as const;
export const DR7 = { LE: bit(8), GE: bit(9), GD: bit(13), FIXED: bit(10) } as const;

/** Extended control register 0. */
export const XCR0 = { X87: bit(0), SSE: bit(1), AVX: bit(2), PKRU: bit(9) } as const;

/** IA32_XSS. Vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features". */
export const XSS = { ARCH_LBR: bit(15) } as const;

/** Interruptibility state, as the VMCS has it. */
export const BLOCKING = { STI: 1, MOV_SS: 2, SMI: 4, NMI: 8 } as const;

/** Activity state, as the VMCS has it. */
export const ACTIVITY = { ACTIVE: 0, HLT: 1, SHUTDOWN: 2, WAIT_FOR_SIPI: 3 } as const;
