import { MASK64 } from '../../bits/u64.ts';
import type { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import type { Memory } from '../insn.ts';
import type { GeneratedObserver, Observer, Retired } from '../observer.ts';
import type { Total } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Stale } from '../system/translation-tags.ts';
import { ModelArea } from './area.ts';
import { WRONG } from './charge.ts';
import { FACT, factsOf, maintains, PREDICTED, TAKEN } from './facts.ts';
import { LINE, MemorySide, type SavedMemorySide } from './memory-side.ts';
import { ModelCode, type ModelIndices } from './model-code.ts';
import { buildModel, type ModelExports } from './model-module.ts';
import type { MicroArchitectureParameters } from './parameters.ts';
import { Predictor, type SavedPredictor } from './predictor.ts';

/** The totals that only this model moves. */
// biome-ignore format: a table
export const MODELLED: ReadonlySet<Total> = new Set([
  'cycles', 'slots', 'slotsRetiring', 'slotsBadSpeculation', 'slotsFrontEnd', 'slotsBackEnd', 'slotsMemoryBound',
  'mispredictedBranches', 'mispredictedConditional', 'l1dMisses', 'l2Misses', 'llcReferences', 'llcMisses',
  'loadWalks', 'storeWalks', 'codeWalks',
]);

/** What the model asks of the core: where its state and tables are, and which RAM an address reaches. */
export interface Surroundings {
  readonly state: State;
  readonly memory: WebAssembly.Memory;
  /** Physical address of a page of RAM; undefined for devices and what does not translate. */
  page(linear: bigint): number | undefined;
  /** Linear address of RIP. */
  linearRip(): bigint;
  /** Linear address of an operand that the instruction does not access. */
  operandAddress(operand: Memory, what: Retired): bigint;
}

/** What the model needs to resume; plain data. */
export interface SavedMicroArchitecture {
  readonly memory: SavedMemorySide;
  readonly predictor: SavedPredictor;
}

const NOWHERE = -1;

/**
 * A scalar core in order: one instruction retires at most in a cycle, and each further cycle is somebody's fault:
 * the front end's (fetch), bad speculation's, or the back end's (data, long instructions). It hears what retires and
 * adds to the totals. Deterministic; its rules and numbers are published in docs/counting.md.
 *
 * What happens to every instruction is generated code on tables in linear memory: handlers of the interpreter have it
 * in line, the oracle calls it. What is rare is TypeScript on the same tables.
 */
export class MicroArchitecture implements Observer {
  readonly #parameters: MicroArchitectureParameters;
  readonly #around: Surroundings;
  readonly #memory: MemorySide;
  readonly #predictor: Predictor;
  readonly #code: ModelExports;
  /** Cycles that data accesses of the instruction under way have cost. */
  #cycles = 0;

  constructor(parameters: MicroArchitectureParameters, around: Surroundings) {
    const { base } = around.state;
    const area = new ModelArea(around.memory, base);
    this.#parameters = parameters;
    this.#around = around;
    this.#memory = new MemorySide(area, base, parameters);
    this.#predictor = new Predictor(area, parameters.predictor);
    const parts = { memory: this.#memory, predictor: this.#predictor };
    const page = (low: number, high: number) =>
      this.#line((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
    this.#code = buildModel({ area, base, parameters, ...parts, page });
    this.generated = {
      functions: this.#code,
      code: (f: FunctionWriter, functions: ModelIndices) => new ModelCode(f, parts, functions),
    };
  }

  /** The same for generated code. */
  readonly generated: GeneratedObserver;

  accessed(access: 'load' | 'store', linear: bigint, size: number): void {
    this.#cycles += this.#code.accessed(linear, size, access === 'store' ? 1 : 0);
  }

  retired(what: Retired): void {
    const { insn, linear, taken, repeats } = what;
    const facts = factsOf(insn);
    const conditional = facts >> FACT.BRANCH_SHIFT === PREDICTED.NOT_TAKEN;
    const whole = facts + (conditional && taken ? TAKEN : 0);
    const next = this.#around.linearRip();
    this.#code.retired(repeats ? 0 : whole, linear, insn.length, next, this.#cycles);
    this.#cycles = 0;
    this.#maintain(what);
  }

  abandoned(): void {
    this.#cycles = 0;
  }

  /** The delivery takes cycles of the back end and retires nothing. */
  delivered(): void {
    this.#code.charge(0, WRONG.NO, 0, this.#parameters.penalties.delivery, 0);
  }

  /** Neither tags nor global pages are told apart: what spares others flushes them here. */
  flushed({ linear }: Stale): void {
    const { dtlb, itlb, stlb } = this.#memory.tables;
    for (const tlb of [dtlb, itlb, stlb]) {
      if (linear !== undefined) tlb.drop(MemorySide.pageKey(linear));
      else tlb.clear();
    }
    this.#memory.forgetTranslations();
  }

  /** An indirect branch prediction barrier (IA32_PRED_CMD.IBPB). */
  barrier(): void {
    this.#predictor.barrier();
  }

  save(): SavedMicroArchitecture {
    return { memory: this.#memory.save(), predictor: this.#predictor.save() };
  }

  restore({ memory, predictor }: SavedMicroArchitecture): void {
    this.#memory.restore(memory);
    this.#predictor.restore(predictor);
    this.#cycles = 0;
  }

  /** The physical line of an address; NOWHERE for what is no RAM. */
  #line(linear: bigint): number {
    const physical = this.#around.page(linear & ~0xfffn & MASK64);
    const offset = Number(linear & 0xfffn);
    return physical === undefined ? NOWHERE : Math.floor((physical + offset) / LINE);
  }

  /** Instructions that act on the caches themselves. */
  #maintain(what: Retired): void {
    const { op, operands } = what.insn;
    const { l1d, l1i, l2, llc } = this.#memory.tables;
    const caches = [l1d, l1i, l2, llc];
    if (op === 'WBINVD' || op === 'INVD') {
      for (const cache of caches) cache.clear();
    } else if (maintains(op)) {
      const operand = operands.find((each): each is Memory => each.kind === 'mem');
      const line = operand && this.#line(this.#around.operandAddress(operand, what));
      if (line === undefined || line === NOWHERE) return;
      if (op.startsWith('CLFLUSH')) for (const cache of caches) cache.drop(line);
      else this.#code.prefetch(line);
    } else return;
    this.#memory.interrupted();
  }
}
