import seedrandom from 'seedrandom';
import { expect, it } from 'vitest';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { INTERPRETER, STATE } from '../../../src/cpu/state/layout.ts';
import { AT, code, TestMachine } from '../system/machine.ts';

/** `PATCHES=100000` runs more of them. */
const RUNS = Number(process.env['PATCHES'] ?? 10_000);
const SEED = process.env['SEED'] ?? 'patching';

/** Functions of 16 bytes on four pages, each `mov eax, imm32; ret`; the same pages once more at `ALIAS`. */
const FUNCTIONS = 0x5_0000;
const ALIAS = 0x9_0000;
const PAGES = 4;
const SIZE = 16;
const FUNCTION = 'b8 00000000 c3';

/**
 * Ways to write ECX over the immediate at RDI, or more around it; then the function at RSI is called. XMM0 and the
 * bytes at `AT.DATA` hold the whole function with ECX in it.
 */
const WAYS = {
  'MOV of four bytes': '890f',
  'MOV of one byte': '880f',
  'MOV of eight bytes, opcode and RET included': '488b042500000400 488947ff',
  XCHG: '870f',
  'LOCK XADD': 'f00fc10f',
  'LOCK CMPXCHG': '8b07 f00fb10f',
  'ADD to memory': '010f',
  STOSD: '89c8 ab',
  'REP MOVSB': '56 48ffcf be00000400 b906000000 f3a4 5e',
  'MOVUPS, the whole function': '0f1147ff',
  PUSH: '4889e2 488d6707 48ff342500000400 4889d4',
  MOVNTI: '0fc30f',
  'LOCK CMPXCHG8B': '488d6fff 8b4500 8b5504 8b1c2500000400 8b0c2504000400 f00fc74d00',
} as const;

const interpreter = () =>
  new TestMachine({
    engine: (core) => new Interpreter(core, undefined, 20),
    reserved: INTERPRETER.SIZE,
  });
const oracle = () => new TestMachine();

it.each([
  ['the interpreter', interpreter, RUNS],
  ['the oracle', oracle, RUNS / 10],
])('%s executes what was just written over code, however it was written', (_name, make, runs) => {
  const machine = make().long();
  const { memory, state } = machine;
  const random = seedrandom(SEED);
  const below = (n: number) => Math.floor(random() * n);
  const ways = Object.entries(WAYS);
  for (let page = 0; page < PAGES; page++) {
    memory.write(AT.PT + ((ALIAS >> 12) + page) * 8, 8, BigInt(FUNCTIONS + page * 0x1000) | 7n);
  }
  for (let at = 0; at < PAGES * 0x1000; at += SIZE) machine.load(FUNCTIONS + at, FUNCTION);
  for (const [i, [, listing]] of ways.entries())
    machine.load(AT.CODE + i * 64, `${listing} ffd6 f4`);

  const stale: string[] = [];
  for (let run = 0; run < runs; run++) {
    // Few functions, so that most have run before; now and then others.
    const at = SIZE * (below(4) > 0 ? below(6) * 37 : below((PAGES * 0x1000) / SIZE));
    const value = below(2 ** 32);
    const [written, called] = [below(2), below(2)].map((alias) => (alias ? ALIAS : FUNCTIONS));
    const way = below(ways.length + 1);
    const whole = code(FUNCTION);
    new DataView(whole.buffer).setUint32(1, value, true);
    memory.load(AT.DATA, whole);
    state.set(STATE.XMM, memory.read(AT.DATA, 8));
    state.gpr[1] = BigInt(value);
    state.gpr[4] = BigInt(AT.STACK);
    state.gpr[6] = BigInt(called! + at);
    state.gpr[7] = BigInt(written! + at + 1);
    state.rip = BigInt(AT.CODE + way * 64);
    if (way === ways.length) {
      memory.load(FUNCTIONS + at, whole); // a device
      state.rip = BigInt(AT.CODE + 2); // only the call
    }
    state.set32(STATE.ACTIVITY, 0);
    machine.run();
    const there = memory.read(FUNCTIONS + at + 1, 4);
    if (state.gpr[0] !== there || state.gpr[4] !== BigInt(AT.STACK))
      stale.push(
        `${SEED} ${run}: ${ways[way]?.[0] ?? 'a device'} at ${at.toString(16)}: ${state.gpr[0]!.toString(16)}, in memory ${there.toString(16)}`,
      );
  }
  expect(stale).toEqual([]);
});
