import type { FuzzCase } from '../src/fuzz/case.ts';
import { Chamber } from '../src/fuzz/chamber.ts';
import { Examiner } from '../src/fuzz/examine.ts';
import { generate } from '../src/fuzz/generate.ts';

const RUNS = 5;
const WARM_UP = 0.3;

/** Times per second of processor time that something is done: the median of some runs. */
function rate(times: number, body: () => void): number {
  for (let i = 0; i < times * WARM_UP; i++) body();
  const rates = Array.from({ length: RUNS }, () => {
    const start = process.cpuUsage().user;
    for (let i = 0; i < times; i++) body();
    return (times / (process.cpuUsage().user - start)) * 1e6;
  });
  return rates.sort((a, b) => a - b)[RUNS >> 1]!;
}

const show = (title: string, value: number, unit: string) =>
  console.log(`${title.padEnd(58)} ${value.toFixed(0).padStart(9)} ${unit}`);

const base = (design: string, exposure: FuzzCase['exposure'], register: number): FuzzCase => ({
  ...generate({ seed: 'bench', designs: [design], profiles: ['sapphire-rapids'] }, 0),
  ...{ exposure, cpl: 0, pce: false, registers: [], bitmap: [] },
  host: { secret: 1, events: [] },
  steps: Array.from({ length: 100 }, () => ({ do: 'rdmsr', register })),
});

for (const design of ['mediated', 'emulated', 'rfc-v1']) {
  const fuzzed = base(design, 'all', 0xc1);
  const chamber = new Chamber(fuzzed);
  show(
    `${design}: snapshot resets`,
    rate(3000, () => chamber.reset(fuzzed)),
    'per second',
  );
}
/** L1 that asks for nothing, or for everything and does it itself. */
const nested = (exits: 'none' | 'all') =>
  ({ bitmap: { exits, except: [] }, rdpmcExiting: false, onExit: 'carry-out' }) as const;
for (const design of ['mediated', 'emulated']) {
  const fuzzed: FuzzCase = { ...base(design, 'all', 0xc1), nested: nested('all') };
  const chamber = new Chamber(fuzzed);
  show(
    `${design}: snapshot resets, a guest hypervisor`,
    rate(2000, () => chamber.reset(fuzzed)),
    'per second',
  );
  show(
    `${design}: MSR accesses of L2 that exit to L1, 100 to a reset`,
    100 * rate(8, () => void chamber.run(fuzzed)),
    'per second',
  );
  const open: FuzzCase = { ...base(design, 'all', 0x186), nested: nested('none') };
  show(
    `${design}: MSR accesses of L2 that exit to KVM, 100 to a reset`,
    100 * rate(30, () => void chamber.run(open)),
    'per second',
  );
}
for (const [design, register, way] of [
  ['mediated', 0xc1, 'that pass'],
  ['mediated', 0x186, 'that exit'],
  ['emulated', 0x186, 'that exit'],
] as const) {
  const fuzzed = base(design, 'all', register);
  const chamber = new Chamber(fuzzed);
  show(
    `${design}: MSR accesses ${way}, 100 to a reset`,
    100 * rate(60, () => void chamber.run(fuzzed)),
    'per second',
  );
}
for (const design of ['mediated', 'emulated']) {
  const space = { seed: 'bench', designs: [design], profiles: ['sapphire-rapids'] };
  const examiner = new Examiner();
  let index = 0;
  let accesses = 0;
  const cases = rate(200, () => {
    const fuzzed = generate(space, index++ % 400);
    accesses += fuzzed.steps.length;
    examiner.examine(fuzzed);
  });
  show(`${design}: random cases under all oracles`, cases, 'per second');
  show(`${design}: steps of them`, (cases * accesses) / index, 'per second');
  let at = 0;
  const next = (): FuzzCase => {
    const fuzzed = generate(space, at++ % 400);
    return fuzzed.nested ? fuzzed : next();
  };
  const guests = rate(60, () => void examiner.examine(next()));
  show(`${design}: those of them with a guest’s guest`, guests, 'per second');
}
