export type Judge = 'qemu' | 'bochs';

/** Cases on which another machine stands apart from the manual, or the manual leaves room. */
interface Difference {
  readonly judge: Judge;
  readonly cases: RegExp;
  /** Fields of the outcome that may differ, by their first letters; all of them when left out. */
  readonly fields?: readonly string[];
  readonly why: string;
}

/** Cases that would end another machine's run; it is not given them. */
export const FATAL: Readonly<Record<Judge, RegExp>> = {
  qemu: /^(CR0 without P[EG]|CR4 without PAE|CR4 with a reserved bit|LGDT not canonical|CR3 with .*|CR0 without PG under PCIDE|PAE: a PDPTE is read again .*|16-bit RET at SP FFFFH|.* above 64 KiB|MOV CR0 with PG alone|MOV CR4 with bit 31|breakpoint on an instruction)$/,
  bochs: /^$/,
};

// biome-ignore format: a table
export const DIFFERENCES: readonly Difference[] = [
  { judge: 'qemu',  cases: /./,                                fields: ['fl'],            why: 'RF is not set in the RFLAGS image of faults' },
  { judge: 'qemu',  cases: /gate of DPL 0|^(#\w+|INT n) through a|beyond the IDT/, fields: ['e'],    why: 'the error code has the offset in a 64-bit IDT, not the vector, in its index, and no EXT' },
  { judge: 'qemu',  cases: /^INT1$/,                                                      why: 'INT1 is #UD' },
  { judge: 'qemu',  cases: /^not canonical, SS$/,              fields: ['v'],             why: 'stack accesses that are not canonical are #GP' },
  { judge: 'qemu',  cases: /^(jump|return) that is not|(IRETQ|SYSRET) not canonical|^INT n to no canonical/,     why: 'targets are checked by the fetch, after the transfer' },
  { judge: 'qemu',  cases: /^CALL 0x(08|18|68|80|c8)$/,                                   why: 'targets are checked by the fetch, and not cut to 32 bits' },
  { judge: 'qemu',  cases: /LOCK (that is not allowed|MOV)$/,                             why: 'LOCK is ignored on MOV' },
  { judge: 'qemu',  cases: /^user modifies/,                   fields: ['e'],             why: 'a read-modify-write faults as a read' },
  { judge: 'qemu',  cases: /reserved$|^PAE: bit/,               fields: ['e', 'm'],             why: 'reserved bits are reported without P' },
  { judge: 'qemu',  cases: /^(MOV )?CR0 with|^CR8 above 15$|^EFER|^LSTAR|^FS_BASE not|^PAT|^CR4.PCIDE with|WRFSBASE not|^MONITOR with one|^PAE: a PDPTE/,     why: 'reserved bits and values are let through' },
  { judge: 'qemu',  cases: /^(an MSR|RDMSR) that does not exist$/,                               why: 'every MSR exists' },
  { judge: 'qemu',  cases: /^DR7\.GD$/,                                                   why: 'GD does nothing' },
  { judge: 'qemu',  cases: /^SS = 3$|^LTR (0|0x88)$|^JMP 0x80$/,                          why: 'these checks are left out' },
  { judge: 'qemu',  cases: /^L(AR|SL) 0x(88|b8)$/,                                        why: '16-bit TSSs and task gates are shown in IA-32e mode' },
  { judge: 'qemu',  cases: /^alignment check with CR0/,                                   why: 'alignment is not checked' },
  { judge: 'qemu',  cases: /^SYS(ENTER|EXIT)/,                                                 why: 'the processor it shows is AMD\'s, where SYSENTER is #UD in long mode' },
  { judge: 'qemu',  cases: /^(read|write) (across|below|through)|^(PUSH|IRETD|V86) beyond|at FFF[DF]H|FFFFH cuts$|^32-bit address beyond|^REP MOVSB of 32-bit|^FNSTENV across|^16-bit jump/, why: 'limits, types and null selectors are not checked by accesses' },
  { judge: 'qemu',  cases: /0xa8( at CPL 3)?$|16-bit task/,    fields: ['ax', 'bx', 'cx', 'dx'], why: 'a 16-bit task keeps the upper halves of registers' },
  { judge: 'qemu',  cases: /^a task (with an absent SS|at CPL 3|with the T bit)|stack of the TSS/, why: 'these checks of a task switch are left out or come elsewhere' },
  { judge: 'qemu',  cases: /^TF and STI$|behind MOV SS|^POP SS/,                          why: 'neither STI nor MOV SS holds debug exceptions back' },
  { judge: 'qemu',  cases: /VIF and VIP$/,                     fields: ['cx'],            why: 'IRETQ keeps VIF and VIP' },
  { judge: 'qemu',  cases: /^INVPCID/,                                                    why: 'it has no INVPCID' },
  { judge: 'qemu',  cases: /^MONITOR of an absent page$/,                                 why: 'MONITOR accesses nothing' },
  { judge: 'qemu',  cases: /^15 prefixes/,                                                why: 'the sixteenth byte is fetched before the length is checked' },
  { judge: 'qemu',  cases: /^XSAVE(OPT)? |^XGETBV of register 1$/, fields: ['ax', 'cx', 'm'], why: 'every component counts as in use, FOP is not kept' },
  { judge: 'qemu',  cases: /^XSAVE[CS] |^XRSTORS|^XRSTOR, compacted/,                     why: 'it has no compacted format' },
  { judge: 'qemu',  cases: /reserved bit of MXCSR$|^LDMXCSR/,                             why: 'reserved bits of MXCSR are let through' },
  { judge: 'qemu',  cases: /^XSAVE with CR0\.TS$/,                                        why: 'XSAVE does not look at CR0.TS' },
  { judge: 'qemu',  cases: /^XSAVE across/,                    fields: ['e'],             why: 'the header is read before anything is written' },
  { judge: 'bochs', cases: /^XSAVE across/,                    fields: ['e'],             why: 'the same' },
  { judge: 'bochs', cases: /^XRSTOR, compacted, of nothing$/,  fields: ['cx'],            why: 'MXCSR is loaded from memory, not initialized' },
  { judge: 'qemu',  cases: /^PAE/,                             fields: ['m'],             why: 'the accessed flag is set in PDPTEs' },
  { judge: 'qemu',  cases: /^SMAP and an LDT/,                                            why: 'EFLAGS.AC lifts SMAP for accesses to descriptor tables, too' },
  { judge: 'bochs', cases: /^SMAP and an LDT/,                                            why: 'the same' },
  { judge: 'qemu',  cases: /virtual-8086 mode beyond/,                                    why: 'EIP is cut to 16 bits; the manual has #GP(0) outside the limit' },
  { judge: 'bochs', cases: /virtual-8086 mode beyond/,                                    why: 'the same' },
  { judge: 'bochs', cases: /^SYSCALL under TF that|^SYSRET (to|under) TF$/,               why: 'TF counts as it was before SYSCALL and SYSRET; QEMU and KVM have it as it is afterwards' },
  { judge: 'bochs', cases: /^INT3 behind MOV SS that met/,                                why: 'a debug exception that MOV SS holds back is lost where an exception comes first' },
  { judge: 'bochs', cases: /^(data breakpoint in .*|TF and )REP/,  fields: ['fl'],            why: 'RF is not set by traps between iterations' },
  { judge: 'bochs', cases: /^breakpoint that is not enabled/,  fields: ['dr6'],           why: 'DR6 shows breakpoints that are not enabled, too, which the manual allows' },
  { judge: 'bochs', cases: /^IRETQ with RF$|^DR7\.GD$/,        fields: ['fl'],            why: 'RF is cleared before an instruction pushes flags, and not set where DR7.GD faults' },
  { judge: 'bochs', cases: /IST that is not canonical$/,       fields: ['e'],             why: 'the error code names the current SS; the new one is null' },
  { judge: 'bochs', cases: /key that denies access, kernel/,                              why: 'AD does not bind supervisor-mode accesses' },
  { judge: 'bochs', cases: /^REP CMPSB/,                       fields: ['fl'],            why: 'the status flags of iterations done stay; the manual restores them' },
  { judge: 'bochs', cases: /^(V86 )?VEX$/,                                                   why: 'VEX is taken in real-address and virtual-8086 mode' },
  { judge: 'qemu',  cases: /^LGDT of 32 bits$/,                fields: ['bx'],            why: 'SGDT of 16 bits stores 24 bits of the base' },
  { judge: 'qemu',  cases: /^FNSTENV of/,                      fields: ['ax', 'bx', 'm'], why: 'FOP is not kept, reserved words are 0' },
  { judge: 'bochs', cases: /^FNSTENV of/,                      fields: ['bx'],            why: 'its processor keeps no FCS, so bits 19:16 of the instruction pointer are 0' },
  { judge: 'bochs', cases: /^FNSTENV across/,                                             why: 'each field wraps around at 64 KiB' },
  { judge: 'bochs', cases: /not canonical push|double fault|^#\w+ through an absent|fault beyond the IDT|with RSP0|^ENTER onto/,  fields: ['fl'],            why: 'RF is pushed set by #DF after a fault; the manual sets it for fault-class exceptions' },
  { judge: 'bochs', cases: /^LAR/,                             fields: ['ax'],            why: 'bits 19:16 are undefined' },
];

/** Fields of an outcome: each is its letters and then digits or dashes. */
const fields = (outcome: string): ReadonlyMap<string, string> =>
  new Map(
    outcome.split(' ').map((word) => {
      const name = /^(fl|ss|sp|cs|cr2|at|[abcd]x|dr6|m|v|e|\+|@|syscall)/.exec(word)?.[0] ?? word;
      return [name, word.slice(name.length)];
    }),
  );

/** Whether a case that came out differently is explained by the table. */
export function explained(judge: Judge, name: string, theirs: string, ours: string): boolean {
  const rows = DIFFERENCES.filter((row) => row.judge === judge && row.cases.test(name));
  if (rows.some((row) => row.fields === undefined)) return true;
  const masked = new Set(rows.flatMap((row) => row.fields ?? []));
  const [a, b] = [fields(theirs), fields(ours)];
  return [...new Set([...a.keys(), ...b.keys()])].every(
    (field) => masked.has(field) || a.get(field) === b.get(field),
  );
}
