import { formKey } from '../../form.ts';
import type { Insn } from '../../insn.ts';
import {
  MODEL_FUNCTIONS,
  MODEL_NAMES,
  type ModelFunction,
  type ModelIndices,
} from '../../models/model-code.ts';
import type { GeneratedObserver } from '../../observer.ts';
import { emitInstruction } from '../../semantics/semantics.ts';
import { compile } from './assembler/compile.ts';
import { FunctionWriter } from './assembler/function-writer.ts';
import { IMPORT_MODULE, ModuleBuilder } from './assembler/module-builder.ts';
import type { PlacedInsn } from './control-emit.ts';
import type { HandlerMode } from './mode.ts';
import { RECORD, STUB } from './record.ts';
import type { Runtime } from './runtime.ts';
import { HANDLER_PARAMETERS, HANDLER_RESULTS, importRuntime } from './runtime-functions.ts';
import { WasmEmit } from './wasm-emit.ts';

/** What handlers are instantiated with. */
export interface HandlerHost {
  readonly memory: WebAssembly.Memory;
  readonly table: WebAssembly.Table;
  readonly runtime: Runtime;
  /** Offset of the state block. */
  readonly base: number;
}

interface Wanted {
  /** What the handler is made of, but for its mode. */
  readonly key: string;
  readonly insns: readonly PlacedInsn[];
  readonly mode: HandlerMode;
}

const LINE = 64;

/** Where instructions lie in lines of code, the first of them at `linear`. It is part of what a handler is only where a model wants to know. */
function placed(insns: readonly Insn[], mode: HandlerMode, linear: bigint): PlacedInsn[] {
  let at = Number(linear % BigInt(LINE));
  return insns.map((insn, i) => {
    const sameLine = i > 0 && at % LINE !== 0;
    const crosses = (at % LINE) + insn.length > LINE;
    at += insn.length;
    if (!mode.observed) return { insn, placement: 'any line' };
    return { insn, placement: crosses ? 'two lines' : sameLine ? 'same line' : 'any line' };
  });
}

/**
 * The handlers: one per instruction form and mode, made when a form is first decoded, and one per hot sequence of forms.
 * A module costs about 0.4 ms whatever is in it (measured), so all that is wanted at one time goes into one.
 */
export class HandlerSet {
  readonly #host: HandlerHost;
  readonly #indices = new Map<HandlerMode, Map<string, number>>();
  #wanted: Wanted[] = [];
  #next = STUB.COUNT as number;

  constructor(host: HandlerHost) {
    this.#host = host;
  }

  /** Handlers asked for so far. */
  get size(): number {
    return this.#next - STUB.COUNT;
  }

  /** Table index of the handler of an instruction at a linear address; it can run after `make`. Modes are told apart by identity. */
  single(insn: Insn, mode: HandlerMode, linear: bigint): number {
    return this.block([insn], mode, linear);
  }

  /** The same for a block of instructions whose records stand one behind the other. */
  block(insns: readonly Insn[], mode: HandlerMode, linear: bigint): number {
    let indices = this.#indices.get(mode);
    if (!indices) {
      indices = new Map();
      this.#indices.set(mode, indices);
    }
    const all = placed(insns, mode, linear);
    const key = all.map(({ insn, placement }) => `${formKey(insn)} ${placement}`).join('; ');
    let index = indices.get(key);
    if (index === undefined) {
      index = this.#next++;
      indices.set(key, index);
      this.#wanted.push({ key, insns: all, mode });
    }
    return index;
  }

  /** Makes the handlers that were asked for since the last time. */
  make(): void {
    if (this.#wanted.length === 0) return;
    const { memory, table, runtime } = this.#host;
    if (table.length < this.#next) table.grow(this.#next - table.length + 256);
    const observed = this.#wanted.find(({ mode }) => mode.observed)?.mode.observed;
    // What reports to a model has addresses of that model's tables in it.
    const module = observed
      ? new WebAssembly.Module(this.#code(observed))
      : compile(this.#name(), () => this.#code(undefined));
    new WebAssembly.Instance(module, {
      [IMPORT_MODULE]: { memory, table, ...runtime.functions, ...modelFunctions(observed) },
    });
    this.#wanted = [];
  }

  /** All that the code of what is wanted depends on. */
  #name(): string {
    const { memory, base } = this.#host;
    const handlers = this.#wanted.map(({ key, mode }) => {
      const { codeSize, stackSize, virtual8086, flat, linearWidth, armed } = mode;
      return [codeSize, stackSize, virtual8086, flat, linearWidth, armed, key].join(' ');
    });
    return ['handlers', memory.buffer.byteLength, base, this.#next, ...handlers].join('\n');
  }

  /** A CPU has one model at most. */
  #code(observed: GeneratedObserver | undefined): Uint8Array {
    const { memory, base } = this.#host;
    const module = new ModuleBuilder();
    module.importMemory('memory', memory.buffer.byteLength / 65536);
    module.importTable('table');
    const functions = importRuntime(module);
    const models = observed && importModel(module);
    const type = module.type(HANDLER_PARAMETERS, HANDLER_RESULTS);
    const made = this.#wanted.map(({ insns, mode }) => {
      const f = new FunctionWriter(HANDLER_PARAMETERS, HANDLER_RESULTS);
      const model = mode.observed?.code(f, models!);
      const emit = new WasmEmit(f, functions, base, mode, type, model);
      if (insns.length === 1) {
        emit.checkHorizon();
        writeAll(emit, insns);
      } else emit.block(insns.length, () => writeAll(emit, insns));
      f.op('unreachable');
      return module.add(f);
    });
    module.fillTable(this.#next - made.length, made);
    return module.build();
  }
}

/** What observed handlers call. */
const modelFunctions = (observed: GeneratedObserver | undefined) =>
  observed
    ? Object.fromEntries(MODEL_NAMES.map((name) => [importName(name), observed.functions[name]]))
    : {};

const importName = (name: ModelFunction): string => `model.${name}`;

function importModel(module: ModuleBuilder): ModelIndices {
  return Object.fromEntries(
    MODEL_NAMES.map((name) => {
      const [parameters, results] = MODEL_FUNCTIONS[name];
      return [name, module.importFunction(importName(name), parameters, results)];
    }),
  ) as ModelIndices;
}

/** Writes instructions whose records stand one behind the other. */
function writeAll(emit: WasmEmit, insns: readonly PlacedInsn[]): void {
  for (const [i, placed] of insns.entries()) {
    emit.instruction(placed, i * RECORD.SIZE, i, () => emitInstruction(emit, placed.insn));
    if (emit.over) return;
    if (i < insns.length - 1) emit.splitAfterSlowPath();
  }
  emit.goNext();
}
