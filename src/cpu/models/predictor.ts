/** Sizes of the predictor's tables, as powers of two, and of its return stack. */
export interface PredictorShape {
  readonly directionBits: number;
  readonly historyBits: number;
  readonly targetBits: number;
  readonly returnStack: number;
}

/** What a predictor needs to resume; plain data. */
export interface SavedPredictor {
  readonly counters: readonly number[];
  readonly targets: readonly bigint[];
  readonly returns: readonly bigint[];
  readonly history: number;
}

/** Two-bit counters start at 1: weakly not taken. */
const WEAKLY_NOT_TAKEN = 1;

/**
 * A branch predictor: directions by two-bit counters under gshare (global history XOR address), targets of indirect
 * branches by the last one seen under the same index, returns by a stack. Direct targets are always known.
 */
export class Predictor {
  readonly #shape: PredictorShape;
  readonly #counters: Uint8Array;
  readonly #targets: BigUint64Array;
  #returns: bigint[] = [];
  #history = 0;

  constructor(shape: PredictorShape) {
    this.#shape = shape;
    this.#counters = new Uint8Array(1 << shape.directionBits).fill(WEAKLY_NOT_TAKEN);
    this.#targets = new BigUint64Array(1 << shape.targetBits);
  }

  /** A conditional branch went that way. @returns whether the prediction was right. */
  direction(address: bigint, taken: boolean): boolean {
    const { directionBits, historyBits } = this.#shape;
    const index = this.#index(address, directionBits);
    const counter = this.#counters[index]!;
    this.#counters[index] = taken ? Math.min(3, counter + 1) : Math.max(0, counter - 1);
    this.#history = ((this.#history << 1) | (taken ? 1 : 0)) & ((1 << historyBits) - 1);
    return counter >= 2 === taken;
  }

  /** An indirect jump or call went there. @returns whether the prediction was right. */
  target(address: bigint, to: bigint): boolean {
    const index = this.#index(address, this.#shape.targetBits);
    const right = this.#targets[index] === to;
    this.#targets[index] = to;
    return right;
  }

  /** A call leaves its return address. */
  call(returnTo: bigint): void {
    this.#returns.push(returnTo);
    if (this.#returns.length > this.#shape.returnStack) this.#returns.shift();
  }

  /** A return went there. @returns whether the prediction was right. */
  return(to: bigint): boolean {
    return this.#returns.pop() === to;
  }

  /** IBPB: nothing learned before can steer what comes after. Directions go as well, more than the manual asks. */
  barrier(): void {
    this.#counters.fill(WEAKLY_NOT_TAKEN);
    this.#targets.fill(0n);
    this.#returns = [];
    this.#history = 0;
  }

  save(): SavedPredictor {
    return {
      counters: [...this.#counters],
      targets: [...this.#targets],
      returns: [...this.#returns],
      history: this.#history,
    };
  }

  restore({ counters, targets, returns, history }: SavedPredictor): void {
    this.#counters.set(counters);
    this.#targets.set(targets);
    this.#returns = [...returns];
    this.#history = history;
  }

  #index(address: bigint, bits: number): number {
    const folded = Number((address ^ (address >> BigInt(bits))) & 0xffff_ffffn);
    return (folded ^ this.#history) & ((1 << bits) - 1);
  }
}
