import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  divide,
  integerRoot,
  multiply,
  squareRoot,
  subtract,
} from '../../../src/cpu/float/arithmetic.ts';
import { cosine, exp2m1, sine, tangent, yLog2 } from '../../../src/cpu/float/elementary.ts';
import {
  DOUBLE,
  EXTENDED,
  type Float,
  type Format,
  pack,
  SINGLE,
  unpack,
} from '../../../src/cpu/float/format.ts';
import { type Environment, type Rounding, round, toInteger } from '../../../src/cpu/float/round.ts';

const under = (rounding: Rounding = 0): Environment => ({ rounding, flags: 0, roundedUp: false });

const view = new DataView(new ArrayBuffer(8));
const doubleBits = (x: number): bigint => {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
};
const double = (x: number): Float => unpack(DOUBLE, doubleBits(x));
const rounded = (x: Float, format: Format, rounding: Rounding = 0) =>
  pack(format, round(under(rounding), format, x));

describe('arithmetic to nearest is that of the host', () => {
  const operand = fc.double({ noNaN: true, noDefaultInfinity: true });
  // biome-ignore format: a table
  it.each([
    ['a sum',        add,      (x: number, y: number) => x + y],
    ['a difference', subtract, (x: number, y: number) => x - y],
    ['a product',    multiply, (x: number, y: number) => x * y],
    ['a quotient',   divide,   (x: number, y: number) => x / y],
  ] as const)('for %s', (_name, of, host) => {
    fc.assert(
      fc.property(operand, operand, (x, y) => {
        const exact = of(double(x), double(y), 0);
        if (typeof exact === 'string' || 'divided' in exact) return;
        expect(rounded(exact, DOUBLE)).toBe(doubleBits(host(x, y)));
      }),
      { numRuns: 2000 },
    );
  });

  it('for a root', () => {
    fc.assert(
      fc.property(operand, (x) => {
        const exact = squareRoot(double(Math.abs(x))) as Float;
        expect(rounded(exact, DOUBLE)).toBe(doubleBits(Math.sqrt(Math.abs(x))));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('rounding', () => {
  const third = divide(double(1), double(3)) as Float;

  it.each([
    ['to nearest', 0, 0x3eaa_aaabn],
    ['down', 1, 0x3eaa_aaaan],
    ['up', 2, 0x3eaa_aaabn],
    ['toward zero', 3, 0x3eaa_aaaan],
  ] as const)('1/3 %s', (_name, rounding, bits) =>
    expect(rounded(third, SINGLE, rounding)).toBe(bits),
  );

  it('keeps fewer bits where precision control says so', () => {
    const env = { ...under(), precision: 24 };
    expect(pack(EXTENDED, round(env, EXTENDED, third))).toBe(0x3ffd_aaaa_ab00_0000_0000n);
  });

  it('of what is too large gives infinity or the largest number, by direction', () => {
    const large = multiply(double(1e300), double(1e300)) as Float;
    expect(rounded(large, DOUBLE, 0)).toBe(0x7ff0_0000_0000_0000n);
    expect(rounded(large, DOUBLE, 1)).toBe(0x7fef_ffff_ffff_ffffn);
    const env = under();
    round(env, DOUBLE, large);
    expect(env.flags).toBe(0x28); // OE PE
  });

  it('detects tininess after rounding', () => {
    // 2^-126 less a quarter of its last place: tiny before, not after.
    const almost = subtract(double(2 ** -126), double(2 ** -152), 0) as Float;
    const env = under();
    expect(pack(SINGLE, round(env, SINGLE, almost))).toBe(0x0080_0000n);
    expect(env.flags).toBe(0x20); // PE, no UE
  });

  it('flushes tiny results to zero on request', () => {
    const env = { ...under(), flushToZero: true };
    expect(pack(SINGLE, round(env, SINGLE, double(-(2 ** -140))))).toBe(0x8000_0000n);
    expect(env.flags).toBe(0x30); // UE PE
  });

  it('gives integers', () => {
    expect(toInteger(under(0), double(2.5))).toBe(2n);
    expect(toInteger(under(0), double(3.5))).toBe(4n);
    expect(toInteger(under(2), double(-2.5))).toBe(-2n);
    expect(toInteger(under(1), double(-2.5))).toBe(-3n);
    expect(toInteger(under(), double(Number.POSITIVE_INFINITY))).toBeUndefined();
  });
});

describe('formats', () => {
  it.each([SINGLE, DOUBLE, EXTENDED])('what is taken apart goes together again', (format) => {
    const bits = BigInt(format === EXTENDED ? 80 : format === DOUBLE ? 64 : 32);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << bits) - 1n }), (pattern) => {
        const value = unpack(format, pattern);
        if (value.kind === 'unsupported' || (format === EXTENDED && value.denormal)) return;
        expect(pack(format, value)).toBe(pattern);
      }),
    );
  });

  it('80 bits without their integer bit are unsupported', () => {
    expect(unpack(EXTENDED, 0x3fff_0000_0000_0000_0000n).kind).toBe('unsupported');
    expect(unpack(EXTENDED, 0x0000_8000_0000_0000_0000n).denormal).toBe(true);
  });
});

describe('elementary functions', () => {
  // To 64 bits, from the literature; 80-bit patterns.
  it.each([
    ['sin 1', sine(double(1)), 0x3ffe_d76a_a478_4867_7021n],
    ['cos 1', cosine(double(1)), 0x3ffe_8a51_407d_a834_5c92n],
    ['tan 1', tangent(double(1)), 0x3fff_c759_22e5_f71d_2dc5n],
    ['2^0.5 - 1', exp2m1(double(0.5)), 0x3ffd_d413_cccf_e779_9211n],
    ['log2 10', yLog2(double(1), double(10)), 0x4000_d49a_784b_cd1b_8afen],
  ] as const)('%s', (_name, value, bits) => expect(rounded(value, EXTENDED)).toBe(bits));

  it('agree with the host to within its last places', () => {
    fc.assert(
      fc.property(fc.double({ min: -100, max: 100, noNaN: true }), (x) => {
        fc.pre(Math.abs(x) > 1e-3);
        view.setBigUint64(0, rounded(sine(double(x)), DOUBLE));
        expect(view.getFloat64(0)).toBeCloseTo(Math.sin(x), 14);
      }),
    );
  });

  it('integer roots are exact', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 1n << 300n }), (n) => {
        const root = integerRoot(n);
        expect(root * root <= n && n < (root + 1n) * (root + 1n)).toBe(true);
      }),
      { examples: [[0n], [1n], [(1n << 300n) - 1n]] },
    );
  });
});
