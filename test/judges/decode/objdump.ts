import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SegmentName } from '../../../src/cpu/state/layout.ts';
import type { Sample } from './byte-strings.ts';
import type { Opinion } from './compare.ts';
import { ONLY_OBJDUMPS, ONLY_OURS } from './differences.ts';
import { hex, memoryText } from './view.ts';

const runs = (command: string) => spawnSync(command, ['--version']).status === 0;

/** GNU binutils are not everywhere. */
export const hasBinutils = () => runs('as') && runs('objdump');

/** Each string starts at a label, where objdump starts afresh; behind it lie NOPs. */
const SLOT = 32;
const MACHINES = { 2: 'i8086', 4: 'i386', 8: 'i386:x86-64' } as const;

/**
 * Whether the prefixes are as an assembler writes them: at most one of a group, REX last. With others objdump shows
 * some as instructions of their own and drops their effect; it also makes one instruction of FWAIT and the next.
 */
export function ordinaryPrefixes({ bytes, codeSize }: Sample): boolean {
  const groups: number[] = [];
  for (const byte of bytes) {
    const group = PREFIX_GROUPS.findIndex((prefixes) => prefixes.includes(byte));
    if (group >= 0) {
      if (groups.includes(group)) return false;
      groups.push(group);
      continue;
    }
    const isRex = codeSize === 8 && byte >> 4 === 4;
    const opcode = isRex ? bytes[groups.length + 1]! : byte;
    const stray = isRex && (opcode >> 4 === 4 || PREFIX_GROUPS.flat().includes(opcode));
    return !stray && opcode !== 0x9b;
  }
  return false;
}

const RULES = { onlyTheirs: ONLY_OBJDUMPS, onlyOurs: ONLY_OURS };

/** What objdump makes of many byte strings of one code size. */
export function objdumpOpinions(samples: readonly Sample[], codeSize: 2 | 4 | 8): Opinion[] {
  const folder = mkdtempSync(join(tmpdir(), 'objdump-'));
  try {
    const source = join(folder, 'a.s');
    const object = join(folder, 'a.o');
    const slots = samples.map(({ bytes }, i) => `s${i}: .byte ${bytes.join()}\n.skip 16, 0x90\n`);
    writeFileSync(source, slots.join(''));
    spawnSync('as', ['--64', '-o', object, source]);
    // biome-ignore format: one command line
    const { stdout } = spawnSync('objdump',
      ['-d', '-z', '-M', 'intel,intel64', '-m', MACHINES[codeSize], '--insn-width=16', object],
      { encoding: 'utf8', maxBuffer: 2 ** 30 });
    const perSlot: string[][] = samples.map(() => []);
    for (const line of stdout.split('\n')) {
      const match = /^ *([0-9a-f]+):\t/.exec(line);
      if (match) perSlot[Math.floor(Number.parseInt(match[1]!, 16) / SLOT)]?.push(line);
    }
    return perSlot.map((lines, i) => opinionOf(lines, i * SLOT, samples[i]!));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** LOCK and REP; segments; operand size; address size. */
const PREFIX_GROUPS: readonly (readonly number[])[] = [
  [0xf0, 0xf2, 0xf3],
  [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65],
  [0x66],
  [0x67],
];

// biome-ignore format: a list
const PREFIX_WORDS = new Set([
  'lock', 'rep', 'repz', 'repnz', 'data16', 'data32', 'addr16', 'addr32', 'cs', 'ds', 'es', 'ss', 'fs', 'gs',
  'bnd', 'notrack', 'xacquire', 'xrelease',
]);
const isPrefix = (word: string) => PREFIX_WORDS.has(word) || /^rex(\.\w+)?$/.test(word);

// biome-ignore format: a table
const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

// biome-ignore format: a table
const SAME: Readonly<Record<string, string>> = {
  MOVABS: 'MOV', CWDE: 'CBW', CDQE: 'CBW', CDQ: 'CWD', CQO: 'CWD', CWTL: 'CBW',
  PUSHW: 'PUSH', PUSHD: 'PUSH', POPW: 'POP', POPD: 'POP', PUSHFQ: 'PUSHF', PUSHFW: 'PUSHF', PUSHFD: 'PUSHF', POPFW: 'POPF', POPFQ: 'POPF', POPFD: 'POPF', PUSHAW: 'PUSHA', PUSHAD: 'PUSHA', POPAW: 'POPA', POPAD: 'POPA',
  IRETW: 'IRET', IRETD: 'IRET', IRETQ: 'IRET', RETFW: 'RETF', RETFQ: 'RETF', RETFD: 'RETF', RETW: 'RET', RETQ: 'RET', RETD: 'RET', ENTERD: 'ENTER', LEAVED: 'LEAVE', JMPD: 'JMP', CALLD: 'CALL', FNSTENVD: 'FNSTENV', FLDENVD: 'FLDENV', FLDENVW: 'FLDENV', FNSTENVW: 'FNSTENV', FNSAVEW: 'FNSAVE', FRSTORW: 'FRSTOR', FNSAVED: 'FNSAVE', FRSTORD: 'FRSTOR', PREFETCHWT1: 'NOP', PREFETCH: 'NOP',
  JECXZ: 'JCXZ', JRCXZ: 'JCXZ', SAL: 'SHL', XLAT: 'XLAT', LEAVEW: 'LEAVE', LEAVEQ: 'LEAVE', ENTERW: 'ENTER',
  SYSRETQ: 'SYSRET', SYSRETL: 'SYSRET', SYSRETD: 'SYSRET', SYSEXITQ: 'SYSEXIT', SYSEXITL: 'SYSEXIT', SYSEXITD: 'SYSEXIT',
  INT1: 'INT1', ICEBP: 'INT1', CALLW: 'CALL', CALLQ: 'CALL', JMPW: 'JMP', JMPQ: 'JMP', NOPW: 'NOP', NOPL: 'NOP',
  SGDTD: 'SGDT', SIDTD: 'SIDT', LGDTD: 'LGDT', LIDTD: 'LIDT', SGDTW: 'SGDT', SIDTW: 'SIDT', LGDTW: 'LGDT', LIDTW: 'LIDT',
  'FNENI(8087': 'FNOP', '{VEX}': 'VEX', 'FNDISI(8087': 'FNOP', 'FNSETPM(287': 'FNOP',
  PCMPESTRMQ: 'PCMPESTRM64', PCMPESTRIQ: 'PCMPESTRI64', PCMPESTRML: 'PCMPESTRM', PCMPESTRIL: 'PCMPESTRI',
};

// biome-ignore format: a table
const REGISTERS = new Map<string, string>([
  ...['al', 'cl', 'dl', 'bl'].map((name, i) => [name, `r1:${i}`] as const),
  ...['ah', 'ch', 'dh', 'bh'].map((name, i) => [name, `r1:high${i}`] as const),
  ...['spl', 'bpl', 'sil', 'dil'].map((name, i) => [name, `r1:${i + 4}`] as const),
  ...['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'].flatMap((name, i) => [
    [name, `r2:${i}`] as const, [`e${name}`, `r4:${i}`] as const, [`r${name}`, `r8:${i}`] as const]),
  ...Array.from({ length: 8 }, (_, i) => i + 8).flatMap((i) => [
    [`r${i}b`, `r1:${i}`] as const, [`r${i}w`, `r2:${i}`] as const, [`r${i}d`, `r4:${i}`] as const, [`r${i}`, `r8:${i}`] as const]),
  ...Array.from({ length: 16 }, (_, i) => i).flatMap((i) => [
    [`xmm${i}`, `xmm:${i}`] as const, [`mm${i}`, `mm:${i}`] as const, [`st(${i})`, `st:${i}`] as const,
    [`cr${i}`, `cr:${i}`] as const, [`dr${i}`, `dr:${i}`] as const, [`db${i}`, `dr:${i}`] as const]),
  ['st', 'st:0'],
  ...['es', 'cs', 'ss', 'ds', 'fs', 'gs'].map((name, i) => [name, `seg:${i}`] as const),
]);

// biome-ignore format: a table
const WIDTHS: Readonly<Record<string, number>> = { BYTE: 1, WORD: 2, DWORD: 4, FWORD: 6, QWORD: 8, TBYTE: 10, XMMWORD: 16, OWORD: 16 };

const numberOf = (register: string) => Number(/\d+$/.exec(REGISTERS.get(register) ?? '-1')?.[0]);

function addressSizeOf(inside: string, codeSize: number, prefixes: readonly string[]): 2 | 4 | 8 {
  if (/\b(rip|r(ax|cx|dx|bx|sp|bp|si|di|\d+)|riz)\b/.test(inside)) return 8;
  if (/\b(eip|e(ax|cx|dx|bx|sp|bp|si|di)|r\d+d|eiz)\b/.test(inside)) return 4;
  if (/\b(bx|bp|si|di)\b/.test(inside)) return 2;
  if (prefixes.includes('addr16')) return 2;
  if (prefixes.includes('addr32')) return 4;
  return codeSize as 2 | 4 | 8;
}

function memoryOf(text: string, codeSize: number, prefixes: readonly string[]): string | undefined {
  const match = /^(?:(\w+) PTR )?(?:([c-gs]s):)?(?:\[(.*)\]|0x([0-9a-f]+))$/.exec(text);
  if (!match || (match[3] === undefined && match[2] === undefined && match[1] === undefined))
    return undefined;
  const [, width, segment, inside = '', absolute] = match;
  let base = -1;
  let index = -1;
  let scale = 0;
  let disp = absolute ? BigInt(`0x${absolute}`) : 0n;
  for (const [, sign, term = ''] of inside.matchAll(/([+-]?)([^+-]+)/g)) {
    const scaled = /^(\w+)\*(\d)$/.exec(term);
    if (scaled) {
      index = /^[re]iz$/.test(scaled[1]!) ? -1 : numberOf(scaled[1]!);
      scale = Math.log2(Number(scaled[2]));
    } else if (term.startsWith('0x')) disp = sign === '-' ? -BigInt(term) : BigInt(term);
    else if (/^[re]ip$/.test(term)) base = 16;
    else if (base < 0) base = numberOf(term);
    else index = numberOf(term);
  }
  const defaultSegment = base === 4 || base === 5 ? 'SS' : 'DS';
  const heeded =
    codeSize !== 8 || segment === 'fs' || segment === 'gs' || (segment === 'es' && base === 7);
  const name = (segment && heeded ? segment.toUpperCase() : defaultSegment) as SegmentName;
  const addressSize = addressSizeOf(inside, codeSize, prefixes);
  return memoryText(width ? WIDTHS[width] : undefined, addressSize, {
    kind: 'mem',
    segment: name,
    base,
    index,
    scale: scale as 0,
    disp,
  });
}

const hasOperandSizePrefix = (bytes: Uint8Array) =>
  bytes
    .subarray(
      0,
      bytes.findIndex((byte) => !PREFIX_GROUPS.flat().includes(byte)),
    )
    .includes(0x66);

function opinionOf(lines: readonly string[], start: number, { bytes, codeSize }: Sample): Opinion {
  const operandSize = (codeSize === 2) === hasOperandSizePrefix(bytes) ? 4 : 2;
  const words: string[] = [];
  let length = 0;
  let rest = '';
  // A prefix that objdump finds useless stands on a line of its own.
  for (const line of lines) {
    const [, column = '', text = ''] = line.split('\t');
    length += column.trim().split(' ').length;
    const parts = text
      .replace(/ *[#<].*$/, '')
      .trim()
      .split(/ +/);
    while (parts[0] !== undefined && isPrefix(parts[0])) words.push(parts.shift()!);
    rest = parts.join(' ');
    if (rest !== '') break;
  }
  if (rest === '' || rest.includes('(bad)')) return { ...RULES, view: 'invalid' };
  const [, name = '', operandText = ''] = /^(\S+) ?(.*)$/.exec(rest)!;
  let op = name.toUpperCase();
  op = SAME[op] ?? op;
  let operands = operandText === '' ? [] : operandText.split(',');
  const condition = /^(j|set|cmov)(\w+)$/.exec(name);
  const code = condition ? CONDITIONS.indexOf(condition[2]!) : -1;
  if (condition && code >= 0)
    op = `${condition[1]!
      .toUpperCase()
      .replace(/^(SET|CMOV)$/, '$1CC')
      .replace(/^J$/, 'JCC')} cc${code}`;
  // Comparisons and multiplications with a predicate in the name.
  // biome-ignore format: a table
  const predicate = /^cmp(eq|lt|le|unord|neq|nlt|nle|ord)([ps][sd])$/.exec(name);
  if (predicate) {
    op = `CMP${predicate[2]!.toUpperCase()}`;
    operands = [
      ...operands,
      `0x${['eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord'].indexOf(predicate[1]!)}`,
    ];
  }
  const product = /^pclmul([lh])q([lh])qdq$/.exec(name);
  if (product) {
    op = 'PCLMULQDQ';
    operands = [
      ...operands,
      `0x${(product[1] === 'h' ? 1 : 0) + (product[2] === 'h' ? 16 : 0) === 17 ? '11' : product[1] === 'h' ? '1' : product[2] === 'h' ? '10' : '0'}`,
    ];
  }
  const isBranch = /^(JCC|JMP|CALL|LOOP|JCXZ|XBEGIN)/.test(op);
  const texts = operands.map((operand) => {
    // A target that objdump prints without 0x may look like one: db0.
    const register = isBranch && /^[0-9a-f]+$/.test(operand) ? undefined : REGISTERS.get(operand);
    if (register) return register;
    const far = /^(0x[0-9a-f]+):(0x[0-9a-f]+)$/.exec(operand);
    if (far) return `far ${hex(BigInt(far[1]!))}:${hex(BigInt(far[2]!))}`;
    const memory = memoryOf(operand, codeSize, words);
    if (memory) return memory;
    if (isBranch)
      return `rel ${hex(BigInt.asIntN(codeSize * 8, BigInt(operand.startsWith('0x') ? operand : `0x${operand}`) - BigInt(start + length)))}`;
    return /^(0x|1$)/.test(operand) ? hex(BigInt(operand)) : operand;
  });
  if (texts.some((t) => t.startsWith('seg:')) && /^(MOV|PUSH|POP)$/.test(op)) op += 'SEG';
  if (texts.some((t) => t.startsWith('cr:'))) op = 'MOVCR';
  if (texts.some((t) => t.startsWith('dr:'))) op = 'MOVDR';
  // Far pointers are told by their width.
  const far = operandSize === 2 ? /^DWORD/ : /^[FT]/;
  if (/^(CALL|JMP)$/.test(op) && (texts[0]?.startsWith('far') || far.test(operands[0] ?? '')))
    op += 'F';
  if (op === 'FNOP') texts.length = 0; // there is a remark behind it
  if (
    op === 'XCHG' &&
    bytes[length - 1] === 0x90 &&
    texts.every((text) => /^r[248]:0$/.test(text))
  ) {
    op = 'NOP';
    texts.length = 0;
  }
  const isString = /^(MOVS|CMPS|STOS|LODS|SCAS|INS|OUTS)$/.test(op);
  const rep = isString
    ? words.includes('repnz')
      ? 'repne '
      : words.some((w) => /^repz?$/.test(w))
        ? 'rep '
        : ''
    : '';
  const lock = words.includes('lock') ? 'LOCK ' : '';
  return { ...RULES, view: { length, text: `${lock}${rep}${op} ${texts.join(', ')}`.trim() } };
}
