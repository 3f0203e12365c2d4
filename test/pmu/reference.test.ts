import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ARCHITECTURAL_PROFILES,
  type PmuProfile,
  SAPPHIRE_RAPIDS,
  SKYLAKE_SERVER,
} from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';
import { type ModelShape, type Occurrence, ReferencePmu } from './reference-model.ts';

/** Kinds of instructions, by what they make happen. */
// biome-ignore format: a table
const INSTRUCTIONS: readonly Occurrence[] = [
  { instructions: 1, branches: 0, loads: 0, cycles: 1 },
  { instructions: 1, branches: 0, loads: 0, cycles: 3 },
  { instructions: 1, branches: 1, loads: 0, cycles: 1 },
  { instructions: 1, branches: 0, loads: 1, cycles: 4 },
  { instructions: 1, branches: 1, loads: 1, cycles: 20 },
  { instructions: 0, branches: 0, loads: 0, cycles: 2 }, // a further iteration of a REP
];

type Command =
  | { readonly do: 'wrmsr'; readonly address: number; readonly value: bigint }
  | { readonly do: 'arm'; readonly index: number; readonly select: bigint; readonly short: bigint }
  | { readonly do: 'run'; readonly kinds: readonly number[]; readonly times: number }
  | { readonly do: 'mode'; readonly cpl: number; readonly halted: boolean }
  | { readonly do: 'reset'; readonly kind: 'power-up' | 'init' }
  | { readonly do: 'snapshot' };

/** Numbers at which something is likely to happen: counters near their ends, single bits, small numbers. */
const value = fc.oneof(
  fc.bigInt({ min: 0n, max: 40n }).map((n) => -n & 0xffff_ffff_ffffn),
  fc.bigInt({ min: 0n, max: 40n }).map((n) => -n & 0xff_ffff_ffffn),
  fc.bigInt({ min: 0n, max: 40n }),
  fc.bigInt({ min: 0n, max: 63n }).map((n) => 1n << n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);

/** Selectors that count something: an event, privilege levels, INT, EN, and now and then a filter. */
const selector = fc
  .tuple(
    fc.constantFrom(0x00c0n, 0x00c4n, 0x81d0n, 0x003cn, 0x1234n),
    fc.constantFrom(0n, 0x1_0000n, 0x2_0000n, 0x3_0000n),
    fc.boolean(),
    fc.boolean(),
    fc.constantFrom(
      0n,
      0n,
      0n,
      0x0100_0000n,
      0x0200_0000n,
      0x0180_0000n,
      0x0a80_0000n,
      0x0104_0000n,
      0x0004_0000n,
      0x0080_0000n,
    ),
  )
  .map(
    ([event, level, int, en, filter]) =>
      event | level | (int ? 0x10_0000n : 0n) | (en ? 0x40_0000n : 0n) | filter,
  );

const commands = (shape: ModelShape) => {
  const gp = fc.integer({ min: 0, max: shape.gp - 1 });
  const wrmsr = (address: fc.Arbitrary<number>, of: fc.Arbitrary<bigint>) =>
    fc.record({ do: fc.constant('wrmsr' as const), address, value: of });
  const counterBits = (((1n << BigInt(shape.fixed)) - 1n) << 32n) | ((1n << BigInt(shape.gp)) - 1n);
  return fc.array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: wrmsr(
          gp.map((i) => 0x186 + i),
          selector,
        ),
      },
      {
        weight: 6,
        arbitrary: wrmsr(
          gp.map((i) => 0x0c1 + i),
          value,
        ),
      },
      {
        weight: 4,
        arbitrary: wrmsr(
          gp.map((i) => 0x4c1 + i),
          value,
        ),
      },
      { weight: 4, arbitrary: wrmsr(fc.integer({ min: 0x309, max: 0x30c }), value) },
      { weight: 3, arbitrary: wrmsr(fc.constant(0x38d), fc.bigInt({ min: 0n, max: 0xffffn })) },
      {
        weight: 5,
        arbitrary: wrmsr(
          fc.constant(0x38f),
          fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((v) => v & counterBits),
        ),
      },
      {
        weight: 3,
        arbitrary: wrmsr(
          fc.constantFrom(0x390, 0x391),
          fc.constantFrom(counterBits, 1n, 1n << 59n, 1n << 62n, 3n),
        ),
      },
      { weight: 2, arbitrary: wrmsr(fc.constant(0x1d9), fc.constantFrom(0n, 0x1000n, 0x1800n)) },
      {
        weight: 2,
        arbitrary: wrmsr(
          fc.constantFrom(0x186, 0xc1, 0x309, 0x38d, 0x38e, 0x38f, 0x390, 0x391, 0x392, 0x345),
          value,
        ),
      },
      {
        weight: 14,
        arbitrary: fc.record({
          do: fc.constant('run' as const),
          kinds: fc.array(fc.integer({ min: 0, max: INSTRUCTIONS.length - 1 }), {
            minLength: 1,
            maxLength: 6,
          }),
          times: fc.integer({ min: 1, max: 12 }),
        }),
      },
      {
        weight: 12,
        arbitrary: fc.record({
          do: fc.constant('arm' as const),
          index: gp,
          select: selector.map((s) => s | 0x53_0000n),
          short: fc.bigInt({ min: 1n, max: 30n }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('mode' as const),
          cpl: fc.constantFrom(0, 3),
          halted: fc.constant(false),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant('reset' as const),
          kind: fc.constantFrom('power-up' as const, 'init' as const),
        }),
      },
      { weight: 1, arbitrary: fc.constant({ do: 'snapshot' as const }) },
    ),
    { maxLength: 60, size: 'max' },
  );
};

/** Runs the device as a core does: slices no longer than its horizon, a settling at each end. */
function run(bench: PmuBench, model: ReferencePmu, kinds: readonly Occurrence[]): void {
  let done = 0;
  while (done < kinds.length) {
    bench.pmu.settle();
    const slice = Math.min(bench.pmu.horizon(), kinds.length - done);
    expect(slice).toBeGreaterThan(0);
    for (let i = 0; i < slice; i++) {
      const { instructions, branches, loads, cycles } = kinds[done + i]!;
      const before = model.pmis;
      model.retire(kinds[done + i]!);
      const time = { ticks: 1, unhaltedTicks: 1, slots: cycles };
      bench.happen({ instructions, branches, loads, cycles, ...time });
      if (model.pmis > before) expect(i, 'an overflow inside a slice').toBe(slice - 1);
    }
    bench.pmu.settle();
    expect(bench.interrupts).toBe(model.pmis);
    done += slice;
  }
}

const addresses = (shape: ModelShape): number[] => [
  ...Array.from({ length: shape.gp }, (_, i) => [0xc1 + i, 0x186 + i, 0x4c1 + i]).flat(),
  ...[0x309, 0x30a, 0x30b, 0x30c, 0x38d, 0x38e, 0x38f, 0x390, 0x391, 0x392, 0x1d9],
];

function agree(bench: PmuBench, model: ReferencePmu): void {
  for (const address of addresses(model.shape)) {
    const read = bench.bus.rdmsr(address);
    expect(read === 'unclaimed' ? '#GP' : read, `RDMSR ${address.toString(16)}`).toBe(
      model.rdmsr(address),
    );
  }
  for (const ecx of [
    0,
    1,
    model.shape.gp - 1,
    model.shape.gp,
    0x4000_0000,
    0x4000_0002,
    0x4000_0003,
    0x8000_0000,
  ]) {
    expect(bench.pmu.rdpmc(ecx), `RDPMC ${ecx.toString(16)}`).toBe(model.rdpmc(ecx));
  }
  expect(bench.interrupts).toBe(model.pmis);
}

function obey(command: Command, bench: PmuBench, model: ReferencePmu): void {
  if (command.do === 'wrmsr') {
    const outcome = bench.bus.wrmsr(command.address, command.value);
    expect(outcome === 'unclaimed' ? '#GP' : outcome).toBe(
      model.wrmsr(command.address, command.value),
    );
  } else if (command.do === 'run') {
    const once = command.kinds.map((kind) => INSTRUCTIONS[kind]!);
    run(bench, model, Array.from({ length: command.times }, () => once).flat());
  } else if (command.do === 'arm') {
    const all =
      (((1n << BigInt(model.shape.fixed)) - 1n) << 32n) | ((1n << BigInt(model.shape.gp)) - 1n);
    for (const [address, value] of [
      [0x390, all | (1n << 59n)],
      [0x0c1 + command.index, -command.short & 0xffff_ffffn],
      [0x186 + command.index, command.select],
      [0x38f, all],
    ] as const) {
      obey({ do: 'wrmsr', address, value }, bench, model);
    }
  } else if (command.do === 'mode') {
    bench.enter(command.cpl, command.halted);
    model.cpl = command.cpl;
  } else if (command.do === 'reset') {
    bench.pmu.reset(command.kind);
    if (command.kind === 'init') model.init();
    else model.powerUp();
  } else {
    const saved = structuredClone(bench.pmu.save());
    bench.write(0x186, 0x0043_00c0n);
    bench.pmu.restore(saved);
  }
}

const shapeOf = ({ shape }: PmuProfile): ModelShape => ({
  version: shape.version,
  gp: shape.gp.toString(2).length,
  gpWidth: shape.gpWidth,
  fixed: shape.version >= 2 ? shape.fixed.toString(2).length : 0,
  fixedWidth: shape.fixedWidth,
  anyThread: shape.anyThread,
  fullWidth: shape.fullWidthWrites,
});

/** The reference model knows one meaning of its events, cycle events among them, at the architecture's encodings. */
const EVENTS = SAPPHIRE_RAPIDS.events;

describe.each([SAPPHIRE_RAPIDS, SKYLAKE_SERVER, ...ARCHITECTURAL_PROFILES.slice(0, 5)])(
  '$name',
  (profile) => {
    it('does what a model that counts one by one does, whatever software does to it', () => {
      const shape = shapeOf(profile);
      fc.assert(
        fc.property(commands(shape), (sequence) => {
          const bench = new PmuBench({ ...profile, events: EVENTS });
          const model = new ReferencePmu(shape);
          for (const command of sequence) {
            obey(command, bench, model);
            agree(bench, model);
          }
        }),
        { numRuns: 100 },
      );
    });
  },
);
