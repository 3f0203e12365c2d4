import type { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import { WRONG } from './charge.ts';
import { PREDICTED } from './facts.ts';
import type { MemorySide } from './memory-side.ts';
import type { Predictor, Push } from './predictor.ts';

/** What generated code calls of the model, with types. */
// biome-ignore format: a table
export const MODEL_FUNCTIONS = {
  /** (linear address, bytes, 1 for a store) → cycles */
  access: [['i64', 'i32', 'i32'], ['i32']],
  /** (linear address, bytes) of an instruction → cycles */
  fetch:  [['i64', 'i32'], ['i32']],
  /** (low half of the address, target) of an indirect branch → whether it was predicted */
  target: [['i32', 'i64'], ['i32']],
  /** (return address) */
  call:   [['i64'], []],
  /** (target) → whether it was predicted */
  return: [['i64'], ['i32']],
  /** (cycles of fetch, one of WRONG, cycles of data, of execution, 1 if an instruction retires) */
  charge: [['i32', 'i32', 'i32', 'i32', 'i32'], []],
} as const;
export type ModelFunction = keyof typeof MODEL_FUNCTIONS;
export const MODEL_NAMES = Object.keys(MODEL_FUNCTIONS) as readonly ModelFunction[];
/** Their indices in a module. */
export type ModelIndices = Readonly<Record<ModelFunction, number>>;

/**
 * Where an instruction lies, beside the one that retired before it: in the same line, so that nothing is fetched; in
 * any line, which is looked up at run time; or across the end of a line.
 */
export type Placement = 'same line' | 'any line' | 'two lines';

/** An instruction that retires, for the code that is written. Addresses are i64, all linear. */
export interface Retirement {
  readonly placement: Placement;
  readonly address: Push;
  /** Its bytes, an i32. */
  readonly length: Push;
  /** One of `PREDICTED`, or 0. */
  readonly branch: number;
  /** Whether a conditional branch is taken, an i32; where another goes. */
  readonly taken?: Push;
  readonly target?: Push;
  /** Cycles of execution beside the first, and the i32 local with those of data accesses, if there were any. */
  readonly execution: number;
  readonly memory?: number;
}

/** Writes what generated code does for the model: in line where nothing happens, by calls where something does. */
export class ModelCode {
  readonly #f: FunctionWriter;
  readonly #memory: MemorySide;
  readonly #predictor: Predictor;
  readonly #functions: ModelIndices;

  constructor(
    f: FunctionWriter,
    parts: { memory: MemorySide; predictor: Predictor },
    functions: ModelIndices,
  ) {
    this.#f = f;
    this.#memory = parts.memory;
    this.#predictor = parts.predictor;
    this.#functions = functions;
  }

  /** A data access: adds its cycles to an i32 local. */
  access(linear: Push, bytes: Push, store: Push, cycles: number): void {
    const f = this.#f;
    this.#memory.unlikeRecent(f, 'data', linear, bytes);
    f.if(undefined, () => {
      linear();
      bytes();
      store();
      f.call(this.#functions.access).get(cycles).op('i32.add').set(cycles);
    });
  }

  /** An instruction retires: charges what it takes beside its first cycle. */
  retire(what: Retirement): void {
    const { execution, memory } = what;
    const f = this.#f;
    const fetch = this.#fetch(what);
    const wrong = this.predict(what);
    const variable = [fetch, wrong, memory].filter((local) => local !== undefined);
    const charge = () => {
      for (const local of [fetch, wrong, memory]) {
        if (local === undefined) f.i32(0);
        else f.get(local);
      }
      f.i32(execution).i32(1).call(this.#functions.charge);
    };
    if (execution > 0) charge();
    else if (variable.length > 0) {
      variable.forEach((local, i) => {
        f.get(local);
        if (i > 0) f.op('i32.or');
      });
      f.if(undefined, charge);
    }
  }

  /** Cycles of the fetch in a local; none where there is nothing to fetch. */
  #fetch({ placement, address, length }: Retirement): number | undefined {
    if (placement === 'same line') return undefined;
    const f = this.#f;
    const cycles = f.local('i32');
    const fetch = () => {
      address();
      length();
      f.call(this.#functions.fetch).set(cycles);
    };
    const lastByte = () => {
      address();
      length();
      f.op('i64.extend_i32_u', 'i64.add').i64(1).op('i64.sub');
    };
    const one = () => f.i32(1);
    f.i32(0).set(cycles);
    if (placement === 'two lines') {
      this.#memory.unlikeRecent(f, 'code', address, one);
      this.#memory.unlikeRecent(f, 'code', lastByte, one);
      f.op('i32.or');
    } else this.#memory.unlikeRecent(f, 'code', address, one);
    f.if(undefined, fetch);
    return cycles;
  }

  /** Shows the predictor a branch; one of `WRONG` in a local, none where nothing is predicted. */
  predict({
    branch,
    address,
    length,
    taken,
    target,
  }: Omit<Retirement, 'placement'>): number | undefined {
    if (branch === 0) return undefined;
    const f = this.#f;
    const { NOT_TAKEN, TAKEN, CALL, INDIRECT_CALL, RETURN } = PREDICTED;
    const low = () => {
      address();
      f.op('i32.wrap_i64');
    };
    let wrong: number | undefined;
    if (branch === NOT_TAKEN || branch === TAKEN) {
      wrong = f.local('i32');
      this.#predictor.direction(f, low, taken!);
      f.op('i32.eqz').i32(Math.log2(WRONG.CONDITIONAL)).op('i32.shl').set(wrong);
    } else if (branch !== CALL) {
      wrong = f.local('i32');
      if (branch !== RETURN) low();
      target!();
      f.call(branch === RETURN ? this.#functions.return : this.#functions.target);
      f.op('i32.eqz').set(wrong);
    }
    if (branch === CALL || branch === INDIRECT_CALL) {
      address();
      length();
      f.op('i64.extend_i32_u', 'i64.add').call(this.#functions.call);
    }
    return wrong;
  }
}
