/**
 * Where our decoder and another one word the same thing differently, or where it knows more names than our CPU has.
 * Each row changes both texts into what is left to agree on.
 */
export interface Difference {
  readonly why: string;
  readonly applies: RegExp;
  readonly forgive: (text: string) => string;
}

const drop = (pattern: RegExp) => (text: string) => text.replace(pattern, '');
const memoryWidth = (text: string) => text.replace(/mem\d+/, 'mem');
const registerWidth = (text: string) => text.replace(/\br\d+:/g, 'r:');

// biome-ignore format: a table
export const WORDING: readonly Difference[] = [
  { why: 'our size of a far pointer, a pair of bounds or a pseudo-descriptor is that of its offset, bound or base',
    applies: /^(L[EDSFG]S|BOUND|CALLF|JMPF|[SL][GI]DT) /, forgive: memoryWidth },
  { why: 'memory that is only addressed, or sized by XCR0, has no width',
    applies: /^(LEA|INVLPG|CLFLUSH|CLFLUSHOPT|CLWB|PREFETCH\w+|X(SAVE|RSTOR)\w*|FXSAVE\w*|FXRSTOR\w*) /, forgive: memoryWidth },
  { why: 'reserved NOPs: nothing is accessed, and what later CPUs made of some of them our CPU does not have',
    applies: /^(NOP|PREFETCHW|PREFETCHIT[01]|CLDEMOTE|RDSSP[DQ]|BND\w+) /, forgive: () => 'NOP' },
  { why: 'of a selector or machine status word 16 bits are read, whatever register the assembler writes',
    applies: /^(LAR|LSL|ARPL|MOVSEG|LLDT|LTR|VERR|VERW|LMSW) /, forgive: registerWidth },
  { why: 'only the low byte or word goes in or out; the destination is written to 32 bits and cleared above',
    applies: /^(MOVMSKP[SD]|PMOVMSKB|PEXTR[BW]|EXTRACTPS|PINSR[BW]) /, forgive: registerWidth },
  { why: 'XMM0 as an implicit mask may be listed or not',
    applies: /^(SHA256RNDS2|PBLENDVB|BLENDVP[SD]) /, forgive: drop(/(?<=,.*), xmm:0$/) },
  { why: '[rDI] as an implicit destination may be listed first or last',
    applies: /^MASKMOV(Q|DQU) /, forgive: drop(/, mem\d+\[[^\]]*\]$|(?<=^\w+ )mem\d+\[[^\]]*\], /) },
  { why: 'AL as an implicit index may be part of the address or not',
    applies: /^XLAT /, forgive: (text) => text.replace('3+0*1', '3+none') },
  { why: '[rAX] as what is monitored goes without saying',
    applies: /^MONITOR/, forgive: drop(/ .*/) },
  { why: 'ST(0) as the first operand of a comparison or exchange goes without saying',
    applies: /^F(XCH|U?COMP?) st/, forgive: (text) => text.replace('st:0, st', 'st') },
  { why: 'objdump does not wrap targets at 16 bits',
    applies: /^(JCC cc\d+|JMP|CALL|LOOPN?E?|JCXZ) rel/, forgive: (text) => text.replace(/0x\w+$/, (target) => `${BigInt(target) & 0xffffn}`) },
  { why: 'objdump gives some memory operands no width',
    applies: /^(MOV|FLDENV|FNSTENV|FRSTOR|FNSAVE|LDDQU|INV\w+) .*mem\d*\[/, forgive: memoryWidth },
  { why: 'objdump forgets the address size of an absolute address',
    applies: /\[\w\w:a\d -1\+none/, forgive: (text) => text.replace(/:a\d -1\+none/, ':') },
  { why: 'objdump takes the destination for an XMM register if there is an operand-size prefix as well',
    applies: /^MOVDQ2Q /, forgive: (text) => text.replace(/ x?mm:(\d+)/, (_, number) => ` mm:${Number(number) & 7}`) },
  { why: 'objdump heeds the operand-size prefix in the width of the source, in spite of REX.W',
    applies: /^MOVSXD r8:\d+, mem/, forgive: memoryWidth },
  { why: 'REPNE repeats string instructions that do not compare just like REP',
    applies: /^repne (INS|OUTS|MOVS|STOS|LODS) /, forgive: (text) => text.replace('repne', 'rep') },
];

/** What is left to agree on of a text. */
export const forgiven = (text: string, rows = WORDING): string =>
  rows
    .filter(({ applies }) => applies.test(text))
    .reduce((rest, { forgive }) => forgive(rest), text);

/** One decoder takes bytes for an instruction that the other does not know. */
export interface Unshared {
  readonly why: string;
  readonly applies: RegExp;
  /** In which code sizes; else in all. */
  readonly codeSizes?: readonly number[];
}

/** What iced-x86 or objdump decodes and our CPU does not have; the manual is on our side. */
// biome-ignore format: a table
export const ONLY_THEIRS: readonly Unshared[] = [
  { why: 'SYSCALL and SYSRET outside 64-bit mode are AMD\'s', applies: /^(SYSCALL|SYSRET)\b/, codeSizes: [2, 4] },
];

/** objdump shows what bytes look like; it leaves legality to the processor. */
// biome-ignore format: a table
export const ONLY_OBJDUMPS: readonly Unshared[] = [
  ...ONLY_THEIRS,
  { why: 'LOCK where it is not allowed', applies: /^LOCK / },
  { why: 'registers that do not exist', applies: /\?|\btr\d|MOVCR .*cr:(1|5|6|7|9|1\d)\b|MOVDR .*dr:(8|9|1\d)\b|MOVSEG seg:1, |bnd\d/ },
  { why: 'instructions of features that our CPU does not have, or of other vendors',
    applies: /^(FRSTPM.*|GETSEC|FEMMS|RSM|V(?!MX|MCALL|MLAUNCH|MRESUME|MPTR|MCLEAR|MREAD|MWRITE|MFUNC|ERR)\w+|WRU?SS[DQ]|MOVDIRI|MOVDIR64B|ENQCMDS?|T?PAUSE|UMONITOR|UMWAIT|X(TEST|END|ABORT|BEGIN)|ENCL[SUV]|PCONFIG|CLZERO|MCOMMIT|RDPRU|MONITORX|MWAITX|INVLPGA|INVLPGB|TLBSYNC|SKINIT|CLGI|STGI|VM(RUN|MCALL|LOAD|SAVE|GEXIT)|CLRSSBSY|SETSSBSY|RSTORSSP|SAVEPREVSSP|INCSSP[DQ]|CLUI|STUI|TESTUI|UIRET|SENDUIPI|X(SUS|RES)LDTRK|RDMSRLIST|WRMSRLIST|WRMSRNS|ERETS|ERETU|LKGS|EXTRQ|INSERTQ|MOVNTS[SD]|GF2P8\w+|AES\w+KL|LOADIWKEY|ENCODEKEY\d+|HRESET|PTWRITE|PSMASH|PVALIDATE|RMP\w+|AADD|AAND|AOR|AXOR|XSHA\w+|XSTORE\w*|XCRYPT\S+|MONTMUL|CMP\w+XADD|LLWPCB|SLWPCB|BLC\w+|BLS(FILL|IC)|T1MSKC|TZMSK|K\w+|SEAM\w+|TDCALL|LDTILECFG|STTILECFG|TILE\w+|TDP\w+|PF\w+|PI2F[WD]|PMULHRW|PAVGUSB|PSWAPD|PREFETCHIT\d|U?RDMSR)\b/ },
  { why: 'a prefix that selects no instruction', applies: /^(FX(SAVE|RSTOR)|X(SAVE|RSTOR|[SG]ETBV)|LDMXCSR|STMXCSR|VMPTRST|VMPTRLD|PMOVMSKB|MWAIT|MONITOR|CLAC|STAC|VMCALL|VMLAUNCH|VMRESUME|VMXOFF|VMFUNC|VMREAD|VMWRITE|RDPKRU|WRPKRU|SERIALIZE|EMMS|MOVNTI|[LMS]FENCE)/ },
  { why: 'CR8 by LOCK is AMD\'s', applies: /^MOVCR .*cr:8/ },
  { why: 'SWAPGS exists in 64-bit mode', applies: /^SWAPGS/, codeSizes: [2, 4] },
  { why: 'VEX with a prefix before it or VEX.vvvv that should be unused', applies: /^(ANDN|BEXTR|BL\w+|BZHI|PEXT|PDEP|MULX|RORX|SARX|SHLX|SHRX) / },
];

/** Our CPU, like all of them, has it; objdump 2.40 does not show it. */
// biome-ignore format: a table
export const ONLY_OURS: readonly Unshared[] = [
  { why: 'SALC', applies: /^SALC/ },
  { why: 'x87 instructions under their second opcodes', applies: /^(FSTP|FSTPNCE|FXCH|FCOM|FCOMP|FFREEP) / },
  { why: 'reserved NOPs', applies: /^NOP / },
  { why: 'a prefix without effect', applies: /^(BSF|BSR|WBINVD)\b/ },
  { why: 'fences do not look at ModRM.rm', applies: /^[LMS]FENCE/ },
];
