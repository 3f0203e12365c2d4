import type { Insn } from '../../../src/cpu/insn.ts';
import { type Case, CODE, type Outcome } from './case.ts';

/** What one case was, what the processor made of it, and what we did. */
export interface Verdict {
  readonly it: Case;
  readonly insns: readonly Insn[];
  readonly theirs: Outcome;
  readonly ours: Outcome;
}

/** Where processors and our machine differ, and why: what the manual leaves open. What it calls undefined is in undefined.ts. */
export interface Difference {
  readonly why: string;
  /** Whose processors these are; everyone's where it is not said. */
  readonly vendor?: 'AuthenticAMD';
  readonly applies: (verdict: Verdict) => boolean;
  /** What of the outcome is not looked at then; none of it where it is not said. */
  readonly forgives?: readonly (keyof Outcome)[];
}

const DONE = 1;
const UD = 6;
const SS = 12;
const GP = 13;
const PF = 14;
const AC = 17;

const MEMORY = ['changedAt', 'changedLength', 'changed'] as const;
const either = (vector: number, ...of: readonly number[]) => of.includes(vector);
/** Whether one side met a fault that the other did not, or met it earlier. */
const elsewhere = (theirs: Outcome, ours: Outcome) =>
  theirs.vector !== ours.vector || theirs.rip !== ours.rip;
const op = (insns: readonly Insn[], ...names: readonly string[]) =>
  insns.some((insn) => names.includes(insn.op));

/** The instruction that RIP points to. */
function pending({ it, insns, ours }: Verdict): Insn | undefined {
  let at = BigInt((it.codeSize === 2 ? 0 : CODE) + it.codeAt);
  return insns.find((insn) => {
    const found = at === ours.rip;
    at += BigInt(insn.length);
    return found;
  });
}

/** Bytes from RIP on, in hexadecimal. */
const bytesAt = ({ it, theirs }: Verdict) =>
  Buffer.from(it.code)
    .subarray(Number(theirs.rip) - (it.codeSize === 2 ? 0 : CODE) - it.codeAt)
    .toString('hex');

const XMM_AT = 160;
const XMM_END = 416;

/** Whether the singles in which the XMM registers of an outcome differ are all as `alike` says. */
function differingSingles({ theirs, ours }: Verdict, alike: (a: number, b: number) => boolean) {
  const lanes = ({ fx }: Outcome) =>
    fx ? [...new Uint32Array(Uint8Array.from(fx.subarray(XMM_AT, XMM_END)).buffer)] : [];
  const mine = lanes(ours);
  return lanes(theirs).every((lane, i) => lane === mine[i] || alike(lane, mine[i]!));
}

const singleIsNaN = (single: number) => (single & 0x7fff_ffff) > 0x7f80_0000;
/** The tables have twelve bits or so. */
const sameToElevenBits = (a: number, b: number) => Math.abs(a - b) <= 0x1000;

/** Instructions whose exact result is a matter of the processor, so that nothing may be computed from it. */
export const dependsOnVendor = ({ op }: Insn): boolean => /^(RCP|RSQRT|DPP)/.test(op);

// biome-ignore format: a table
export const DIFFERENCES: readonly Difference[] = [
  { why: 'across the end of canonical addresses or of a segment, alignment checking and segmentation come in either order',
    applies: ({ theirs, ours }) => (theirs.vector === AC && either(ours.vector, GP, SS)) || (ours.vector === AC && either(theirs.vector, GP, SS)) },
  { why: 'masked stores may fault for bytes that the mask leaves out, on any of the others first, and after entering MMX state',
    applies: ({ insns, theirs, ours }) => op(insns, 'MASKMOVQ', 'MASKMOVDQU') && (theirs.vector !== DONE || ours.vector !== DONE) },
  { why: 'x87 accesses of more than 8 bytes are made in parts, of which some may be done, or fault elsewhere',
    applies: ({ insns, theirs, ours }) => insns[0]!.op.startsWith('F') && theirs.vector === PF && ours.vector !== DONE },

  { why: 'between two iterations of REP CMPS and SCAS, by a fault too, the flags are those of some earlier moment',
    vendor: 'AuthenticAMD', forgives: ['rflags'],
    applies: (verdict) => { const insn = pending(verdict); return insn?.rep !== undefined && /^(CMPS|SCAS)$/.test(insn.op); } },
  { why: '0F 0D with a register is no NOP',
    vendor: 'AuthenticAMD', applies: (verdict) => verdict.theirs.vector === UD && /^(66|67|f[023]|[23][6e]|6[45]|4.)*0f0d[c-f]/.test(bytesAt(verdict)) },
  { why: 'PUSH of a segment register writes all of the operand size, with zeros above the selector',
    vendor: 'AuthenticAMD', forgives: MEMORY,
    applies: ({ insns, theirs, ours }) => insns.some(pushesSegment) && !elsewhere(theirs, ours) },
  { why: 'and so it is aligned, present and inside its segment, all of it, or faults',
    vendor: 'AuthenticAMD', applies: ({ insns, theirs, ours }) => insns.some(pushesSegment) && elsewhere(theirs, ours) },
  { why: 'CALL to where no code can be faults before it has written the return address, which nobody sees',
    vendor: 'AuthenticAMD', forgives: MEMORY,
    applies: ({ insns, theirs, ours }) => op(insns, 'CALL') && theirs.vector === GP && ours.vector === GP },
  { why: 'an access that wraps at 4 GiB is a limit fault, where the manual leaves it to the processor',
    vendor: 'AuthenticAMD', applies: ({ it, theirs, ours }) => it.codeSize === 4 && either(theirs.vector, GP, SS) && ours.vector === PF && ours.cr2 > 0xffff_ff00n },
  { why: 'BOUND reads both bounds before it compares with the first',
    vendor: 'AuthenticAMD', applies: ({ insns, theirs, ours }) => op(insns, 'BOUND') && ours.vector === 5 && either(theirs.vector, SS, GP, PF) },

  { why: 'MOVSXD with 16-bit operands reads a dword',
    vendor: 'AuthenticAMD', applies: ({ insns, theirs, ours }) => insns.some((insn) => insn.op === 'MOVSXD' && insn.size === 2) && either(theirs.vector, SS, GP, PF, AC) && elsewhere(theirs, ours) },
  { why: 'alignment checking minds the unaligned accesses of 16 bytes, too',
    vendor: 'AuthenticAMD', applies: ({ insns, theirs }) => theirs.vector === AC && insns.some((insn) => /^(MOVUP[SD]|MOVDQU|LDDQU|PCMP[EI]STR.*)$/.test(insn.op)) },
  { why: 'x87 stores look at their memory before they find that an unmasked exception prevents them',
    vendor: 'AuthenticAMD', applies: ({ insns, theirs, ours }) => op(insns, 'FST', 'FSTP', 'FIST', 'FISTP', 'FISTTP', 'FBSTP') && either(theirs.vector, SS, GP, PF, AC) && ours.vector === DONE },
  { why: 'SHA instructions need no aligned operand',
    vendor: 'AuthenticAMD', applies: ({ insns, ours }) => ours.vector === GP && insns.some((insn) => insn.op.startsWith('SHA')) },
  { why: 'which of several NaNs a dot product gives follows from the order of its sums',
    vendor: 'AuthenticAMD', forgives: ['fx'],
    applies: (verdict) => op(verdict.insns, 'DPPS', 'DPPD') && differingSingles(verdict, (a, b) => singleIsNaN(a) && singleIsNaN(b)) },
  { why: 'approximations come from a table of each vendor\'s own',
    vendor: 'AuthenticAMD', forgives: ['fx'],
    applies: (verdict) => op(verdict.insns, 'RCPPS', 'RCPSS', 'RSQRTPS', 'RSQRTSS') && differingSingles(verdict, sameToElevenBits) },
];

/** What is pushed by PUSH of a segment register with 32-bit operands. */
export const pushesSegment = (insn: Insn): boolean => insn.op === 'PUSHSEG' && insn.size === 4;

/** Our outcome with what `vendor`'s processors may do otherwise taken from theirs. */
export function forgiven(verdict: Verdict, vendor: string): Outcome {
  let { ours } = verdict;
  for (const { applies, forgives, vendor: whose = vendor } of DIFFERENCES) {
    if (whose !== vendor || !applies(verdict)) continue;
    if (forgives === undefined) return verdict.theirs;
    ours = { ...ours, ...Object.fromEntries(forgives.map((name) => [name, verdict.theirs[name]])) };
  }
  return ours;
}
