import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { slot } from '../../../../src/cpu/assist.ts';
import { ASSISTS } from '../../../../src/cpu/assists/assists.ts';
import { FunctionWriter } from '../../../../src/cpu/engines/wasm/assembler/function-writer.ts';
import {
  IMPORT_MODULE,
  ModuleBuilder,
} from '../../../../src/cpu/engines/wasm/assembler/module-builder.ts';
import { SIMD_FUNCTIONS, SIMD_MASKS } from '../../../../src/cpu/engines/wasm/simd-functions.ts';
import { State } from '../../../../src/cpu/state/state.ts';

const RESULT = 0x2000;
const linear = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const bytes = new Uint8Array(linear.buffer);
const state = new State(linear, 0);

/** All functions in one module; each works on the argument slots and leaves its result at RESULT. */
function build(): Record<string, () => void> {
  const module = new ModuleBuilder();
  module.importMemory('memory', 1);
  for (const [name, write] of [...Object.entries(SIMD_FUNCTIONS), ...Object.entries(SIMD_MASKS)]) {
    const f = new FunctionWriter([], []);
    const vector = (i: number) => () => f.i32(0).memory('v128.load', slot(i));
    f.i32(0);
    write({ f, a: vector(0), b: vector(1), imm: () => f.i32(0).memory('i32.load8_u', slot(2)) });
    f.memory(name in SIMD_MASKS ? 'i32.store' : 'v128.store', RESULT);
    module.add(f, name);
  }
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    [IMPORT_MODULE]: { memory: linear },
  });
  return instance.exports as Record<string, () => void>;
}

const EDGES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0f, 0x10, 0x1f];

describe('the host’s SIMD computes what the plain functions do', () => {
  const functions = build();
  it.each(Object.keys(functions))('%s', (name) => {
    const random = seedrandom(`simd ${name}`);
    const byte = () =>
      random() < 0.4 ? EDGES[Math.floor(random() * EDGES.length)]! : Math.floor(random() * 256);
    for (let round = 0; round < 300; round++) {
      bytes.fill(0, RESULT, RESULT + 16);
      for (let i = 0; i < 32; i++) bytes[slot(0) + i] = byte();
      // Every other time a small count stands where shifts look for it.
      if (round % 2 === 0) bytes.fill(0, slot(1) + 1, slot(1) + 8);
      bytes.fill(0, slot(2), slot(2) + 16);
      bytes[slot(2)] = byte();
      functions[name]!();
      ASSISTS[name]!(state);
      const expected = [...bytes.subarray(slot(0), slot(0) + 16)];
      expect([...bytes.subarray(RESULT, RESULT + 16)], `round ${round}`).toEqual(expected);
    }
  });
});
