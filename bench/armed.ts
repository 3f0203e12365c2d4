import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import { MicroArchitecture } from '../src/cpu/models/micro-architecture.ts';
import { GOLDEN_COVE } from '../src/cpu/models/parameters.ts';
import { surroundings } from '../src/cpu/models/surroundings.ts';
import type { Total } from '../src/cpu/state/layout.ts';
import { GUESTS } from './guests.ts';
import { LongModeMachine } from './long-mode-machine.ts';
import { geometricMean } from './speed.ts';

/** Rounds; in each, every guest runs once in every setting, so that all settings see the same machine. */
const ROUNDS = 3;

/** What is armed: totals that the instruction alone decides, or the micro-architecture model with all it counts. */
interface Setting {
  readonly title: string;
  readonly totals: readonly Total[];
  readonly model: boolean;
}

const SETTINGS: readonly Setting[] = [
  { title: 'nothing', totals: [], model: false },
  { title: 'branches', totals: ['instructions', 'branches', 'nearTaken'], model: false },
  { title: 'loads+stores', totals: ['loads', 'stores'], model: false },
  { title: 'model', totals: ['cycles'], model: true },
];

/** CPU microseconds of one run of a guest. @throws Error if it did not count what it must. */
function time(guest: (typeof GUESTS)[number], { totals, model }: Setting): number {
  const machine = new LongModeMachine((core) => new Interpreter(core));
  const { core } = machine.cpu;
  machine.cpu.arm(
    totals,
    model ? new MicroArchitecture(GOLDEN_COVE, surroundings(core)) : undefined,
  );
  machine.load(guest.name);
  const cpu = process.cpuUsage();
  const instructions = machine.run();
  const { user, system } = process.cpuUsage(cpu);
  if (instructions !== guest.instructions) throw new Error(`${guest.name}: ${instructions}`);
  return user + system;
}

const computing = GUESTS.filter(({ computing }) => computing);
const wanted = process.argv.slice(2);
const guests = computing.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[values.length >> 1]!;
const cells = (label: string, values: readonly string[]) =>
  console.log(label.padEnd(16) + values.map((value) => value.padStart(14)).join(''));

console.log('CPU time relative to nothing armed');
cells(
  '',
  SETTINGS.map(({ title }) => title),
);
const ratios: number[][] = SETTINGS.map(() => []);
for (const guest of guests) {
  const times: number[][] = SETTINGS.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, setting] of SETTINGS.entries()) times[i]!.push(time(guest, setting));
  }
  const base = median(times[0]!);
  const row = times.map((each) => median(each) / base);
  for (const [i, ratio] of row.entries()) ratios[i]!.push(ratio);
  cells(
    guest.title,
    row.map((ratio) => ratio.toFixed(2)),
  );
}
cells(
  'geometric mean',
  ratios.map((each) => geometricMean(each).toFixed(2)),
);
