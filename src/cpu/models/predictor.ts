import { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import { fill, type ModelArea, sparse } from './area.ts';
import type { PredictorShape } from './parameters.ts';

/** What a predictor needs to resume; plain data. */
export interface SavedPredictor {
  readonly counters: readonly number[];
  readonly targets: readonly (number | bigint)[];
  readonly returns: readonly bigint[];
  readonly history: number;
}

/** Two-bit counters start at 1: weakly not taken. */
const WEAKLY_NOT_TAKEN = 1;

/** The words beside the tables: global history, where the next return address goes, how many there are. */
const WORD = { HISTORY: 0, TOP: 1, DEPTH: 2 } as const;

/** Writes code that leaves a value on the stack. */
export type Push = () => void;

/**
 * A branch predictor: directions by two-bit counters under gshare (global history XOR address), targets of indirect
 * branches by the last one seen under the same index, returns by a stack. Direct targets are always known.
 */
export class Predictor {
  readonly #shape: PredictorShape;
  readonly #counters: Uint8Array;
  readonly #targets: BigInt64Array;
  readonly #returns: BigInt64Array;
  readonly #words: Int32Array;

  constructor(area: ModelArea, shape: PredictorShape) {
    const { buffer } = area.memory;
    const counters = 1 << shape.directionBits;
    const targets = 1 << shape.targetBits;
    this.#shape = shape;
    this.#counters = new Uint8Array(buffer, area.take(counters), counters);
    this.#targets = new BigInt64Array(buffer, area.take(8 * targets), targets);
    this.#returns = new BigInt64Array(buffer, area.take(8 * shape.returnStack), shape.returnStack);
    this.#words = new Int32Array(buffer, area.take(4 * 3), 3);
    this.barrier();
  }

  /** A conditional branch at the low half of an address went that way: leaves whether the prediction was right. */
  direction(f: FunctionWriter, address: Push, taken: Push): void {
    const { directionBits, historyBits } = this.#shape;
    const at = f.local('i32');
    const counter = f.local('i32');
    this.#index(f, address, directionBits);
    f.tee(at).memory('i32.load8_u', this.#counters.byteOffset).set(counter);
    f.get(at);
    f.get(counter).get(counter).i32(3).op('i32.lt_u', 'i32.add');
    f.get(counter).get(counter).i32(0).op('i32.ne', 'i32.sub');
    taken();
    f.op('select').memory('i32.store8', this.#counters.byteOffset);
    f.i32(0).i32(0).memory('i32.load', this.#word('HISTORY')).i32(1).op('i32.shl');
    taken();
    f.op('i32.or')
      .i32((1 << historyBits) - 1)
      .op('i32.and');
    f.memory('i32.store', this.#word('HISTORY'));
    f.get(counter).i32(1).op('i32.shr_u');
    taken();
    f.op('i32.eq');
  }

  /** (low half of the address, target) of an indirect jump or call → whether the prediction was right */
  target(): FunctionWriter {
    const f = new FunctionWriter(['i32', 'i64'], ['i32']);
    const at = f.local('i32');
    this.#index(f, () => f.get(0), this.#shape.targetBits);
    f.i32(3).op('i32.shl').tee(at).memory('i64.load', this.#targets.byteOffset);
    f.get(1).op('i64.eq');
    f.get(at).get(1).memory('i64.store', this.#targets.byteOffset);
    return f;
  }

  /** (return address) of a call; the oldest goes where the stack is full */
  call(): FunctionWriter {
    const f = new FunctionWriter(['i64'], []);
    const top = f.local('i32');
    const most = this.#shape.returnStack;
    f.i32(0).memory('i32.load', this.#word('TOP')).tee(top);
    f.i32(3).op('i32.shl').get(0).memory('i64.store', this.#returns.byteOffset);
    f.i32(0).get(top).i32(1).op('i32.add').i32(most).op('i32.rem_u');
    f.memory('i32.store', this.#word('TOP'));
    f.i32(0).i32(0).memory('i32.load', this.#word('DEPTH')).tee(top);
    f.get(top).i32(most).op('i32.lt_u', 'i32.add').memory('i32.store', this.#word('DEPTH'));
    return f;
  }

  /** (target) of a return → whether it is the newest return address, which is gone then */
  return(): FunctionWriter {
    const f = new FunctionWriter(['i64'], ['i32']);
    const top = f.local('i32');
    const most = this.#shape.returnStack;
    f.i32(0).memory('i32.load', this.#word('DEPTH')).tee(top);
    f.op('i32.eqz').if(undefined, () => f.i32(0).op('return'));
    f.i32(0).get(top).i32(1).op('i32.sub').memory('i32.store', this.#word('DEPTH'));
    f.i32(0)
      .memory('i32.load', this.#word('TOP'))
      .i32(most - 1)
      .op('i32.add');
    f.i32(most).op('i32.rem_u').set(top);
    f.i32(0).get(top).memory('i32.store', this.#word('TOP'));
    return f
      .get(top)
      .i32(3)
      .op('i32.shl')
      .memory('i64.load', this.#returns.byteOffset)
      .get(0)
      .op('i64.eq');
  }

  /** IBPB: nothing learned before can steer what comes after. Directions go as well, more than the manual asks. */
  barrier(): void {
    this.#counters.fill(WEAKLY_NOT_TAKEN);
    this.#targets.fill(0n);
    this.#returns.fill(0n);
    this.#words.fill(0);
  }

  save(): SavedPredictor {
    const [history = 0, top = 0, depth = 0] = this.#words;
    const { returnStack } = this.#shape;
    return {
      counters: sparse(this.#counters, WEAKLY_NOT_TAKEN),
      targets: sparse(this.#targets, 0n),
      returns: Array.from(
        { length: depth },
        (_, i) => this.#returns[(top - depth + i + returnStack) % returnStack]!,
      ),
      history,
    };
  }

  restore({ counters, targets, returns, history }: SavedPredictor): void {
    fill(this.#counters, WEAKLY_NOT_TAKEN, counters);
    fill(this.#targets, 0n, targets as readonly bigint[]);
    this.#returns.fill(0n);
    this.#returns.set(returns);
    this.#words.set([history, returns.length % this.#shape.returnStack, returns.length]);
  }

  #word(name: keyof typeof WORD): number {
    return this.#words.byteOffset + 4 * WORD[name];
  }

  #index(f: FunctionWriter, address: Push, bits: number): void {
    address();
    address();
    f.i32(bits).op('i32.shr_u', 'i32.xor');
    f.i32(0).memory('i32.load', this.#word('HISTORY')).op('i32.xor');
    f.i32((1 << bits) - 1).op('i32.and');
  }
}
