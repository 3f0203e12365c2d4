import type { Insn } from './insn.ts';
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
  /** A data access of the instruction under way, by linear and physical address of its first byte. */
  accessed?(access: 'load' | 'store', linear: bigint, physical: number, size: number): void;
  /** In the totals already. */
  retired?(what: Retired): void;
  /** An interrupt, exception or other event was delivered: the interrupted RIP and the handler's. */
  delivered?(from: bigint, to: bigint): void;
  /** Translations were forgotten, or belong to another address space from now on. */
  flushed?(stale: Stale): void;
  /** Where generated code reports to. Without it, code is executed by the oracle while this observer listens. */
  readonly generated?: GeneratedObserver;
  /** The totals are about to be read: whatever was heard must be in them. */
  settle?(): void;
}

/** The same for generated code: addresses are two halves of 32 bits. */
export interface GeneratedObserver {
  access(store: number, low: number, high: number, size: number): void;
  /** @param facts of the instruction (cpu/models/facts.ts); @param nextLow RIP after an indirect branch, else anything. */
  retire(
    facts: number,
    low: number,
    high: number,
    length: number,
    nextLow: number,
    nextHigh: number,
  ): void;
}
