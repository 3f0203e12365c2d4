import { formKey } from '../../form.ts';
import type { Insn } from '../../insn.ts';
import { emitInstruction } from '../../semantics/semantics.ts';
import { FunctionWriter } from './assembler/function-writer.ts';
import { IMPORT_MODULE, ModuleBuilder } from './assembler/module-builder.ts';
import type { HandlerMode } from './mode.ts';
import { STUB } from './record.ts';
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
  readonly insn: Insn;
  readonly mode: HandlerMode;
  readonly index: number;
}

/**
 * The handlers: one per instruction form and mode, made when a form is first decoded. A module costs about 0.4 ms
 * whatever is in it (measured), so all the new forms of a block go into one.
 */
export class HandlerSet {
  readonly #host: HandlerHost;
  readonly #indices = new Map<HandlerMode, Map<string, number>>();
  #wanted: Wanted[] = [];
  #next = STUB.COUNT as number;

  constructor(host: HandlerHost) {
    this.#host = host;
  }

  /** Handlers made so far. */
  get size(): number {
    return this.#next - STUB.COUNT;
  }

  /** Table index of an instruction's handler; it can run after `make`. Modes are told apart by identity. */
  index(insn: Insn, mode: HandlerMode): number {
    let forms = this.#indices.get(mode);
    if (!forms) {
      forms = new Map();
      this.#indices.set(mode, forms);
    }
    const key = formKey(insn);
    let index = forms.get(key);
    if (index === undefined) {
      index = this.#next++;
      forms.set(key, index);
      this.#wanted.push({ insn, mode, index });
    }
    return index;
  }

  /** Makes the handlers that were asked for since the last time. */
  make(): void {
    if (this.#wanted.length === 0) return;
    const { memory, table, runtime, base } = this.#host;
    if (table.length < this.#next) table.grow(this.#next - table.length + 256);
    const module = new ModuleBuilder();
    module.importMemory('memory', memory.buffer.byteLength / 65536);
    module.importTable('table');
    const functions = importRuntime(module);
    const type = module.type(HANDLER_PARAMETERS, HANDLER_RESULTS);
    const made = this.#wanted.map(({ insn, mode }) => {
      const f = new FunctionWriter(HANDLER_PARAMETERS, HANDLER_RESULTS);
      const emit = new WasmEmit(f, functions, base, mode, type);
      emit.checkHorizon();
      emit.instruction(insn, 0, 0, () => emitInstruction(emit, insn));
      if (!emit.over) emit.goNext();
      f.op('unreachable');
      return module.add(f);
    });
    module.fillTable(this.#wanted[0]!.index, made);
    new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
      [IMPORT_MODULE]: { memory, table, ...runtime.functions },
    });
    this.#wanted = [];
  }
}
