import seedrandom from 'seedrandom';

/** Bits of singles and doubles at the edges of their formats. */
// biome-ignore format: a table
const SINGLES = [
  0, 0x8000_0000, 1, 0x8000_0001, 0x7f_ffff, 0x80_0000, 0x80_0001, 0x3f80_0000, 0xbf80_0000, 0x3f7f_ffff, 0x4000_0000, 0x7f7f_ffff,
  0xff7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffa0_0001, 0x4f00_0000, 0xcf00_0000, 0x4eff_ffff,
  0x5f00_0000, 0xdf00_0000, 0x3f00_0000, 0x3fc0_0000, 0x4020_0000, 0x7e80_0000, 0x0100_0000,
];
// biome-ignore format: a table
const DOUBLES = [
  0n, 1n << 63n, 1n, (1n << 63n) | 1n, 0xf_ffff_ffff_ffffn, 1n << 52n, 0x3ff0_0000_0000_0000n, 0xbff0_0000_0000_0000n,
  0x3fef_ffff_ffff_ffffn, 0x7fef_ffff_ffff_ffffn, 0x7ff0_0000_0000_0000n, 0xfff0_0000_0000_0000n, 0x7ff8_0000_0000_0000n,
  0xfff8_0000_0000_0000n, 0x7ff0_0000_0000_0001n, 0xfff4_0000_0000_0001n, 0x41df_ffff_ffc0_0000n, 0x41e0_0000_0000_0000n,
  0xc1e0_0000_0000_0000n, 0xc1e0_0000_0020_0000n, 0x43e0_0000_0000_0000n, 0xc3e0_0000_0000_0000n, 0x3fe0_0000_0000_0000n,
  0x3ff8_0000_0000_0000n, 0x4004_0000_0000_0000n, 0x47ef_ffff_ffff_ffffn, 0x3810_0000_0000_0000n, 0x36a0_0000_0000_0000n,
];

/** Makes floating-point state out of a seed. */
export class FxGenerator {
  readonly #random: () => number;

  constructor(seed: string) {
    this.#random = seedrandom(seed);
  }

  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Eight bytes: an edge of some format, a number of ordinary size, or anything. */
  lane(): bigint {
    const word = () => BigInt(this.below(2 ** 32));
    switch (this.below(6)) {
      case 0:
        return this.pick(DOUBLES);
      case 1:
        return BigInt(this.pick(SINGLES)) | (BigInt(this.pick(SINGLES)) << 32n);
      case 2: // doubles near 1
        return (
          (((word() & 0x800f_ffffn) | (BigInt(0x3f0 + this.below(32)) << 20n)) << 32n) |
          (word() & this.pick([0n, 0xffff_ffffn]))
        );
      case 3: // singles near 1
        return (
          (word() & 0x807f_ffffn) |
          (BigInt(120 + this.below(16)) << 23n) |
          (((word() & 0x807f_ffffn) | (BigInt(120 + this.below(16)) << 23n)) << 32n)
        );
      case 4: // small integers
        return BigInt.asUintN(64, BigInt(this.below(2 ** 17) - 2 ** 16));
      default:
        return word() | (word() << 32n);
    }
  }

  /** Ten bytes of an x87 register; some that no instruction makes. */
  extended(): bigint {
    const sign = BigInt(this.below(2)) << 79n;
    const integer = this.below(20) === 0 ? 0n : 1n << 63n;
    const low =
      this.pick([
        0n,
        1n,
        this.lane() >> 1n,
        (1n << 63n) - 1n,
        1n << 62n,
        this.lane() & 0x7fff_ff00_0000_0000n,
      ]) &
      ((1n << 63n) - 1n);
    const exponent = this.pick([
      0,
      0,
      1,
      0x7fff,
      0x7ffe,
      0x3fff,
      0x3ffe,
      0x4000,
      0x3fff + this.below(70),
      0x3fff - this.below(70),
      this.below(0x8000),
      0x3fff - 16382 + this.below(70),
    ]);
    if (exponent === 0x7fff && this.below(2) === 0)
      return sign | (0x8000_0000_0000_0000n | (0x7fffn << 64n));
    return sign | (BigInt(exponent) << 64n) | integer | low;
  }

  /** An FXSAVE image. With `mmx`, the x87 registers are as MMX instructions leave them. */
  image(kind: 'sse' | 'mmx' | 'x87'): Uint8Array {
    const fx = new Uint8Array(512);
    const view = new DataView(fx.buffer);
    const masks = this.below(6) === 0 ? this.below(64) : 63;
    const sticky = this.below(3) === 0 ? this.below(64) : 0;
    const control = (this.below(3) === 0 ? this.below(4) : 0) << 13;
    const flush = this.below(4) === 0 ? this.below(4) : 0;
    view.setUint32(
      24,
      (masks << 7) | sticky | control | ((flush & 1) << 6) | ((flush & 2) << 14),
      true,
    );
    view.setUint32(28, 0xffff, true);
    const x87Masks = this.below(6) === 0 ? this.below(64) : 63;
    const precision = this.pick([3, 3, 3, 2, 0]);
    const rounding = this.below(3) === 0 ? this.below(4) : 0;
    view.setUint16(
      0,
      kind === 'x87' ? x87Masks | 0x40 | (precision << 8) | (rounding << 10) : 0x37f,
      true,
    );
    const top = kind === 'x87' ? this.below(8) : 0;
    const codes = kind === 'x87' ? this.below(16) : 0;
    const condition = ((codes & 7) << 8) | ((codes & 8) << 11);
    const flags = kind === 'x87' && this.below(3) === 0 ? this.below(64) & x87Masks : 0;
    view.setUint16(2, (top << 11) | condition | flags, true);
    fx[4] =
      kind === 'mmx' ? 0xff : kind === 'sse' ? 0 : this.below(4) === 0 ? this.below(256) : 0xff;
    for (let i = 0; i < 8; i++) {
      const at = 32 + 16 * i;
      if (kind === 'mmx') {
        view.setBigUint64(at, this.lane(), true);
        view.setUint16(at + 8, 0xffff, true);
      } else if (kind === 'x87') {
        const value = this.extended();
        view.setBigUint64(at, value & 0xffff_ffff_ffff_ffffn, true);
        view.setUint16(at + 8, Number(value >> 64n), true);
      }
    }
    for (let i = 0; i < 32; i++) view.setBigUint64(160 + 8 * i, this.lane(), true);
    return fx;
  }

  /** Memory for operands. */
  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i + 8 <= length; i += 8) view.setBigUint64(i, this.lane(), true);
    if (this.below(3) === 0) {
      const value = this.extended();
      view.setBigUint64(0, value & 0xffff_ffff_ffff_ffffn, true);
      view.setUint16(8, Number(value >> 64n), true);
    }
    return bytes;
  }
}

/** How two images differ, in words. Registers that both sides call empty are not looked at where `tags` is given. */
export function imageDifference(
  host: Uint8Array,
  ours: Uint8Array,
  fields: readonly Field[],
): string | undefined {
  const text = (image: Uint8Array, { at, bytes }: Field) =>
    Buffer.from(image.subarray(at, at + bytes))
      .reverse()
      .toString('hex');
  const found = fields
    .filter((field) => text(host, field) !== text(ours, field))
    .map((field) => `${field.name} ${text(host, field)}, ours ${text(ours, field)}`);
  return found.length > 0 ? found.join('; ') : undefined;
}

export interface Field {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
}

export const SSE_FIELDS: readonly Field[] = [
  { name: 'mxcsr', at: 24, bytes: 4 },
  ...Array.from({ length: 16 }, (_, i) => ({ name: `xmm${i}`, at: 160 + 16 * i, bytes: 16 })),
];

export const X87_FIELDS: readonly Field[] = [
  { name: 'fcw', at: 0, bytes: 2 },
  { name: 'fsw', at: 2, bytes: 2 },
  { name: 'ftw', at: 4, bytes: 1 },
  ...Array.from({ length: 8 }, (_, i) => ({ name: `st${i}`, at: 32 + 16 * i, bytes: 10 })),
];
