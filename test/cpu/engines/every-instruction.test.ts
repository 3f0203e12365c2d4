import { describe, expect, it } from 'vitest';
import type { EngineFactory } from '../../../src/cpu/engines/engine.ts';
import { Oracle } from '../../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { INTERPRETER } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from '../system/machine.ts';

/** Times round before a block has a handler of its own. */
const HOT = 4;

/** A block of everything that a handler of a whole block has in it; RSI is data, RCX and RDX count. */
const PROGRAM = `
  be 00000400       ; mov esi,DATA
  b9 10000000       ; mov ecx,16
  48ffc0            ; again: inc rax
  488b1e            ; mov rbx,[rsi]
  4801c3            ; add rbx,rax
  48891e            ; mov [rsi],rbx
  48ff4608          ; inc qword [rsi+8]
  50                ; push rax
  58                ; pop rax
  0f31              ; rdtsc
  4883c301          ; add rbx,1
  f390              ; pause
  31c0              ; xor eax,eax
  7402 9090         ; jz over two NOPs
  e80b000000        ; call routine
  ba03000000        ; mov edx,3
  ffca              ; dec edx
  75fc              ; jnz, a loop of its own
  eb02              ; jmp over the routine
  90                ; routine: nop
  c3                ; ret
  ffc9              ; dec ecx
  75ca              ; jnz again
  faf4              ; cli; hlt
`;

function machine(engine: EngineFactory): TestMachine {
  const it = new TestMachine({ engine, reserved: INTERPRETER.SIZE }).long();
  return it.haltingHandlers(2, 6, 13, 14).load(AT.CODE, PROGRAM);
}

/** RIP after each tick, one tick at a time. */
function trace(): bigint[] {
  const it = machine((core) => new Oracle(core));
  const rips = [it.state.rip];
  while (it.run(1).reason === 'budget') rips.push(it.state.rip);
  return rips;
}

describe('an overflow at every instruction of a program, whose blocks have handlers of their own', () => {
  const rips = trace();

  it('has a program to run', () => {
    expect(rips.length).toBeGreaterThan(300);
    expect(rips.at(-1)).toBe(BigInt(AT.CODE + 0x42));
  });

  it('interrupts before the very next instruction, with everything counted up to it', () => {
    const it = machine((core) => new Interpreter(core, undefined, HOT));
    const start = it.cpu.save();
    it.run(10_000);
    for (let at = 1; at < rips.length - 1; at++) {
      it.cpu.restore(start);
      it.delivered.length = 0;
      const ticks = () => Number(it.state.total('ticks'));
      it.horizon = () => (ticks() < at ? at - ticks() : Infinity);
      it.boundary = () => {
        if (ticks() === at && it.delivered.length === 0) it.nmi = true;
      };
      it.run(10_000);
      expect([at, it.handled, it.stack(1)]).toEqual([at, 2, [rips[at]]]);
      // The HLT of the handler retires, too.
      expect([at, it.state.total('instructions')]).toEqual([at, BigInt(at + 1)]);
    }
  });
});
