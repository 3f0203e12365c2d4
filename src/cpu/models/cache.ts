/** Size of a cache line in bytes. */
export const LINE = 64;

/** A cache's geometry: bytes and ways. The number of sets must be a power of two. */
export interface CacheShape {
  readonly bytes: number;
  readonly ways: number;
}

const EMPTY = -1;

/** A set-associative cache of line numbers with true LRU replacement. It holds no data. */
export class Cache {
  readonly #ways: number;
  readonly #setMask: number;
  /** Line numbers, set by set, most recently used first. */
  readonly #lines: Int32Array;

  /** @throws RangeError if the number of sets is no power of two. */
  constructor({ bytes, ways }: CacheShape, lineSize = LINE) {
    const sets = bytes / lineSize / ways;
    if (!Number.isInteger(Math.log2(sets))) throw new RangeError(`a cache of ${sets} sets`);
    this.#ways = ways;
    this.#setMask = sets - 1;
    this.#lines = new Int32Array(sets * ways).fill(EMPTY);
  }

  /** Looks a line up, makes it the most recent and fills it in where it was missing. @returns whether it was there. */
  access(line: number): boolean {
    const lines = this.#lines;
    const first = (line & this.#setMask) * this.#ways;
    if (lines[first] === line) return true;
    const last = first + this.#ways - 1;
    let at = first + 1;
    while (at < last && lines[at] !== line) at += 1;
    const hit = lines[at] === line;
    lines.copyWithin(first + 1, first, at);
    lines[first] = line;
    return hit;
  }

  /** Whether the line is there; changes nothing. */
  holds(line: number): boolean {
    const first = (line & this.#setMask) * this.#ways;
    return this.#lines.subarray(first, first + this.#ways).includes(line);
  }

  /** Forgets one line, as CLFLUSH and INVLPG do. */
  drop(line: number): void {
    const first = (line & this.#setMask) * this.#ways;
    const end = first + this.#ways;
    const at = this.#lines.subarray(first, end).indexOf(line);
    if (at < 0) return;
    this.#lines.copyWithin(first + at, first + at + 1, end);
    this.#lines[end - 1] = EMPTY;
  }

  clear(): void {
    this.#lines.fill(EMPTY);
  }

  /** Place and line of each that is held, in pairs. */
  save(): readonly number[] {
    const saved: number[] = [];
    this.#lines.forEach((line, place) => {
      if (line !== EMPTY) saved.push(place, line);
    });
    return saved;
  }

  restore(saved: readonly number[]): void {
    this.clear();
    for (let i = 0; i < saved.length; i += 2) this.#lines[saved[i]!] = saved[i + 1]!;
  }
}
