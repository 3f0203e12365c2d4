import type { Insn } from '../../insn.ts';
import { FACT, factsOf, TAKEN } from '../../models/facts.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import { PARAMETER } from './register-emit.ts';
import type { RuntimeIndices } from './runtime-functions.ts';
import { type Condition, push64, type Value } from './value.ts';

/**
 * What handlers of an observed mode tell the observer, in the order in which the oracle does: each access that went
 * well, each retirement, each further iteration of a REP instruction.
 */
export class Report {
  readonly #f: FunctionWriter;
  readonly #runtime: RuntimeIndices;
  #retired = true;

  constructor(f: FunctionWriter, runtime: RuntimeIndices) {
    this.#f = f;
    this.#runtime = runtime;
  }

  begin(): void {
    this.#retired = false;
  }

  accessed(kind: 'load' | 'store', linear: Value, size: number): void {
    this.#f.i32(kind === 'store' ? 1 : 0);
    this.#halves(linear);
    this.#f.i32(size).call(this.#runtime.access);
  }

  /**
   * The instruction of the record `offset` bytes behind the handler's retires: once, however many ways lead out of it.
   * @param taken whether a conditional branch is; @param target where an indirect one goes.
   */
  retire(insn: Insn, offset: number, { taken, target }: Outcome = {}): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#record(offset);
    this.#f.i32(factsOf(insn));
    if (taken) this.#f.get(taken.local).i32(Math.log2(TAKEN)).op('i32.shl').op('i32.add');
    if (target) this.#halves(target);
    else this.#f.i32(0).i32(0);
    this.#f.call(this.#runtime.retire);
  }

  iterated(offset: number): void {
    this.#record(offset);
    this.#f.i32(FACT.REPEATS).i32(0).i32(0).call(this.#runtime.retire);
  }

  #record(offset: number): void {
    this.#f.get(PARAMETER.RECORD).i32(offset).op('i32.add');
  }

  #halves(value: Value): void {
    push64(this.#f, value);
    this.#f.op('i32.wrap_i64');
    push64(this.#f, value);
    this.#f.i64(32).op('i64.shr_u', 'i32.wrap_i64');
  }
}

/** How a branch goes, as far as it depends on the run. */
export interface Outcome {
  readonly taken?: Condition;
  readonly target?: Value;
}
