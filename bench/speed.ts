import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import type { BenchGuest } from './guests.ts';
import { LongModeMachine } from './long-mode-machine.ts';

/** Runs of each guest; the median counts. */
const RUNS = 3;

export interface Speed {
  /** Millions of ticks per second, exact counts on. */
  readonly rate: number;
  /** The same per second of CPU time, V8's compiling threads included: what a busy machine does not change. */
  readonly cpuRate: number;
  /** Ticks of one run; a tick is an instruction or a further REP iteration. */
  readonly ticks: number;
}

/** The speed of a guest. @throws Error if it did not count what it must. */
export function measure(guest: BenchGuest): Speed {
  const rates: number[] = [];
  const cpuRates: number[] = [];
  let ticks = 0;
  for (let run = 0; run < RUNS; run++) {
    const machine = new LongModeMachine((core) => new Interpreter(core));
    machine.load(guest.name);
    const start = performance.now();
    const cpu = process.cpuUsage();
    const instructions = machine.run();
    const milliseconds = performance.now() - start;
    const { user, system } = process.cpuUsage(cpu);
    if (instructions !== guest.instructions) {
      throw new Error(`${guest.name}: ${instructions} instructions, not ${guest.instructions}`);
    }
    ticks = Number(machine.state.total('ticks'));
    rates.push(ticks / milliseconds / 1000);
    cpuRates.push(ticks / (user + system));
  }
  return { rate: median(rates), cpuRate: median(cpuRates), ticks };
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1]!;

export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** Milliseconds from nothing to the first instruction done, by the clock and of CPU time. */
export function startUp(): { readonly clock: number; readonly cpu: number } {
  const start = performance.now();
  const before = process.cpuUsage();
  const machine = new LongModeMachine((core) => new Interpreter(core));
  machine.load('alu');
  machine.cpu.run(1);
  const { user, system } = process.cpuUsage(before);
  return { clock: performance.now() - start, cpu: (user + system) / 1000 };
}
