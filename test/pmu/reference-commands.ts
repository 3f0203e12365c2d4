import fc from 'fast-check';
import type { Occurrence } from './reference-model.ts';
import type { WholeShape } from './reference-whole.ts';

/** Kinds of instructions, by what they make happen; the last is a further iteration of a REP. */
// biome-ignore format: a table
export const INSTRUCTIONS: readonly Occurrence[] = [
  { instructions: 1, branches: 0, loads: 0, cycles: 1 },
  { instructions: 1, branches: 0, loads: 0, cycles: 3 },
  { instructions: 1, branches: 1, loads: 0, cycles: 1 },
  { instructions: 1, branches: 0, loads: 1, cycles: 4 },
  { instructions: 1, branches: 1, loads: 1, cycles: 20 },
  { instructions: 0, branches: 0, loads: 0, cycles: 2 },
];

export type Command =
  | { readonly do: 'wrmsr'; readonly address: number; readonly value: bigint }
  | { readonly do: 'arm'; readonly index: number; readonly select: bigint; readonly short: bigint }
  | { readonly do: 'run'; readonly kinds: readonly number[]; readonly times: number }
  | { readonly do: 'guest'; readonly control: bigint; readonly kinds: readonly number[] }
  | { readonly do: 'cpl'; readonly cpl: number }
  | { readonly do: 'reset'; readonly kind: 'power-up' | 'init' }
  | { readonly do: 'drain' | 'snapshot' };

/** Numbers at which something is likely to happen: counters near their ends, single bits, small numbers. */
const value = fc.oneof(
  fc.bigInt({ min: 0n, max: 40n }).map((n) => -n & 0xffff_ffff_ffffn),
  fc.bigInt({ min: 0n, max: 40n }).map((n) => -n & 0xff_ffff_ffffn),
  fc.bigInt({ min: 0n, max: 40n }),
  fc.bigInt({ min: 0n, max: 63n }).map((n) => 1n << n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
/** CMASK, INV, EDGE in the forms that matter, none more often than not. */
// biome-ignore format: a table
const FILTERS = [0n, 0n, 0n, 0x0100_0000n, 0x0200_0000n, 0x0180_0000n, 0x0a80_0000n, 0x0104_0000n, 0x0004_0000n, 0x0080_0000n];
const DEBUGCTL = [0n, 1n, 0x800n, 0x801n, 0x1000n, 0x1801n, 0x1800n];
const LVTPC = [0x400n, 0x400n, 0x400n, 0x1_0400n, 0x30n, 0x1_0030n];
const short = fc.bigInt({ min: 1n, max: 30n });
const kinds = fc.array(fc.nat(INSTRUCTIONS.length - 1), { minLength: 1, maxLength: 6 });

const within = (mask: bigint) =>
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((bits) => bits & mask);
const bitmap = (list: readonly number[]) => list.reduce((all, i) => all | (1n << BigInt(i)), 0n);

/** Selectors that count something at some level, or nothing the model knows. */
const selector = (extended: boolean) =>
  fc
    .tuple(
      fc.constantFrom(0x00c0n, 0x00c4n, 0x81d0n, 0x003cn, 0x1234n),
      fc.constantFrom(0n, 0x1_0000n, 0x2_0000n, 0x3_0000n),
      fc.constantFrom(0n, 0x10_0000n),
      fc.constantFrom(0n, 0x40_0000n),
      fc.constantFrom(...FILTERS),
      // EQ, RDPMC user disable, UMASK2.
      extended ? fc.constantFrom(0n, 0n, 1n << 36n, 1n << 37n, 1n << 40n) : fc.constant(0n),
    )
    .map((parts) => parts.reduce((all, part) => all | part));

/** Sequences of commands, those of features only where there are any; registers that do not exist are written, too. */
export function commands(shape: WholeShape): fc.Arbitrary<Command[]> {
  const { gp, fixed, lbr, version, metrics, sampling, idle, reloaded, causes } = shape;
  const all = bitmap(gp) | (bitmap(fixed) << 32n) | (metrics ? 1n << 48n : 0n);
  const selectors = selector(version >= 6);
  const some = fc.constantFrom(...gp);
  const wrmsr = (address: fc.Arbitrary<number> | number, of: fc.Arbitrary<bigint>) =>
    fc.record({
      do: fc.constant('wrmsr' as const),
      address: typeof address === 'number' ? fc.constant(address) : address,
      value: of,
    });
  const nibbles = fixed.reduce((bits, i) => bits | (0xbn << BigInt(4 * i)), 0n);
  const close = (width: number) => short.map((n) => (1n << BigInt(width)) - n);
  const at = (base: number, stride = 1) => some.map((i) => base + stride * i);
  const counterOf = (counter: number, from: number, fixedFrom: number, stride: number) =>
    counter < 32 ? from + stride * counter : fixedFrom + stride * (counter - 32);
  const reloadable = Array.from({ length: 48 }, (_, i) => i).filter(
    (i) => ((reloaded >> BigInt(i)) & 1n) === 1n,
  );

  const weighted: (readonly [number, fc.Arbitrary<Command>])[] = [
    [
      13,
      fc.record({ do: fc.constant('run' as const), kinds, times: fc.integer({ min: 1, max: 12 }) }),
    ],
    [
      11,
      fc.record({
        do: fc.constant('arm' as const),
        index: some,
        select: selectors.map((select) => select | 0x53_0000n),
        short,
      }),
    ],
    [4, wrmsr(at(0x186), selectors)],
    [4, wrmsr(at(0x0c1), value)],
    [3, wrmsr(at(0x4c1), value)],
    [3, wrmsr(fc.integer({ min: 0x309, max: 0x310 }), close(shape.fixedWidth))],
    [3, wrmsr(0x38d, within(nibbles))],
    [4, wrmsr(0x38f, within(all))],
    [
      3,
      wrmsr(
        fc.constantFrom(0x390, 0x391),
        fc.oneof(within(all), fc.constantFrom(1n << 58n, 1n << 59n, 1n << 62n, 3n << 58n)),
      ),
    ],
    [2, wrmsr(0x1d9, fc.constantFrom(...DEBUGCTL))],
    [3, wrmsr(0x834, fc.constantFrom(...LVTPC))],
    [2, wrmsr(fc.constantFrom(...EXISTING_OR_NOT), value)],
    [4, fc.record({ do: fc.constant('guest' as const), control: within(all), kinds })],
    [3, fc.record({ do: fc.constant('cpl' as const), cpl: fc.constantFrom(0, 3) })],
    [1, fc.constant({ do: 'snapshot' as const })],
    [
      1,
      fc.record({
        do: fc.constant('reset' as const),
        kind: fc.constantFrom('power-up' as const, 'init' as const),
      }),
    ],
  ];
  if (lbr === 'architectural') {
    const controls = [0n, 0x1_0003n, 0x1_0005n, 0x7f_0007n, 0x7f_0006n];
    weighted.push([3, wrmsr(0x14ce, fc.constantFrom(...controls))]);
    weighted.push([2, wrmsr(0x14cf, fc.constantFrom(8n, 16n, 32n, 7n, 40n))]);
  } else if (lbr === 'legacy') {
    weighted.push([2, wrmsr(0x1c8, fc.constantFrom(0n, 1n, 2n, 4n))]);
    weighted.push([3, wrmsr(0x1d9, fc.constantFrom(1n, 0x801n, 0x1801n))]);
  }
  if (sampling !== 0n) {
    weighted.push([5, wrmsr(0x3f1, within(sampling | idle))]);
    weighted.push([2, fc.constant({ do: 'drain' as const })]);
  }
  if (metrics) weighted.push([2, wrmsr(0x329, fc.constantFrom(0n, 255n, 0x7f00_0080n))]);
  if (version >= 6) {
    const any = fc.constantFrom(...reloadable);
    weighted.push([
      3,
      wrmsr(
        any.map((c) => counterOf(c, 0x1902, 0x1982, 4)),
        within(causes),
      ),
    ]);
    weighted.push([
      2,
      wrmsr(
        any.map((c) => counterOf(c, 0x1903, 0x1983, 4)),
        value,
      ),
    ]);
    weighted.push([
      2,
      wrmsr(
        any.map((c) => counterOf(c, 0x14c1, 0x1309, 1)),
        short.map((n) => -n & 0xffff_ffffn),
      ),
    ]);
    weighted.push([2, wrmsr(at(0x1900, 4), close(shape.gpWidth))]);
    weighted.push([2, wrmsr(at(0x1901, 4), selectors)]);
  }
  return fc.array(fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary }))), {
    maxLength: 60,
    size: 'max',
  });
}

// biome-ignore format: a table
const EXISTING_OR_NOT = [
  0x186, 0x187, 0xc1, 0x309, 0x30c, 0x38d, 0x38e, 0x38f, 0x390, 0x391, 0x392, 0x345, 0x3f1, 0x329, 0x14ce, 0x14cf, 0x1c8,
  0x4c1, 0x1900, 0x1901, 0x190e, 0x1980, 0x1987, 0x14c1, 0x14c4, 0x1309, 0x1f00,
];
