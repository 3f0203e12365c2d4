import type { Memory, Size } from '../insn.ts';
import type { SegmentName } from '../state/layout.ts';

/** Segment registers by their number in ModRM.reg. */
export const SEGMENT_NUMBERS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const;

/** Vol. 2, "Instruction Prefixes": no instruction is longer. */
const LONGEST = 15;

/** What the cursor throws, and `decode` returns. */
export type Stop = '#UD' | '#GP' | 'short';

/** Base and index of the eight 16-bit addressing forms. Vol. 2, "16-Bit Addressing Forms". */
// biome-ignore format: a table
const FORMS_16 = [
  [3, 6], [3, 7], [5, 6], [5, 7], [6, -1], [7, -1], [5, -1], [3, -1],
] as const;

/** The bytes of one instruction being read, and what its prefixes and ModRM said so far. */
export class Cursor {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  readonly codeSize: 2 | 4 | 8;
  #position: number;

  operandSize: 2 | 4 | 8;
  addressSize: 2 | 4 | 8;
  /** Segment override, where the mode heeds it. */
  segment: SegmentName | undefined;
  lock = false;
  rep: 'rep' | 'repne' | undefined;
  /** Which mandatory prefix: 0 none, 1 66H, 2 F3H, 3 F2H. */
  mandatory = 0;
  /** Whether there is a REX prefix; its W; its R and B as 8 or 0; X likewise. */
  rex = false;
  w = false;
  r = 0;
  x = 0;
  b = 0;
  /** The VEX prefix, and the register it names. */
  vex = false;
  vvvv = 0;
  opcode = 0;
  modrm = 0;
  #memory: Memory | undefined;

  constructor(bytes: Uint8Array, offset: number, available: number, codeSize: 2 | 4 | 8) {
    this.#bytes = bytes;
    this.#start = offset;
    this.#position = offset;
    this.#end = Math.min(offset + available, bytes.length);
    this.codeSize = codeSize;
    this.operandSize = codeSize === 2 ? 2 : 4;
    this.addressSize = codeSize;
  }

  get length(): number {
    return this.#position - this.#start;
  }

  undefinedOpcode(): never {
    throw '#UD' satisfies Stop;
  }

  /** The next byte. */
  byte(): number {
    if (this.length === LONGEST) throw '#GP' satisfies Stop;
    if (this.#position >= this.#end) throw 'short' satisfies Stop;
    return this.#bytes[this.#position++]!;
  }

  /** The byte after the last one read, which stays unread. */
  peek(): number {
    const byte = this.byte();
    this.#position--;
    return byte;
  }

  /** A little-endian number of `size` bytes. */
  unsigned(size: Size): bigint {
    if (size === 1) return BigInt(this.byte());
    if (size === 8) {
      const low = this.unsigned(4);
      return low | (this.unsigned(4) << 32n);
    }
    let value = 0;
    for (let i = 0; i < size; i++) value += this.byte() * 2 ** (8 * i);
    return BigInt(value);
  }

  /** The same, signed; at most 4 bytes. */
  signed(size: 1 | 2 | 4): bigint {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.byte() << (8 * i);
    const unused = 32 - 8 * size;
    return BigInt((value << unused) >> unused);
  }

  /** The memory operand at a register. */
  at(base: number, segment: SegmentName): Memory {
    return { kind: 'mem', segment, base, index: -1, scale: 0, disp: 0n };
  }

  /** The memory operand at an offset in the instruction, as wide as an address. */
  absolute(): Memory {
    const disp = this.unsigned(this.addressSize);
    return { kind: 'mem', segment: this.segment ?? 'DS', base: -1, index: -1, scale: 0, disp };
  }

  /** The memory operand of ModRM. */
  memory(): Memory {
    return this.#memory!;
  }

  readModrm(): void {
    this.modrm = this.byte();
  }

  /** Reads SIB and displacement, so that immediates can follow. */
  readMemory(): void {
    this.#memory = this.addressSize === 2 ? this.#memory16() : this.#memory32();
  }

  #memory16(): Memory {
    const mod = this.modrm >> 6;
    const rm = this.modrm & 7;
    const [base, index] = mod === 0 && rm === 6 ? [-1, -1] : FORMS_16[rm]!;
    const bytes = base === -1 || mod === 2 ? 2 : mod;
    const disp = bytes === 0 ? 0n : this.signed(bytes as 1 | 2);
    return { kind: 'mem', segment: this.#segmentOf(base), base, index, scale: 0, disp };
  }

  /** Vol. 2, "32-Bit Addressing Forms with the ModR/M Byte" and "… with the SIB Byte". */
  #memory32(): Memory {
    const mod = this.modrm >> 6;
    const rm = this.modrm & 7;
    let base = rm | this.b;
    let index = -1;
    let scale = 0;
    let bytes = mod === 2 ? 4 : mod;
    if (rm === 4) {
      const sib = this.byte();
      scale = sib >> 6;
      index = ((sib >> 3) & 7) | this.x;
      if (index === 4) index = -1;
      base = (sib & 7) | this.b;
      if (mod === 0 && (sib & 7) === 5) {
        base = -1;
        bytes = 4;
      }
    } else if (mod === 0 && rm === 5) {
      base = this.codeSize === 8 ? 16 : -1;
      bytes = 4;
    }
    const disp = bytes === 0 ? 0n : this.signed(bytes as 1 | 4);
    const segment = this.#segmentOf(base);
    return { kind: 'mem', segment, base, index, scale: scale as Memory['scale'], disp };
  }

  /** Vol. 1, "Specifying a Segment Selector": the stack segment for rSP and rBP as base. */
  #segmentOf(base: number): SegmentName {
    return this.segment ?? (base === 4 || base === 5 ? 'SS' : 'DS');
  }
}
