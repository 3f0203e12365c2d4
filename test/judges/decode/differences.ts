/**
 * Where our decoder and another one word the same thing differently, or where it knows more names than our CPU has.
 * Each row changes both texts into what is left to agree on.
 */
export interface Difference {
  readonly why: string;
  readonly applies: RegExp;
  readonly forgive: (text: string) => string;
}

const without = (pattern: RegExp) => (text: string) => text.replace(pattern, '');
const memoryWidth = (text: string) => text.replace(/mem\d+/, 'mem');
const registerWidth = (text: string) => text.replace(/\br\d+:/g, 'r:');
/** The operands after the first, memory text having commas nowhere. */
const furtherOperands = without(/, .*$/);

// biome-ignore format: a table
export const DIFFERENCES: readonly Difference[] = [
  { why: 'our size of a far pointer, a pair of bounds or a pseudo-descriptor is that of its offset, bound or base',
    applies: /^(L[EDSFG]S|BOUND|CALLF|JMPF|[SL][GI]DT) /, forgive: memoryWidth },
  { why: 'memory that is only addressed, or sized by XCR0, has no width',
    applies: /^(LEA|INVLPG|CLFLUSH|CLFLUSHOPT|CLWB|PREFETCH\w+|X(SAVE|RSTOR)\w*|FXSAVE\w*|FXRSTOR\w*) /, forgive: memoryWidth },
  { why: 'reserved NOPs: nothing is accessed, and what later CPUs made of some of them our CPU does not have',
    applies: /^(NOP|PREFETCHW|PREFETCHIT[01]|CLDEMOTE|RDSSP[DQ]) /, forgive: (text) => furtherOperands(registerWidth(memoryWidth(text))).replace(/^\w+/, 'NOP') },
  { why: 'of a selector or machine status word 16 bits are read, whatever register the assembler writes',
    applies: /^(LAR|LSL|ARPL|MOVSEG|LLDT|LTR|VERR|VERW|LMSW) /, forgive: registerWidth },
  { why: 'only the low byte or word goes in or out; the destination is written to 32 bits and cleared above',
    applies: /^(MOVMSKP[SD]|PMOVMSKB|PEXTR[BW]|EXTRACTPS|PINSR[BW]) /, forgive: registerWidth },
  { why: 'XMM0 as an implicit mask may be listed or not',
    applies: /^(SHA256RNDS2|PBLENDVB|BLENDVP[SD]) /, forgive: without(/(?<=,.*), xmm:0$/) },
  { why: '[rDI] as an implicit destination may be listed first or last',
    applies: /^MASKMOV(Q|DQU) /, forgive: without(/, mem\d+\[[^\]]*\]$|(?<=^\w+ )mem\d+\[[^\]]*\], /) },
  { why: 'AL as an implicit index may be part of the address or not',
    applies: /^XLAT /, forgive: (text) => text.replace('3+0*1', '3+-1*1') },
  { why: 'REPNE repeats string instructions that do not compare just like REP',
    applies: /^repne (INS|OUTS|MOVS|STOS|LODS) /, forgive: (text) => text.replace('repne', 'rep') },
];

/** What is left to agree on of a text. */
export const forgiven = (text: string): string =>
  DIFFERENCES.filter(({ applies }) => applies.test(text)).reduce(
    (rest, { forgive }) => forgive(rest),
    text,
  );

/** Instructions that exist for the other decoder and not for our CPU; the manual is on our side. */
// biome-ignore format: a table
export const NOT_OURS: readonly { readonly why: string; readonly applies: RegExp; readonly codeSizes: readonly number[] }[] = [
  { why: 'SYSCALL and SYSRET outside 64-bit mode are AMD\'s', applies: /^(SYSCALL|SYSRET)\b/, codeSizes: [2, 4] },
];
