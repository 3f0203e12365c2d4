import { describe } from 'vitest';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { INTERPRETER } from '../../../src/cpu/state/layout.ts';
import { TestMachine } from './machine.ts';

// What the CPU and an engine do between them, again with the generated interpreter in the oracle's place.
TestMachine.engine = { make: (core) => new Interpreter(core), reserved: INTERPRETER.SIZE };

describe('on the interpreter', async () => {
  await import('../cpu.test.ts');
  await import('./delivery.test.ts');
  await import('./breakpoints.test.ts');
  await import('./far-transfers.test.ts');
  await import('./legacy.test.ts');
  await import('./port-io.test.ts');
  await import('./invalidation.test.ts');
  await import('./edges.test.ts');
});
