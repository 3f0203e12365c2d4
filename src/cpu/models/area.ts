import { INTERPRETER } from '../state/layout.ts';

const ALIGNMENT = 64;

/** Hands out the part of linear memory that the model's tables take, behind one CPU's state block. */
export class ModelArea {
  readonly memory: WebAssembly.Memory;
  #top: number;
  readonly #end: number;

  /** @param base offset of the CPU's state block in linear memory */
  constructor(memory: WebAssembly.Memory, base: number) {
    this.memory = memory;
    this.#top = base + INTERPRETER.MODEL;
    this.#end = base + INTERPRETER.ARENA;
  }

  /** Offset in linear memory of so many bytes. @throws RangeError if the parameters ask for more than there is. */
  take(bytes: number): number {
    const at = this.#top;
    this.#top += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    if (this.#top > this.#end) throw new RangeError('the model has more to remember than room');
    return at;
  }
}

/** Place and value of every entry that is not `empty`, in pairs: what a snapshot keeps of a table. */
export function sparse<T extends number | bigint>(table: Iterable<T>, empty: T): (number | T)[] {
  const saved: (number | T)[] = [];
  let place = 0;
  for (const value of table) {
    if (value !== empty) saved.push(place, value);
    place += 1;
  }
  return saved;
}

/** Fills a table from what `sparse` has kept of it. */
export function fill<T extends number | bigint>(
  table: { [place: number]: T; fill(value: T): unknown },
  empty: T,
  saved: readonly (number | T)[],
): void {
  table.fill(empty);
  for (let i = 0; i < saved.length; i += 2) table[saved[i] as number] = saved[i + 1] as T;
}
