import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { ModuleBuilder } from '../../../../src/cpu/engines/wasm/assembler/module-builder.ts';
import { divideSigned, divideUnsigned } from '../../../../src/cpu/engines/wasm/division.ts';

type Divide = (high: bigint, low: bigint, divisor: bigint) => [bigint, bigint, number];

const module = new ModuleBuilder();
const unsignedIndex = module.add(divideUnsigned(), 'unsigned');
module.add(divideSigned(unsignedIndex), 'signed');
const { unsigned, signed } = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {})
  .exports as Record<'unsigned' | 'signed', Divide>;

const u64 = (value: bigint) => BigInt.asUintN(64, value);
const i64 = (value: bigint) => BigInt.asIntN(64, value);
const EDGES = [
  0n,
  1n,
  2n,
  3n,
  (1n << 32n) - 1n,
  1n << 32n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];

/** Numbers of all lengths, and the edges. */
function* cases(rounds: number): Generator<readonly [bigint, bigint, bigint]> {
  for (const high of EDGES) {
    for (const low of EDGES) {
      for (const divisor of EDGES) if (divisor !== 0n) yield [high, low, divisor];
    }
  }
  const random = seedrandom('division');
  const number = () => {
    const bits = BigInt(Math.floor(random() * 65));
    const whole =
      (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
    return whole & ((1n << bits) - 1n);
  };
  for (let i = 0; i < rounds; i++) yield [number(), number(), number() || 1n];
}

describe('division of 128 bits', () => {
  it('gives quotient and remainder where the quotient fits, unsigned', () => {
    for (const [high, low, divisor] of cases(20000)) {
      const dividend = (high << 64n) | low;
      const [quotient, remainder, fits] = unsigned(high, low, divisor);
      const expected = dividend / divisor;
      const what = `${dividend} / ${divisor}`;
      expect(fits === 1, what).toBe(expected < 1n << 64n);
      if (fits === 0) continue;
      expect(u64(quotient), what).toBe(expected);
      expect(u64(remainder), what).toBe(dividend % divisor);
    }
  });

  it('gives quotient and remainder where the quotient fits, signed', () => {
    for (const [high, low, raw] of cases(20000)) {
      const dividend = (i64(high) << 64n) | low;
      const divisor = i64(raw);
      const [quotient, remainder, fits] = signed(high, low, raw);
      const expected = dividend / divisor;
      const what = `${dividend} / ${divisor}`;
      expect(fits === 1, what).toBe(expected === i64(expected));
      if (fits === 0) continue;
      expect(quotient, what).toBe(expected);
      expect(remainder, what).toBe(dividend % divisor);
    }
  });
});
