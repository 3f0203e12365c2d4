import { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import { IMPORT_MODULE, ModuleBuilder } from '../engines/wasm/assembler/module-builder.ts';
import type { ModelArea } from './area.ts';
import { charge, countOne } from './charge.ts';
import { FACT, PREDICTED } from './facts.ts';
import type { Lookup, MemorySide, MemorySideCalls } from './memory-side.ts';
import { MODEL_NAMES, ModelCode, type ModelFunction, type ModelIndices } from './model-code.ts';
import type { MicroArchitectureParameters } from './parameters.ts';
import type { Predictor } from './predictor.ts';

/** The model's generated code, as plain TypeScript calls it. */
export interface ModelExports extends Readonly<Record<ModelFunction, unknown>> {
  /** A data access. @returns its cycles */
  accessed(linear: bigint, bytes: number, store: number): number;
  /**
   * An instruction of these facts, or an iteration of it, retires.
   * @param next linear address of what is executed next; @param memory cycles of its data accesses
   */
  retired(facts: number, linear: bigint, length: number, next: bigint, memory: number): void;
  /** Brings a physical line into all levels of cache without cost. */
  prefetch(line: number): void;
  charge(fetch: number, wrong: number, memory: number, execution: number, retires: number): void;
}

/** Generates the functions that all code of a CPU shares, however it is executed. */
export function buildModel(parts: {
  area: ModelArea;
  base: number;
  parameters: MicroArchitectureParameters;
  memory: MemorySide;
  predictor: Predictor;
  page: (low: number, high: number) => number;
}): ModelExports {
  const { area, base, parameters, memory, predictor } = parts;
  const module = new ModuleBuilder();
  module.importMemory('memory', area.memory.buffer.byteLength / 65536);
  const page = module.importFunction('page', ['i32', 'i32'], ['i32']);
  const lookups = Object.entries(memory.tables).map(([name, table]) => [
    name,
    module.add(table.lookup()),
  ]);
  const calls: MemorySideCalls = {
    page,
    ...(Object.fromEntries(lookups) as Record<Lookup, number>),
  };
  const beyond = module.add(memory.beyond(calls));
  const piece = module.add(memory.piece(beyond, calls));
  const shared: Readonly<Record<ModelFunction, FunctionWriter>> = {
    access: memory.access(piece, beyond, calls),
    fetch: memory.fetch(beyond, calls),
    target: predictor.target(),
    call: predictor.call(),
    return: predictor.return(),
    charge: charge(base, parameters.penalties.mispredict),
  };
  const functions = Object.fromEntries(
    MODEL_NAMES.map((name) => [name, module.add(shared[name], name)]),
  ) as ModelIndices;
  const codeFor = (f: FunctionWriter) => new ModelCode(f, { memory, predictor }, functions);
  module.add(accessed(codeFor), 'accessed');
  module.add(memory.prefetch(calls), 'prefetch');
  module.add(retired(codeFor, functions, base), 'retired');
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    [IMPORT_MODULE]: { memory: area.memory, page: parts.page },
  });
  return exports as unknown as ModelExports;
}

type CodeFor = (f: FunctionWriter) => ModelCode;

function accessed(codeFor: CodeFor): FunctionWriter {
  const f = new FunctionWriter(['i64', 'i32', 'i32'], ['i32']);
  const cycles = f.local('i32');
  codeFor(f).access(
    () => f.get(0),
    () => f.get(1),
    () => f.get(2),
    cycles,
  );
  return f.get(cycles);
}

/** What handlers have written into them by what the instruction is, for any instruction. */
function retired(codeFor: CodeFor, functions: ModelIndices, base: number): FunctionWriter {
  const f = new FunctionWriter(['i32', 'i64', 'i32', 'i64', 'i32'], []);
  const code = codeFor(f);
  const [facts, linear, length, next, memory] = [0, 1, 2, 3, 4];
  const [fetch, wrong] = [f.local('i32'), f.local('i32')];
  for (const total of ['cycles', 'slots', 'slotsRetiring'] as const) countOne(f, base, total);
  f.get(linear).get(length).call(functions.fetch).set(fetch);
  for (const branch of Object.values(PREDICTED)) {
    f.get(facts)
      .i32(FACT.BRANCH)
      .op('i32.and')
      .i32(branch << FACT.BRANCH_SHIFT)
      .op('i32.eq');
    f.if(undefined, () => {
      const found = code.predict({
        branch,
        address: () => f.get(linear),
        length: () => f.get(length),
        taken: () => f.i32(branch === PREDICTED.TAKEN ? 1 : 0),
        target: () => f.get(next),
        execution: 0,
      });
      if (found !== undefined) f.get(found).set(wrong);
    });
  }
  f.get(fetch).get(wrong).get(memory).get(facts).i32(FACT.EXTRA_CYCLES).op('i32.and');
  return f.i32(1).call(functions.charge);
}
