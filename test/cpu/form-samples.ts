import { decode } from '../../src/cpu/decode/decode.ts';
import { formKey } from '../../src/cpu/form.ts';
import type { Insn } from '../../src/cpu/insn.ts';

/** An instruction that stands for its form. */
export interface FormSample {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly insn: Insn;
}

/** Memory with a base, base and index, RIP or no base, RBP; low and high registers. */
const MODRM_RM = [0x00, 0x04, 0x05, 0x45, 0x06, 0xc0, 0xc4];
const MAPS = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
// biome-ignore format: a table
const PREFIXES = [
  [], [0x66], [0xf3], [0xf2], [0xf0], [0x66, 0xf0], [0x66, 0xf3], [0x66, 0xf2], [0x67], [0x67, 0xf3], [0x67, 0xf2],
];
/** In 64-bit mode some of these again with REX. */
// biome-ignore format: a table
const WITH_REX = [
  [0x48], [0x66, 0x48], [0xf3, 0x48], [0xf2, 0x48], [0xf0, 0x48], [0x67, 0x48], [0x67, 0xf3, 0x48], [0x40], [0xf0, 0x40],
];

function* encodings(codeSize: 2 | 4 | 8): Generator<number[]> {
  const prefixes = codeSize === 8 ? [...PREFIXES, ...WITH_REX] : PREFIXES;
  for (const map of MAPS)
    for (let opcode = 0; opcode < 256; opcode++)
      for (const prefix of prefixes)
        for (let reg = 0; reg < 8; reg++)
          for (const rm of MODRM_RM) yield [...prefix, ...map, opcode, rm | (reg << 3)];
  for (const map of [2, 3])
    for (let opcode = 0xf0; opcode < 0x100; opcode++)
      for (let pp = 0; pp < 4; pp++)
        for (const w of [0, 0x80])
          for (let reg = 0; reg < 8; reg++)
            for (const rm of MODRM_RM)
              yield [0xc4, 0xe0 | map, w | 0x78 | pp, opcode, rm | (reg << 3)];
}

/** What follows ModRM: a SIB byte with base and index, then shift counts and levels of each class. */
const TAILS = [
  [0x88, 0x03, 0x11, 0x22, 0x33, 0x03, 0x11, 0x22, 0x33],
  [0x88, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0x88, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01],
];

/** One instruction of each form that decodes in code of a size; `wanted` says which. */
export function formSamples(
  codeSize: 2 | 4 | 8,
  wanted: (insn: Insn) => boolean = () => true,
): readonly FormSample[] {
  const samples = new Map<string, FormSample>();
  for (const start of encodings(codeSize)) {
    for (const tail of TAILS) {
      const bytes = Uint8Array.from([...start, ...tail]).slice(0, 16);
      const insn = decode(bytes, 0, codeSize);
      if (typeof insn === 'string' || !wanted(insn)) break;
      const key = formKey(insn);
      if (!samples.has(key)) samples.set(key, { key, bytes: bytes.slice(0, insn.length), insn });
      if (!insn.operands.some((operand) => operand.kind === 'imm')) break;
    }
  }
  return [...samples.values()];
}
