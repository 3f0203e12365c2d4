/** A binary floating-point format. Vol. 1, "Floating-Point Data Types". */
export interface Format {
  /** Bits of the significand, the integer bit included. */
  readonly precision: number;
  /** Exponents of normal numbers: the value is in [2^e, 2^(e+1)). */
  readonly least: number;
  readonly most: number;
  /** Whether the integer bit is stored. */
  readonly explicit: boolean;
}

export const SINGLE: Format = { precision: 24, least: -126, most: 127, explicit: false };
export const DOUBLE: Format = { precision: 53, least: -1022, most: 1023, explicit: false };
export const EXTENDED: Format = { precision: 64, least: -16382, most: 16383, explicit: true };

/** A number taken apart: significand · 2^exponent, an infinity, or a NaN. */
export interface Float {
  /** `unsupported`: an 80-bit pattern without its integer bit. */
  readonly kind: 'zero' | 'finite' | 'infinity' | 'quiet' | 'signaling' | 'unsupported';
  readonly negative: boolean;
  /** Of a NaN: the significand as 64 bits, integer bit first, then the quiet bit. */
  readonly significand: bigint;
  readonly exponent: number;
  /** Below the least normal number, or encoded as if it were. */
  readonly denormal: boolean;
}

export const isNan = ({ kind }: Float): boolean => kind === 'quiet' || kind === 'signaling';

export const zero = (negative = false): Float => ({
  kind: 'zero',
  negative,
  significand: 0n,
  exponent: 0,
  denormal: false,
});
export const infinity = (negative = false): Float => ({ ...zero(negative), kind: 'infinity' });
export const finite = (negative: boolean, significand: bigint, exponent: number): Float =>
  significand === 0n
    ? zero(negative)
    : { kind: 'finite', negative, significand, exponent, denormal: false };

const QUIET = 1n << 62n;
/** The QNaN floating-point indefinite. */
export const INDEFINITE: Float = {
  kind: 'quiet',
  negative: true,
  significand: 3n << 62n,
  exponent: 0,
  denormal: false,
};
export const quieted = (nan: Float): Float => ({
  ...nan,
  kind: 'quiet',
  significand: nan.significand | QUIET,
});

/** Bits of the biased exponent, and what all of them set are. */
const exponentBits = ({ most }: Format) => BigInt(32 - Math.clz32(most));
const ones = (bits: bigint) => (1n << bits) - 1n;

/** Takes bits apart. */
export function unpack(format: Format, bits: bigint): Float {
  const fractionBits = BigInt(format.precision - (format.explicit ? 0 : 1));
  const topExponent = ones(exponentBits(format) + 1n);
  const biased = (bits >> fractionBits) & topExponent;
  const fraction = bits & ones(fractionBits);
  const negative = bits >> (fractionBits + exponentBits(format) + 1n) !== 0n;
  const integer = format.explicit ? 0n : 1n << fractionBits;
  if (format.explicit && biased !== 0n && fraction >> 63n === 0n) {
    return { ...zero(negative), kind: 'unsupported', significand: fraction };
  }
  if (biased === topExponent) {
    const significand = (fraction | integer) << BigInt(64 - format.precision);
    if (significand === 1n << 63n) return infinity(negative);
    const kind = (significand & QUIET) !== 0n ? 'quiet' : 'signaling';
    return { ...zero(negative), kind, significand };
  }
  if (fraction === 0n && biased === 0n) return zero(negative);
  const exponent = Math.max(Number(biased), 1) - 1 + format.least - (format.precision - 1);
  const denormal = biased === 0n;
  const significand = denormal ? fraction : fraction | integer;
  return { kind: 'finite', negative, significand, exponent, denormal };
}

/** Puts together what `round` made fit: the bits. */
export function pack(format: Format, value: Float): bigint {
  const fractionBits = BigInt(format.precision - (format.explicit ? 0 : 1));
  const topExponent = ones(exponentBits(format) + 1n);
  const place = (biased: bigint, significand: bigint) =>
    ((((value.negative ? 1n : 0n) << (exponentBits(format) + 1n)) | biased) << fractionBits) |
    (significand & ones(fractionBits));
  switch (value.kind) {
    case 'zero':
      return place(0n, 0n);
    case 'infinity':
      return place(topExponent, format.explicit ? 1n << 63n : 0n);
    case 'finite': {
      const shift = BigInt(format.precision) - BigInt(bitLength(value.significand));
      const top = value.exponent + format.precision - 1 - Number(shift);
      const lowest = format.least - (format.precision - 1);
      if (top >= format.least) {
        return place(BigInt(top - format.least + 1), value.significand << shift);
      }
      return place(0n, value.significand << BigInt(value.exponent - lowest));
    }
    default:
      return place(topExponent, value.significand >> BigInt(64 - format.precision));
  }
}

/** Bits up to the highest one. */
export function bitLength(value: bigint): number {
  let bits = 0;
  let rest = value;
  while (rest > 0xffff_ffffn) {
    rest >>= 32n;
    bits += 32;
  }
  return bits + 32 - Math.clz32(Number(rest));
}
