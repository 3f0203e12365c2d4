import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import type { BenchGuest } from './guests.ts';
import { LongModeMachine } from './long-mode-machine.ts';

/** Runs of each guest; the median counts. */
const RUNS = 3;

/** Millions of ticks per second, exact counts on; a tick is an instruction or a further REP iteration. */
export function measure(guest: BenchGuest): number {
  const rates: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const machine = new LongModeMachine((core) => new Interpreter(core));
    machine.load(guest.name);
    const start = performance.now();
    const instructions = machine.run();
    const milliseconds = performance.now() - start;
    if (instructions !== guest.instructions) {
      throw new Error(`${guest.name}: ${instructions} instructions, not ${guest.instructions}`);
    }
    rates.push(Number(machine.state.total('ticks')) / milliseconds / 1000);
  }
  return rates.sort((a, b) => a - b)[RUNS >> 1]!;
}

export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** Milliseconds from nothing to the first instruction done. */
export function startUp(): number {
  const start = performance.now();
  const machine = new LongModeMachine((core) => new Interpreter(core));
  machine.load('alu');
  machine.cpu.run(1);
  return performance.now() - start;
}
