import {
  ConditionCode,
  CpuidFeature,
  Decoder,
  DecoderOptions,
  type Instruction,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import { SEGMENTS, type SegmentName } from '../../../src/cpu/state/layout.ts';
import type { Sample } from './byte-strings.ts';
import type { Opinion } from './compare.ts';
import { hex, memoryText } from './view.ts';

const nameIn = (names: object, value: number) => (names as Record<number, string>)[value] ?? '?';

/** Features that iced-x86 knows and our decoder does not: instructions that need one do not exist for us. */
export const ABSENT =
  /^(AVX|F16C|FMA|XOP|TBM|LWP|SSE4A|D3NOW|SVM|SEV|SKINIT|SMX|SGX|OSS|RTM|HLE|GFNI|VAES|VPCLMUL|CET|KL|AESKLE|WIDE|UINTR|AMX|CLZERO|MCOMMIT|MONITORX|MOVDIR|ENQCMD|PCONFIG|PTWRITE|RDPRU|SMM|INVLPGB|PADLOCK|TDX|HRESET|WAITPKG|TSXLDTRK|FRED|LKGS|RAO|PREFETCHITI|CMPCCXADD|MSRLIST|WRMSRNS|SHA512|SM3|SM4|TSE|RMPQUERY|SEP_|CLDEMOTE|MPX)/;

/** Mnemonics that the operand size, or a habit of assemblers, turns into several. */
// biome-ignore format: a table
const SAME: Readonly<Record<string, string>> = {
  MOVSB: 'MOVS', MOVSW: 'MOVS', MOVSQ: 'MOVS', CMPSB: 'CMPS', CMPSW: 'CMPS', CMPSQ: 'CMPS',
  STOSB: 'STOS', STOSW: 'STOS', STOSD: 'STOS', STOSQ: 'STOS', LODSB: 'LODS', LODSW: 'LODS', LODSD: 'LODS', LODSQ: 'LODS',
  SCASB: 'SCAS', SCASW: 'SCAS', SCASD: 'SCAS', SCASQ: 'SCAS', INSB: 'INS', INSW: 'INS', INSD: 'INS',
  OUTSB: 'OUTS', OUTSW: 'OUTS', OUTSD: 'OUTS',
  CWDE: 'CBW', CDQE: 'CBW', CDQ: 'CWD', CQO: 'CWD', PUSHAD: 'PUSHA', POPAD: 'POPA',
  PUSHFD: 'PUSHF', PUSHFQ: 'PUSHF', POPFD: 'POPF', POPFQ: 'POPF', IRETD: 'IRET', IRETQ: 'IRET',
  JECXZ: 'JCXZ', JRCXZ: 'JCXZ', SAL: 'SHL', WAIT: 'FWAIT', XLATB: 'XLAT',
  SYSRETQ: 'SYSRET', SYSEXITQ: 'SYSEXIT', RETFQ: 'RETF',
  FENI: 'FNOP', FDISI: 'FNOP', FSETPM: 'FNOP', FNENI: 'FNOP', FNDISI: 'FNOP', FNSETPM: 'FNOP',
  RESERVEDNOP: 'NOP', PREFETCH: 'NOP', PREFETCHWT1: 'NOP', PREFETCHRESERVED: 'NOP',
};

function mnemonicOf(i: Instruction): string {
  const name = nameIn(Mnemonic, i.mnemonic).toUpperCase();
  if (i.isStringInstruction) return SAME[name] ?? name.replace(/[BWDQ]$/, '');
  const condition = i.conditionCode;
  if (condition !== ConditionCode.None) {
    const family = i.isJccShortOrNear ? 'JCC' : /^(SET|CMOV)/.exec(name)?.[0];
    if (family) return `${family.replace(/^(SET|CMOV)$/, '$1CC')} cc${condition - 1}`;
  }
  if (i.isCallFar || i.isCallFarIndirect) return 'CALLF';
  if (i.isJmpFar || i.isJmpFarIndirect) return 'JMPF';
  if (['MOV', 'PUSH', 'POP'].includes(name)) {
    const kinds = Array.from({ length: i.opCount }, (_, k) =>
      i.opKind(k) === OpKind.Register ? i.opRegister(k) : Register.None,
    );
    if (kinds.some(RegisterExt.isSegmentRegister)) return `${name}SEG`;
    if (kinds.some(RegisterExt.isCR)) return 'MOVCR';
    if (kinds.some(RegisterExt.isDR)) return 'MOVDR';
  }
  return SAME[name] ?? name;
}

function registerText(register: Register): string {
  const name = nameIn(Register, register);
  const number = RegisterExt.number(register);
  if (RegisterExt.isGPR8(register)) {
    const high = ['AH', 'CH', 'DH', 'BH'].indexOf(name);
    return high < 0
      ? `r1:${RegisterExt.number(RegisterExt.fullRegister(register))}`
      : `r1:high${high}`;
  }
  if (RegisterExt.isGPR(register)) return `r${RegisterExt.size(register)}:${number}`;
  if (RegisterExt.isSegmentRegister(register)) return `seg:${number}`;
  if (RegisterExt.isXMM(register)) return `xmm:${number}`;
  if (RegisterExt.isMM(register)) return `mm:${number}`;
  if (RegisterExt.isST(register)) return `st:${number}`;
  if (RegisterExt.isCR(register)) return `cr:${number}`;
  if (RegisterExt.isDR(register)) return `dr:${number}`;
  return name;
}

/** iced-x86 reports ES, CS, SS and DS overrides in 64-bit mode, where they do nothing. */
function segmentOf(i: Instruction, codeSize: number, base: Register): SegmentName {
  const number = RegisterExt.number(i.memorySegment);
  if (codeSize !== 8 || number >= 4) return SEGMENTS[number]!;
  const stack = [Register.RSP, Register.RBP, Register.ESP, Register.EBP].includes(base);
  return stack ? 'SS' : 'DS';
}

const STRING_MEMORY: Readonly<Record<number, readonly [base: number, addressSize: number]>> = {
  [OpKind.MemorySegSI]: [6, 2],
  [OpKind.MemorySegESI]: [6, 4],
  [OpKind.MemorySegRSI]: [6, 8],
  [OpKind.MemorySegDI]: [7, 2],
  [OpKind.MemorySegEDI]: [7, 4],
  [OpKind.MemorySegRDI]: [7, 8],
  [OpKind.MemoryESDI]: [7, 2],
  [OpKind.MemoryESEDI]: [7, 4],
  [OpKind.MemoryESRDI]: [7, 8],
};

/** Sign-extended immediates that end below 64 bits. */
const EXTENDED_TO: Readonly<Record<number, number>> = {
  [OpKind.Immediate8to16]: 16,
  [OpKind.Immediate8to32]: 32,
};

function operandText(i: Instruction, operand: number, codeSize: number): string {
  const kind = i.opKind(operand);
  const next = BigInt(i.length);
  const width = MemorySizeExt.size(i.memorySize);
  const relative = (target: bigint, bits: number) =>
    `rel ${hex(BigInt.asIntN(bits, target - next))}`;
  switch (kind) {
    case OpKind.Register:
      return registerText(i.opRegister(operand));
    case OpKind.NearBranch16:
      return relative(BigInt(i.nearBranch16), 16);
    case OpKind.NearBranch32:
      return relative(BigInt(i.nearBranch32), 32);
    case OpKind.NearBranch64:
      return relative(i.nearBranch64, 64);
    case OpKind.FarBranch16:
      return `far ${hex(BigInt(i.farBranchSelector))}:${hex(BigInt(i.farBranch16))}`;
    case OpKind.FarBranch32:
      return `far ${hex(BigInt(i.farBranchSelector))}:${hex(BigInt(i.farBranch32))}`;
    case OpKind.Memory: {
      const base = i.memoryBase;
      const index = i.memoryIndex;
      const number = (r: Register) =>
        r === Register.None ? -1 : RegisterExt.isIP(r) ? 16 : RegisterExt.number(r);
      const sized = [base, index].find((r) => r !== Register.None);
      const addressSize =
        sized === undefined
          ? i.memoryDisplSize // told by nothing else
          : sized === Register.RIP
            ? 8
            : sized === Register.EIP
              ? 4
              : RegisterExt.size(sized);
      const displacement = RegisterExt.isIP(base)
        ? i.memoryDisplacement - next
        : i.memoryDisplacement;
      const bits = addressSize === 0 ? 64 : addressSize * 8;
      return memoryText(width, addressSize, {
        kind: 'mem',
        segment: segmentOf(i, codeSize, base),
        base: number(base),
        index: number(index),
        scale: Math.log2(i.memoryIndexScale) as 0,
        disp: BigInt.asIntN(bits, displacement),
      });
    }
    default: {
      const [base, addressSize] = STRING_MEMORY[kind] ?? [];
      if (base === undefined) {
        const bits = EXTENDED_TO[kind] ?? 64;
        return hex(BigInt.asUintN(bits, i.immediate(operand)));
      }
      const segment = kind >= OpKind.MemoryESDI ? 'ES' : segmentOf(i, codeSize, Register.None);
      // biome-ignore format: one operand
      return memoryText(width, addressSize!, { kind: 'mem', segment, base, index: -1, scale: 0, disp: 0n });
    }
  }
}

/** What iced-x86 makes of the bytes. */
export function icedOpinion({ bytes, codeSize }: Sample): Opinion {
  const decoder = new Decoder(codeSize * 8, bytes, DecoderOptions.None);
  const i = decoder.decode();
  try {
    if (i.isInvalid) return { view: 'invalid' };
    const features = Array.from(i.cpuidFeatures(), (f) => nameIn(CpuidFeature, f));
    const rep = i.hasRepnePrefix ? 'repne ' : i.hasRepPrefix ? 'rep ' : '';
    const operands = Array.from({ length: i.opCount }, (_, k) => operandText(i, k, codeSize));
    const text = `${i.hasLockPrefix ? 'LOCK ' : ''}${i.isStringInstruction ? rep : ''}${mnemonicOf(i)} ${operands.join(', ')}`;
    return {
      view: { length: i.length, text: text.trim() },
      absent: features.find((f) => ABSENT.test(f)),
    };
  } finally {
    i.free();
    decoder.free();
  }
}
