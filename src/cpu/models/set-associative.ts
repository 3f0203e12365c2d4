import { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import { fill, type ModelArea, sparse } from './area.ts';

const EMPTY = -1;
const WORD = 4;
/** Keys that one vector holds. */
const LANES = 4;

/**
 * A set-associative table of keys (numbers of lines or pages) with true LRU replacement. It lies in linear memory, set
 * by set, the most recently used first; looking up is generated code, what is rare is TypeScript. It holds no data.
 */
export class SetAssociative {
  readonly #at: number;
  readonly #sets: number;
  readonly #ways: number;
  /** Keys from one set to the next: a power of two, whole vectors. */
  readonly #stride: number;
  readonly #keys: Int32Array;

  /** @throws RangeError if the number of sets is no power of two. */
  constructor(area: ModelArea, { entries, ways }: { entries: number; ways: number }) {
    const sets = entries / ways;
    if (!Number.isInteger(Math.log2(sets))) throw new RangeError(`a table of ${sets} sets`);
    this.#sets = sets;
    this.#ways = ways;
    this.#stride = Math.max(LANES, 2 ** Math.ceil(Math.log2(ways)));
    // One vector in front: moving keys up reads the word before a set.
    const words = LANES + sets * this.#stride;
    this.#at = area.take(words * WORD) + LANES * WORD;
    this.#keys = new Int32Array(area.memory.buffer, this.#at, sets * this.#stride);
    this.clear();
  }

  /** (key) → whether it was there; it is the most recent of its set from now on, in place of the oldest if it was not. */
  lookup(): FunctionWriter {
    const f = new FunctionWriter(['i32'], ['i32']);
    const key = 0;
    const [set, place, hit, found] = [
      f.local('i32'),
      f.local('i32'),
      f.local('i32'),
      f.local('i32'),
    ];
    const vectors = Array.from({ length: Math.ceil(this.#ways / LANES) }, (_, k) => k);
    const offset = (k: number) => this.#at + k * LANES * WORD;
    f.get(key)
      .i32(this.#sets - 1)
      .op('i32.and');
    f.i32(Math.log2(this.#stride * WORD))
      .op('i32.shl')
      .tee(set);
    f.memory('i32.load', this.#at).get(key).op('i32.eq');
    f.if(undefined, () => f.i32(1).op('return'));
    f.i32(this.#ways - 1).set(place);
    f.block((done) => {
      for (const k of vectors) {
        f.get(set).memory('v128.load', offset(k)).get(key).op('i32x4.splat', 'i32x4.eq');
        f.op('i32x4.bitmask').tee(found);
        f.if(undefined, () => {
          f.get(found)
            .op('i32.ctz')
            .i32(k * LANES)
            .op('i32.add')
            .set(place);
          f.i32(1).set(hit).branch(done);
        });
      }
    });
    // Keys before that place move up by one; from the last vector on, so that none is read after it was overwritten.
    for (const k of vectors.reverse()) {
      f.get(set);
      f.get(set).memory('v128.load', offset(k));
      f.get(set).memory('v128.load', offset(k) - WORD);
      f.v128(lanes(k)).get(place).op('i32x4.splat', 'i32x4.gt_s', 'v128.bitselect');
      f.memory('v128.store', offset(k));
    }
    f.get(set).get(key).memory('i32.store', this.#at);
    return f.get(hit);
  }

  /** Leaves whether a key, in an i32 local, was there: in line for the most recent of its set, by `lookup` for others. */
  find(f: FunctionWriter, key: number, lookup: number): void {
    f.get(key)
      .i32(this.#sets - 1)
      .op('i32.and')
      .i32(Math.log2(this.#stride * WORD))
      .op('i32.shl');
    f.memory('i32.load', this.#at).get(key).op('i32.eq');
    f.if(
      'i32',
      () => f.i32(1),
      () => f.get(key).call(lookup),
    );
  }

  /** Whether a key is there; changes nothing. */
  holds(key: number): boolean {
    return this.#set(key).includes(key);
  }

  /** Forgets one key, as CLFLUSH and INVLPG do. */
  drop(key: number): void {
    const set = this.#set(key);
    const at = set.indexOf(key);
    if (at < 0) return;
    set.copyWithin(at, at + 1);
    set[set.length - 1] = EMPTY;
  }

  clear(): void {
    this.#keys.fill(EMPTY);
  }

  save(): readonly number[] {
    return sparse(this.#keys, EMPTY);
  }

  restore(saved: readonly number[]): void {
    fill(this.#keys, EMPTY, saved);
  }

  #set(key: number): Int32Array {
    const first = (key & (this.#sets - 1)) * this.#stride;
    return this.#keys.subarray(first, first + this.#ways);
  }
}

/** The places that vector `k` of a set holds. */
const lanes = (k: number): Uint8Array =>
  new Uint8Array(Int32Array.from({ length: LANES }, (_, lane) => k * LANES + lane).buffer);
