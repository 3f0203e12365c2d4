import type { FunctionWriter } from '../../../src/cpu/engines/wasm/assembler/function-writer.ts';
import {
  IMPORT_MODULE,
  ModuleBuilder,
} from '../../../src/cpu/engines/wasm/assembler/module-builder.ts';
import { ModelArea } from '../../../src/cpu/models/area.ts';
import { INTERPRETER } from '../../../src/cpu/state/layout.ts';

/** Linear memory with room for a model's tables, and a way to call functions generated on them. */
export function modelArea(): ModelArea {
  const pages = INTERPRETER.SIZE / 65536;
  return new ModelArea(new WebAssembly.Memory({ initial: pages, maximum: pages }), 0);
}

/** Instantiates functions by name. */
export function generate(
  area: ModelArea,
  functions: Readonly<Record<string, FunctionWriter>>,
): Readonly<Record<string, (...args: (number | bigint)[]) => number>> {
  const module = new ModuleBuilder();
  module.importMemory('memory', area.memory.buffer.byteLength / 65536);
  for (const [name, writer] of Object.entries(functions)) module.add(writer, name);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    [IMPORT_MODULE]: { memory: area.memory },
  });
  return exports as never;
}
