import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import { GUESTS } from './guests.ts';
import { LongModeMachine } from './long-mode-machine.ts';

/** Runs guests one after the other on one machine and prints what memory the process holds. */
const TOTAL = 1_000_000_000;
const machine = new LongModeMachine((core) => new Interpreter(core));
const guests = GUESTS.filter(({ computing }) => computing);
const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

for (let i = 0; Number(machine.state.total('instructions')) < TOTAL; i++) {
  machine.load(guests[i % guests.length]!.name);
  machine.run();
  const { rss, heapUsed } = process.memoryUsage();
  const done = (Number(machine.state.total('instructions')) / 1e6).toFixed(0);
  console.log(
    `${done.padStart(5)} M instructions: ${mebibytes(rss)} MiB, ${mebibytes(heapUsed)} of it heap`,
  );
}
