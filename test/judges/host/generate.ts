import seedrandom from 'seedrandom';
import { decode } from '../../../src/cpu/decode/decode.ts';
import type { Insn, Memory } from '../../../src/cpu/insn.ts';
import { type FormSample, formSamples } from '../../cpu/form-samples.ts';
import { type Case, DATA, PAGE } from './case.ts';

/** Values at the edges of every size. */
// biome-ignore format: a table
const EDGES = [
  0n, 1n, 2n, 7n, 8n, 9n, 15n, 16n, 17n, 31n, 32n, 33n, 63n, 64n, 65n, 0x7fn, 0x80n, 0x81n, 0xffn, 0x100n,
  0x7fffn, 0x8000n, 0xffffn, 0x1_0000n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_fffen, 0xffff_ffffn, 0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffff_0000_0000n, 0xffff_ffff_ffff_fffen,
  0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ff80n, 0xffff_ffff_ffff_8000n, 0xffff_ffff_8000_0000n,
];
/** RFLAGS.DF and AC. */
const DF = 0x400n;
const AC = 0x4_0000n;
const MASK64 = 0xffff_ffff_ffff_ffffn;
const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

export interface Choice {
  readonly codeSize: 2 | 4 | 8;
  /** Which instructions take part. */
  readonly wanted: (insn: Insn) => boolean;
  /** Which may only stand last, because what they leave is not defined. */
  readonly last: (insn: Insn) => boolean;
  /** What the decoder knows; everything where it is undefined. */
  readonly features: ReadonlySet<string> | undefined;
}

/** A case, and the instructions it was made of. */
export interface Generated {
  readonly it: Case;
  readonly insns: readonly Insn[];
}

/** Makes random cases out of the forms there are; each seed makes one, always the same. */
export class Generator {
  readonly #choice: Choice;
  readonly #samples: readonly FormSample[];
  #random: () => number = seedrandom.alea('');

  constructor(choice: Choice) {
    this.#choice = choice;
    this.#samples = formSamples(choice.codeSize, (insn) => this.#allowed(insn));
  }

  /** Address of the data pages, as the code sees it. */
  get #base(): number {
    return this.#choice.codeSize === 2 ? 0 : DATA;
  }

  get forms(): number {
    return this.#samples.length;
  }

  generate(seed: string): Generated {
    this.#random = seedrandom.alea(seed);
    const { codeSize } = this.#choice;
    const length = this.#chance(0.6) ? 1 : 2 + this.#below(5);
    const parts: { bytes: Uint8Array; insn: Insn }[] = [];
    while (parts.length < length) {
      const part = this.#instruction();
      if (parts.length < length - 1 && this.#choice.last(part.insn)) continue;
      parts.push(part);
    }
    const gpr = Array.from({ length: 16 }, () => this.#value());
    if (this.#chance(0.85)) gpr[4] = this.#pointer();
    const first = parts[0]!;
    this.#setUp(first.insn, gpr);
    const targets = first.insn.operands.filter((operand) => operand.kind === 'mem');
    let target = 0n;
    for (const memory of targets) {
      target = this.#target();
      this.#aim(memory, target, gpr, first);
    }
    const patch = this.#bytes(32);
    const wanted = targets.length > 0 ? Number((target - BigInt(this.#base)) & 0xffff_ffffn) : 0;
    const patchAt =
      wanted >= PAGE && wanted <= 3 * PAGE - 32 ? wanted : PAGE + this.#below(2 * PAGE - 32);

    let code = Uint8Array.from(parts.flatMap(({ bytes }) => [...bytes]));
    let codeAt = this.#below(PAGE - 64);
    if (this.#chance(0.02)) {
      codeAt = PAGE - 1 - this.#below(code.length);
      code = code.slice(0, PAGE - codeAt);
    }
    const flags =
      BigInt(this.#below(0x1000) & 0x8d5) |
      (this.#chance(0.1) ? DF : 0n) |
      (this.#chance(0.03) ? AC : 0n);
    const steps = first.insn.rep ? 1 + this.#below(6) : length;
    return {
      it: { codeSize, steps, code, codeAt, patchAt, patch, gpr, rflags: flags | 0x202n },
      insns: parts.map(({ insn }) => insn),
    };
  }

  #allowed(insn: Insn): boolean {
    const far = ({ kind, ...rest }: Insn['operands'][number]) =>
      kind === 'mem' && ['FS', 'GS'].includes((rest as Memory).segment);
    // FS and GS belong to the C library.
    if (this.#choice.codeSize === 8 && insn.operands.some(far)) return false;
    if (insn.op === 'MOVSEG' && insn.operands[0]?.kind === 'seg') return false;
    return this.#choice.wanted(insn);
  }

  /** An instruction of a random form, with other registers, displacements and immediates. */
  #instruction(): { bytes: Uint8Array; insn: Insn } {
    for (;;) {
      const sample = this.#samples[this.#below(this.#samples.length)]!;
      const bytes = this.#mutate(sample.bytes);
      const insn = decode(bytes, 0, this.#choice.codeSize, bytes.length, this.#choice.features);
      if (typeof insn === 'string' || insn.op !== sample.insn.op || !this.#allowed(insn)) continue;
      return { bytes: bytes.slice(0, insn.length), insn };
    }
  }

  #mutate(sample: Uint8Array): Uint8Array {
    const out: number[] = [];
    let i = 0;
    while (PREFIXES.includes(sample[i]!)) out.push(sample[i++]!);
    if (this.#choice.codeSize === 8 && sample[i] !== 0xc4) {
      const rex = sample[i]! >> 4 === 4 ? sample[i++]! & 0x48 : this.#chance(0.5) ? 0x40 : 0;
      if (rex) out.push(rex | this.#below(8));
    }
    if (sample[i] === 0xc4) {
      // Register bits and vvvv of VEX.
      const [, second = 0, third = 0] = sample.subarray(i);
      const invert = this.#choice.codeSize === 8 ? this.#below(8) << 5 : 0;
      const vvvv = this.#choice.codeSize === 8 ? this.#below(16) << 3 : this.#below(8) << 3;
      out.push(0xc4, second ^ invert, third ^ vvvv, sample[i + 3]!);
      i += 4;
    } else {
      const escaped = sample[i] === 0x0f;
      const opcode = escaped ? ([0x38, 0x3a].includes(sample[i + 1]!) ? 3 : 2) : 1;
      for (const end = i + opcode; i < end; i++) out.push(sample[i]!);
    }
    if (i < sample.length) {
      const modrm = sample[i++]!;
      out.push(this.#chance(0.8) ? (modrm & 0xc0) | this.#below(64) : this.#below(256));
    }
    while (out.length < 16) {
      const value = this.#chance(0.5) ? this.#value() : BigInt(this.#below(256)) * 0x0101_0101n;
      for (let k = 0n; k < 4n; k++) out.push(Number((value >> (k * 8n)) & 0xffn));
      if (this.#chance(0.3)) out.push(this.#below(256));
    }
    return Uint8Array.from(out.slice(0, 15));
  }

  /** Values without which most cases of a mnemonic would be the same. */
  #setUp(insn: Insn, gpr: bigint[]): void {
    if ((insn.op === 'DIV' || insn.op === 'IDIV') && this.#chance(0.7)) {
      gpr[2] = this.#chance(0.6) ? BigInt(this.#below(4)) : MASK64;
      if (insn.size === 1) gpr[0] = BigInt(this.#below(0x1000));
    }
    if (insn.op === 'BOUND' && this.#chance(0.5)) gpr[0] = BigInt(this.#below(256));
    if (insn.op === 'CMPXCHG8B' || insn.op === 'CMPXCHG16B') return;
    if (insn.rep && this.#chance(0.9)) gpr[1] = BigInt(this.#below(6));
    if (insn.op === 'ENTER' && this.#chance(0.8)) gpr[5] = this.#pointer();
    if (insn.op === 'LEAVE') gpr[5] = this.#pointer();
    const index = insn.operands[1];
    if (insn.op.startsWith('BT') && index?.kind === 'gpr' && this.#chance(0.8)) {
      gpr[index.index] = BigInt(this.#below(0x400) - 0x200) & MASK64;
    }
  }

  /** Makes a memory operand point to `target`, by its base register or its displacement. */
  #aim(
    memory: Memory,
    target: bigint,
    gpr: bigint[],
    part: { bytes: Uint8Array; insn: Insn },
  ): void {
    const { base, index, scale, disp } = memory;
    if (base >= 0 && base < 16) {
      if (index === base) gpr[base] = (target - disp) / (1n + (1n << BigInt(scale)));
      else {
        const indexed = index >= 0 ? gpr[index]! << BigInt(scale) : 0n;
        gpr[base] = (target - disp - indexed) & MASK64;
      }
    } else if (base < 0 && index < 0 && part.insn.addressSize >= 4) {
      const view = new DataView(part.bytes.buffer, part.bytes.byteOffset);
      const old = Number(disp & 0xffff_ffffn);
      for (let at = part.bytes.length - 4; at > 0; at--) {
        if (view.getUint32(at, true) !== old) continue;
        view.setUint32(at, Number(target & 0xffff_ffffn), true);
        return;
      }
    }
  }

  /** An address for a memory operand: mostly writable, sometimes at an edge or beyond. */
  #target(): bigint {
    const at = (offset: number) => BigInt(this.#base + offset);
    const near = (edge: number) => at(edge - this.#below(20));
    const dice = this.#random();
    if (dice < 0.75) return at(PAGE + this.#below(2 * PAGE - 32));
    if (dice < 0.82) return near(2 * PAGE);
    if (dice < 0.88) return near(3 * PAGE);
    if (dice < 0.92) return near(PAGE);
    if (dice < 0.95) return at(this.#below(PAGE));
    if (dice < 0.98) return at(3 * PAGE + this.#below(PAGE));
    return this.#chance(0.5) ? 0x7fff_ffff_fff8n + BigInt(this.#below(16)) : this.#value();
  }

  #pointer(): bigint {
    return BigInt(this.#base + PAGE + 512 + this.#below(2 * PAGE - 1024));
  }

  #value(): bigint {
    const dice = this.#random();
    if (dice < 0.5) return EDGES[this.#below(EDGES.length)]!;
    if (dice < 0.65) return this.#pointer();
    const bits = BigInt(this.#below(2 ** 32)) | (BigInt(this.#below(2 ** 32)) << 32n);
    return dice < 0.9 ? bits : bits & EDGES[this.#below(EDGES.length)]!;
  }

  #bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < length; i += 8) view.setBigUint64(i, this.#value(), true);
    return bytes;
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }
}
