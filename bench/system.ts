import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import { LongModeMachine } from './long-mode-machine.ts';

const CODE = 0x1fe000;
/** Times that each is executed in a loop, and runs of which the best counts. */
const COUNT = 200_000;
const RUNS = 5;

/** Instructions by name, divided by commas, and in hexadecimal; and what must stand before the loop. */
// biome-ignore format: a table
const CASES: readonly (readonly [title: string, code: string, before?: string])[] = [
  ['NOP', '90'],
  ['PAUSE', 'f3 90'],
  ['RDTSC', '0f 31'],
  ['RDTSCP', '0f 01 f9'],
  ['CPUID', '0f a2'],
  ['RDMSR of IA32_EFER', '0f 32', 'b9 80 00 00 c0'],
  ['WRMSR to IA32_FS_BASE', '0f 30', 'b9 00 01 00 c0 31 c0 31 d2'],
  ['WRMSR to IA32_LSTAR', '0f 30', 'b9 82 00 00 c0 31 c0 31 d2'],
  ['CLI', 'fa'],
  ['CLI, STI, NOP', 'fa fb 90'],
  ['PUSHF, POPF', '9c 9d'],
  ['SWAPGS', '0f 01 f8'],
  ['STAC, CLAC', '0f 01 cb 0f 01 ca'],
  ['MOV from CR0', '0f 20 c0'],
  ['MOV to CR3', '0f 22 d8', '0f 20 d8'],
  ['INVLPG', '0f 01 38', 'b8 00 00 30 00'],
  ['IN', 'e4 80'],
  ['OUT', 'e6 80'],
  ['LFENCE', '0f ae e8'],
];

const bytes = (text: string) =>
  text
    .split(' ')
    .filter(Boolean)
    .map((byte) => Number.parseInt(byte, 16));

/** Nanoseconds of CPU time that each turn of a loop of `code` takes. */
function cost(title: string, code: string, before = ''): number {
  const machine = new LongModeMachine((core) => new Interpreter(core));
  machine.load('alu');
  const body = bytes(code);
  // mov r15d,-1; …; again: …; dec r15; jnz again
  const all = [
    0x41,
    0xbf,
    0xff,
    0xff,
    0xff,
    0xff,
    ...bytes(before),
    ...body,
    0x49,
    0xff,
    0xcf,
    0x75,
    256 - body.length - 5,
  ];
  machine.memory.load(CODE, Uint8Array.from(all));
  machine.state.rip = BigInt(CODE);
  const instructions = (title.split(',').length + 2) * COUNT;
  machine.cpu.run(instructions);
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS; run++) {
    const start = process.cpuUsage();
    machine.cpu.run(instructions);
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, ((user + system) * 1000) / COUNT);
  }
  return best;
}

const wanted = process.argv.slice(2);
for (const [title, code, before] of CASES) {
  if (wanted.length > 0 && !wanted.some((name) => title.startsWith(name))) continue;
  console.log(`${title.padEnd(24)} ${cost(title, code, before).toFixed(0).padStart(6)} ns`);
}
