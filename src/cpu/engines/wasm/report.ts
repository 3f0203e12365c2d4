import type { Insn } from '../../insn.ts';
import { FACT, factsOf } from '../../models/facts.ts';
import type { ModelCode, Placement } from '../../models/model-code.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import { RECORD } from './record.ts';
import { PARAMETER } from './register-emit.ts';
import { type Condition, push64, type Value } from './value.ts';

/**
 * What handlers of an observed mode tell the model, in the order in which the oracle does: each access that went
 * well, each retirement, each further iteration of a REP instruction.
 */
export class Report {
  readonly #f: FunctionWriter;
  readonly #model: ModelCode;
  /** Cycles of the data accesses of the instruction. */
  readonly #cycles: number;
  /** The address of an access. */
  readonly #linear: number;
  #accesses = false;
  #retired = true;
  #placement: Placement = 'any line';

  constructor(f: FunctionWriter, model: ModelCode) {
    this.#f = f;
    this.#model = model;
    this.#cycles = f.local('i32');
    this.#linear = f.local('i64');
  }

  begin(placement: Placement): void {
    this.#retired = false;
    this.#placement = placement;
    this.again();
  }

  /** Another iteration begins. */
  again(): void {
    this.#accesses = false;
    this.#f.i32(0).set(this.#cycles);
  }

  accessed(kind: 'load' | 'store', linear: Value, size: number): void {
    const f = this.#f;
    this.#accesses = true;
    push64(f, linear);
    f.set(this.#linear);
    this.#model.access(
      () => f.get(this.#linear),
      () => f.i32(size),
      () => f.i32(kind === 'store' ? 1 : 0),
      this.#cycles,
    );
  }

  /**
   * The instruction of the record `offset` bytes behind the handler's retires: once, however many ways lead out of it.
   * @param taken whether a conditional branch is; @param target linear address where an indirect one goes.
   */
  retire(insn: Insn, offset: number, outcome: Outcome = {}): void {
    if (this.#retired) return;
    this.#retired = true;
    const facts = factsOf(insn);
    this.#tell(
      offset,
      (facts & FACT.BRANCH) >> FACT.BRANCH_SHIFT,
      facts & FACT.EXTRA_CYCLES,
      outcome,
    );
  }

  /** An iteration that another one follows. */
  iterated(offset: number): void {
    this.#tell(offset, 0, 0, {});
  }

  #tell(offset: number, branch: number, execution: number, { taken, target }: Outcome): void {
    const f = this.#f;
    const record = () => f.get(PARAMETER.RECORD);
    this.#model.retire({
      placement: this.#placement,
      address: () => record().memory('i64.load', offset + RECORD.LINEAR),
      length: () => record().memory('i32.load', offset + RECORD.LENGTH),
      branch,
      execution,
      ...(taken && { taken: () => f.get(taken.local) }),
      ...(target && { target: () => push64(f, target) }),
      ...(this.#accesses && { memory: this.#cycles }),
    });
  }
}

/** How a branch goes, as far as it depends on the run. */
export interface Outcome {
  readonly taken?: Condition;
  readonly target?: Value;
}
