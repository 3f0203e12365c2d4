import { formKey } from '../../form.ts';
import type { Insn } from '../../insn.ts';
import { emitInstruction } from '../../semantics/semantics.ts';
import { FunctionWriter } from './assembler/function-writer.ts';
import { IMPORT_MODULE, ModuleBuilder } from './assembler/module-builder.ts';
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
  readonly insns: readonly Insn[];
  readonly mode: HandlerMode;
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

  /** Table index of an instruction's handler; it can run after `make`. Modes are told apart by identity. */
  single(insn: Insn, mode: HandlerMode): number {
    return this.#index(formKey(insn), [insn], mode);
  }

  /** The same for a block of instructions whose records stand one behind the other. */
  block(insns: readonly Insn[], mode: HandlerMode): number {
    return this.#index(insns.map(formKey).join('; '), insns, mode);
  }

  #index(key: string, insns: readonly Insn[], mode: HandlerMode): number {
    let indices = this.#indices.get(mode);
    if (!indices) {
      indices = new Map();
      this.#indices.set(mode, indices);
    }
    let index = indices.get(key);
    if (index === undefined) {
      index = this.#next++;
      indices.set(key, index);
      this.#wanted.push({ insns, mode });
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
    const made = this.#wanted.map(({ insns, mode }) => {
      const f = new FunctionWriter(HANDLER_PARAMETERS, HANDLER_RESULTS);
      const emit = new WasmEmit(f, functions, base, mode, type);
      if (insns.length === 1) {
        emit.checkHorizon();
        writeAll(emit, insns);
      } else emit.block(insns.length, () => writeAll(emit, insns));
      f.op('unreachable');
      return module.add(f);
    });
    module.fillTable(this.#next - made.length, made);
    new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
      [IMPORT_MODULE]: { memory, table, ...runtime.functions },
    });
    this.#wanted = [];
  }
}

/** Writes instructions whose records stand one behind the other. */
function writeAll(emit: WasmEmit, insns: readonly Insn[]): void {
  for (const [i, insn] of insns.entries()) {
    emit.instruction(insn, i * RECORD.SIZE, i, () => emitInstruction(emit, insn));
    if (emit.over) return;
    if (i < insns.length - 1) emit.splitAfterSlowPath();
  }
  emit.goNext();
}
