import type { FunctionWriter } from './engines/wasm/assembler/function-writer.ts';
import type { Insn } from './insn.ts';
import type { ModelCode, ModelFunction, ModelIndices } from './models/model-code.ts';
import type { Stale } from './system/translation-tags.ts';

/** What an instruction did that has retired, or one iteration of it. */
export interface Retired {
  readonly insn: Insn;
  /** Linear address of the instruction, and RIP after it. */
  readonly linear: bigint;
  readonly next: bigint;
  /** Whether it transferred control. */
  readonly taken: boolean;
  /** Whether it is only one more iteration of a REP instruction. */
  readonly repeats: boolean;
}

/**
 * Hears what the CPU does, instruction by instruction, while something needs to know: the micro-architecture model,
 * branch records. Engines that do not report leave execution to one that does as long as an observer listens.
 */
export interface Observer {
  /** A data access of the instruction under way, by linear address. */
  accessed?(access: 'load' | 'store', linear: bigint, size: number): void;
  /** The instruction under way does not complete: it faults, or leaves to be executed again. */
  abandoned?(): void;
  /** In the totals already. */
  retired?(what: Retired): void;
  /** An interrupt, exception or other event was delivered: the interrupted RIP and the handler's. */
  delivered?(from: bigint, to: bigint): void;
  /** Translations were forgotten, or belong to another address space from now on. */
  flushed?(stale: Stale): void;
  /** Where generated code reports to. Without it, code is executed by the oracle while this observer listens. */
  readonly generated?: GeneratedObserver;
}

/** The micro-architecture model as generated code reports to it: without leaving WebAssembly. */
export interface GeneratedObserver {
  /** What generated code imports of it. */
  readonly functions: Readonly<Record<ModelFunction, unknown>>;
  /** Writes reports into a function of a module that has imported them. */
  code(f: FunctionWriter, functions: ModelIndices): ModelCode;
}
