import { decode } from '../../../src/cpu/decode/decode.ts';
import type { Insn } from '../../../src/cpu/insn.ts';
import { semanticsOf } from '../../../src/cpu/semantics/semantics.ts';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { CODE, DATA, type Random, STACK, type Twin } from './twins.ts';

const pick = <T>(random: Random, list: readonly T[]): T =>
  list[Math.floor(random() * list.length)]!;
const byte = (random: Random): number => Math.floor(random() * 256);

const BOUNDARIES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
  0x8000_0000_0000n,
  63n,
  31n,
];
const PREFIXES = [[], [], [], [], [], [], [0x66], [0x66], [0xf3], [0xf2], [0xf0], [0x64], [0x67]];
const MAPS = [[], [], [], [0x0f], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
/** Opcodes of the integer instructions that programs are made of, much more often than the rest. */
const COMMON = [
  0x01, 0x03, 0x09, 0x11, 0x13, 0x19, 0x21, 0x29, 0x2b, 0x31, 0x39, 0x3b, 0x50, 0x51, 0x58, 0x5b,
  0x69, 0x6b, 0x70, 0x72, 0x74, 0x75, 0x78, 0x7c, 0x7f, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87,
  0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x99, 0xa4, 0xa5, 0xa6, 0xab, 0xac, 0xae, 0xb0, 0xb8, 0xc0, 0xc1,
  0xc6, 0xc7, 0xd0, 0xd1, 0xd3, 0xe2, 0xe8, 0xeb, 0xf6, 0xf7, 0xfe, 0xff, 0x40, 0x4b, 0x60, 0x61,
  0xc3, 0xe3,
];

/** Bytes that decode to one instruction the emitter expresses; `wanted` may refuse it. */
function instruction(
  random: Random,
  codeSize: 2 | 4 | 8,
  wanted: (insn: Insn) => boolean,
): number[] {
  for (;;) {
    const map = pick(random, MAPS);
    const opcode = map.length === 0 && random() < 0.8 ? pick(random, COMMON) : byte(random);
    const rex = codeSize === 8 && random() < 0.6 ? [0x40 | (byte(random) & 15)] : [];
    const prefix = pick(random, PREFIXES);
    const tail = Array.from({ length: 12 }, () => byte(random));
    // Mostly registers, or memory with an 8-bit displacement: a 32-bit one leads nowhere.
    const mod = random() < 0.45 ? 0xc0 : random() < 0.7 ? 0x40 : random() < 0.7 ? 0 : 0x80;
    tail[0] = mod | (tail[0]! & 0x3f);
    const bytes = [...prefix, ...rex, ...map, opcode, ...tail];
    const insn = decode(Uint8Array.from(bytes), 0, codeSize);
    if (typeof insn === 'string' || !semanticsOf(insn) || !wanted(insn)) continue;
    // Branches stay near.
    const rel = insn.operands[0]?.kind === 'rel' ? insn.operands[0] : undefined;
    if (rel && (rel.displacement > 127n || rel.displacement < -128n)) continue;
    return bytes.slice(0, insn.length);
  }
}

/** A program as its instructions, so that it can be shrunk, and the seed of the values it starts with. */
export interface Program {
  readonly instructions: readonly (readonly number[])[];
  readonly values: number;
}

export function randomProgram(
  random: Random,
  codeSize: 2 | 4 | 8,
  length: number,
  wanted: (insn: Insn) => boolean = () => true,
): Program {
  return {
    instructions: Array.from({ length }, () => instruction(random, codeSize, wanted)),
    values: Math.floor(random() * 2 ** 31),
  };
}

/** Puts a program into memory, with data, flags and registers, many of them pointers into the data. */
export function loadProgram(twin: Twin, program: Program, random: Random): void {
  const { memory, state } = twin;
  memory.load(
    DATA,
    Uint8Array.from({ length: 0x8000 }, () => byte(random)),
  );
  memory.load(CODE, Uint8Array.from(program.instructions.flat()));
  for (let i = 0; i < 16; i++) {
    const kind = random();
    state.gpr[i] =
      kind < 0.04
        ? BigInt(CODE + Math.floor(random() * 64) - Number(state.segment('DS').base))
        : kind < 0.6
          ? BigInt(DATA + Math.floor(random() * 0x8000))
          : kind < 0.8
            ? pick(random, BOUNDARIES)
            : BigInt(Math.floor(random() * 2 ** 48));
  }
  for (let i = 0; i < 32; i++) {
    const halves = [
      byte(random) < 64 ? 0 : random() * 2 ** 32,
      byte(random) < 64 ? 0 : random() * 2 ** 32,
    ];
    const value = (BigInt(Math.floor(halves[0]!)) << 32n) | BigInt(Math.floor(halves[1]!));
    state.set(STATE.XMM + 32 * (i >> 1) + 8 * (i & 1), value);
  }
  if (random() < 0.9) state.gpr[1] = BigInt(Math.floor(random() * 20));
  if (random() < 0.9) state.gpr[4] = BigInt(STACK - 8 * Math.floor(random() * 8));
  state.rip = BigInt(CODE) - state.segment('CS').base;
}
