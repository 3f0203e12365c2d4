import type { Mnemonic } from '../decode/mnemonics.ts';
import { xgetbv, xsetbv } from '../x87/extended-control.ts';
import { X87_INSTRUCTIONS } from '../x87/instructions.ts';
import { clts, lmsw, movCr, smsw } from './control-moves.ts';
import type { SystemFunction } from './core.ts';
import { movDr } from './debug-moves.ts';
import {
  arpl,
  lar,
  lgdt,
  lidt,
  lldt,
  lsl,
  ltr,
  sgdt,
  sidt,
  sldt,
  str,
  verr,
  verw,
} from './descriptor-tables.ts';
import { callFar, jmpFar, retFar } from './far-transfers.ts';
import { swapgs, syscall, sysenter, sysexit, sysret } from './fast-calls.ts';
import { clac, cli, hlt, monitor, mwait, pause, stac, sti } from './halting.ts';
import { iret, popf } from './interrupt-return.ts';
import { invd, invlpg, invpcid, wbinvd } from './invalidation.ts';
import { input, ins, output, outs } from './port-io.ts';
import {
  cpuid,
  rdfsbase,
  rdgsbase,
  rdmsr,
  rdpid,
  rdpkru,
  rdpmc,
  rdrand,
  rdseed,
  rdtsc,
  rdtscp,
  wrfsbase,
  wrgsbase,
  wrmsr,
  wrpkru,
} from './register-access.ts';
import { lds, les, lfs, lgs, lss, movSeg, popSeg } from './segment-moves.ts';
import { int, int1, int3, into, undefinedInstruction } from './software-interrupts.ts';

/** Who executes which mnemonic in plain TypeScript. VMX adds its own. */
// biome-ignore format: a table
export const SYSTEM_INSTRUCTIONS: Readonly<Partial<Record<Mnemonic, SystemFunction>>> = {
  // control, debug and extended control registers
  MOVCR: movCr,  MOVDR: movDr,  CLTS: clts,  LMSW: lmsw,  SMSW: smsw,  XGETBV: xgetbv,  XSETBV: xsetbv,
  INVLPG: invlpg,  INVPCID: invpcid,  INVD: invd,  WBINVD: wbinvd,  WBNOINVD: wbinvd,
  // segment registers and descriptor tables
  MOVSEG: movSeg,  POPSEG: popSeg,  LDS: lds,  LES: les,  LFS: lfs,  LGS: lgs,  LSS: lss,
  LGDT: lgdt,  LIDT: lidt,  SGDT: sgdt,  SIDT: sidt,  LLDT: lldt,  LTR: ltr,  SLDT: sldt,  STR: str,
  VERR: verr,  VERW: verw,  LAR: lar,  LSL: lsl,  ARPL: arpl,
  RDFSBASE: rdfsbase,  RDGSBASE: rdgsbase,  WRFSBASE: wrfsbase,  WRGSBASE: wrgsbase,  SWAPGS: swapgs,
  // transfers
  CALLF: callFar,  JMPF: jmpFar,  RETF: retFar,  IRET: iret,
  SYSCALL: syscall,  SYSRET: sysret,  SYSENTER: sysenter,  SYSEXIT: sysexit,
  INT: int,  INT3: int3,  INT1: int1,  INTO: into,
  UD0: undefinedInstruction,  UD1: undefinedInstruction,  UD2: undefinedInstruction,
  // MSRs, counters, identification
  RDMSR: rdmsr,  WRMSR: wrmsr,  RDPMC: rdpmc,  RDTSC: rdtsc,  RDTSCP: rdtscp,  RDPID: rdpid,  CPUID: cpuid,
  RDRAND: rdrand,  RDSEED: rdseed,  RDPKRU: rdpkru,  WRPKRU: wrpkru,
  // flags, halting, ports
  POPF: popf,  CLI: cli,  STI: sti,  CLAC: clac,  STAC: stac,  HLT: hlt,  PAUSE: pause,
  MONITOR: monitor,  MWAIT: mwait,  IN: input,  OUT: output,  INS: ins,  OUTS: outs,
  // floating-point state
  ...X87_INSTRUCTIONS,
};
