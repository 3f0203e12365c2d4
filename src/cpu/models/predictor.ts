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
  readonly targets: readonly number[];
  readonly returns: readonly number[];
  readonly history: number;
}

/** Two-bit counters start at 1: weakly not taken. */
const WEAKLY_NOT_TAKEN = 1;

/**
 * A branch predictor: directions by two-bit counters under gshare (global history XOR address), targets of indirect
 * branches by the last one seen under the same index, returns by a stack. Direct targets are always known.
 * Addresses are numbers below 2^48.
 */
export class Predictor {
  readonly #shape: PredictorShape;
  readonly #counters: Uint8Array;
  readonly #targets: Float64Array;
  readonly #historyMask: number;
  #returns: number[] = [];
  #history = 0;

  constructor(shape: PredictorShape) {
    this.#shape = shape;
    this.#counters = new Uint8Array(1 << shape.directionBits).fill(WEAKLY_NOT_TAKEN);
    this.#targets = new Float64Array(1 << shape.targetBits);
    this.#historyMask = (1 << shape.historyBits) - 1;
  }

  /** A conditional branch went that way. @returns whether the prediction was right. */
  direction(address: number, taken: boolean): boolean {
    const index = this.#index(address, this.#shape.directionBits);
    const counter = this.#counters[index]!;
    if (taken && counter < 3) this.#counters[index] = counter + 1;
    else if (!taken && counter > 0) this.#counters[index] = counter - 1;
    this.#history = ((this.#history << 1) | (taken ? 1 : 0)) & this.#historyMask;
    return counter >= 2 === taken;
  }

  /** An indirect jump or call went there. @returns whether the prediction was right. */
  target(address: number, to: number): boolean {
    const index = this.#index(address, this.#shape.targetBits);
    const right = this.#targets[index] === to;
    this.#targets[index] = to;
    return right;
  }

  /** A call leaves its return address. */
  call(returnTo: number): void {
    this.#returns.push(returnTo);
    if (this.#returns.length > this.#shape.returnStack) this.#returns.shift();
  }

  /** A return went there. @returns whether the prediction was right. */
  return(to: number): boolean {
    return this.#returns.pop() === to;
  }

  /** IBPB: nothing learned before can steer what comes after. Directions go as well, more than the manual asks. */
  barrier(): void {
    this.#counters.fill(WEAKLY_NOT_TAKEN);
    this.#targets.fill(0);
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

  #index(address: number, bits: number): number {
    const low = address | 0;
    return (low ^ (low >>> bits) ^ this.#history) & ((1 << bits) - 1);
  }
}
