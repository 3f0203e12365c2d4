import type { Insn, Mnemonic } from '../insn.ts';

/** The most cycles that one instruction is charged: what is longer is thought hidden by its neighbours. */
export const MOST_CYCLES = 64;

/**
 * Cycles an instruction takes beside its first, with all its operands in the first-level cache. Rounded from the
 * published latencies of recent cores; an instruction that is no row takes one cycle in all.
 */
// biome-ignore format: a table
const EXTRA: Partial<Record<Mnemonic, number>> = {
  MUL: 2,       IMUL: 2,       MULX: 2,      DIV: 11,      IDIV: 11,
  DIVSS: 3,     DIVPS: 3,      DIVSD: 4,     DIVPD: 4,     SQRTSS: 4,    SQRTPS: 4,   SQRTSD: 6,   SQRTPD: 6,
  FDIV: 6,      FDIVP: 6,      FDIVR: 6,     FDIVRP: 6,    FIDIV: 6,     FIDIVR: 6,   FSQRT: 8,
  FSIN: 50,     FCOS: 50,      FSINCOS: 60,  FPTAN: 60,    FPATAN: 60,   F2XM1: 40,   FYL2X: 50,   FYL2XP1: 50,
  FPREM: 20,    FPREM1: 20,    FSCALE: 20,   FXTRACT: 10,  FLDENV: 30,   FNSTENV: 40, FRSTOR: 63,  FNSAVE: 63,
  XCHG: 1,      CMPXCHG8B: 7,  CMPXCHG16B: 9, XLAT: 1,     ENTER: 8,     PUSHA: 6,    POPA: 6,     POPF: 15,
  PDEP: 2,      PEXT: 2,       CRC32: 2,     PCLMULQDQ: 2, BSF: 2,       BSR: 2,      POPCNT: 2,   LZCNT: 2,  TZCNT: 2,
  LFENCE: 5,    MFENCE: 30,    SFENCE: 4,    SERIALIZE: 50, PAUSE: 40,   CLFLUSH: 4,  CLFLUSHOPT: 2, CLWB: 2,
  RDTSC: 20,    RDTSCP: 25,    RDPMC: 25,    RDMSR: 60,    WRMSR: 63,    CPUID: 63,   XGETBV: 6,   XSETBV: 40,
  SYSCALL: 20,  SYSRET: 20,    SYSENTER: 25, SYSEXIT: 25,  IRET: 40,     INT: 50,     INT3: 50,    INTO: 50,   INT1: 50,
  CALLF: 50,    JMPF: 40,      RETF: 40,     MOVCR: 40,    MOVDR: 40,    LGDT: 12,    LIDT: 12,    LLDT: 15,   LTR: 30,
  INVLPG: 50,   INVPCID: 50,   WBINVD: 63,   INVD: 63,     HLT: 10,      STI: 2,      CLI: 2,      SWAPGS: 3,
  FXSAVE: 40,   FXRSTOR: 40,   XSAVE: 50,    XRSTOR: 50,   RDRAND: 63,   RDSEED: 63,  IN: 63,      OUT: 63,    INS: 63,    OUTS: 63,
};

/** An atomic read-modify-write costs this on top. */
const LOCKED = 17;
/** Division of a 128-bit number. */
const WIDE_DIVISION = 6;

/** Cycles of an instruction beside its first. */
export function extraCycles({ op, lock, size, operands }: Insn): number {
  const locked = lock || (op === 'XCHG' && operands.some(({ kind }) => kind === 'mem'));
  const wide = size === 8 && (op === 'DIV' || op === 'IDIV');
  return (EXTRA[op] ?? 0) + (locked ? LOCKED : 0) + (wide ? WIDE_DIVISION : 0);
}
