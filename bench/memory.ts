import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import { GUESTS } from './guests.ts';
import { LongModeMachine } from './long-mode-machine.ts';

/** Runs guests one after the other on one machine, so many thousand million instructions (1), and prints what memory the process holds. */
const TOTAL = Number(process.argv[2] ?? 1) * 1e9;
const machine = new LongModeMachine((core) => new Interpreter(core));
const guests = GUESTS.filter(({ computing }) => computing);
const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

while (Number(machine.state.total('instructions')) < TOTAL) {
  for (const { name } of guests) {
    machine.load(name);
    machine.run();
  }
  const { rss, heapUsed } = process.memoryUsage();
  const done = (Number(machine.state.total('instructions')) / 1e6).toFixed(0);
  console.log(
    `${done.padStart(5)} M instructions: ${mebibytes(rss)} MiB, ${mebibytes(heapUsed)} of it heap`,
  );
}
