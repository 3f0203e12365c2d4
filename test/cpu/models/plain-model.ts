/**
 * The published rules of the model (docs/counting.md, "Cycles") in plain TypeScript on lists, to judge the generated
 * code by. Lines and pages are those of linear addresses: the test maps them one to one.
 */
export interface PlainShape {
  readonly sets: Readonly<Record<Table, number>>;
  readonly ways: Readonly<Record<Table, number>>;
  readonly cycles: {
    l2: number;
    llc: number;
    memory: number;
    stlb: number;
    walk: number;
    mispredict: number;
  };
  readonly directionBits: number;
  readonly historyBits: number;
  readonly targetBits: number;
  readonly returnStack: number;
}
type Table = 'l1d' | 'l1i' | 'l2' | 'llc' | 'dtlb' | 'itlb' | 'stlb';

export interface PlainInsn {
  readonly at: number;
  readonly length: number;
  readonly accesses: readonly { at: number; size: number; store: boolean }[];
  readonly extra: number;
  readonly branch?: {
    kind: 'cond' | 'call' | 'jump' | 'icall' | 'return';
    taken: boolean;
    to: number;
  };
}

export class PlainModel {
  readonly totals: Record<string, number> = {};
  readonly #shape: PlainShape;
  readonly #lists = new Map<string, number[]>();
  readonly #counters = new Map<number, number>();
  readonly #targets = new Map<number, number>();
  #returns: number[] = [];
  #history = 0;

  constructor(shape: PlainShape) {
    this.#shape = shape;
  }

  retire({ at, length, accesses, extra, branch }: PlainInsn): void {
    const data = accesses.map((access) => this.#data(access)).reduce((a, b) => a + b, 0);
    const fetch = this.#lines(at, length)
      .map((line) => this.#code(line))
      .reduce((a, b) => a + b, 0);
    const wrong = branch !== undefined && !this.#predicted(at, length, branch);
    if (wrong) {
      this.#count('mispredictedBranches');
      if (branch.kind === 'cond') this.#count('mispredictedConditional');
    }
    // One cycle retires; of the others 63 at most, the latest cause losing what exceeds.
    let left = 63;
    const share = (cycles: number) => {
      const part = Math.min(cycles, left);
      left -= part;
      return part;
    };
    const frontEnd = share(fetch);
    const bad = share(wrong ? this.#shape.cycles.mispredict : 0);
    const memory = share(data);
    const core = share(extra);
    this.#count('cycles', 64 - left);
    this.#count('slots', 64 - left);
    this.#count('slotsRetiring');
    this.#count('slotsFrontEnd', frontEnd);
    this.#count('slotsBadSpeculation', bad);
    this.#count('slotsBackEnd', memory + core);
    this.#count('slotsMemoryBound', memory);
  }

  flushTlbs(): void {
    for (const [key, list] of this.#lists) if (/tlb/.test(key)) list.length = 0;
    this.interrupted();
  }

  flushLine(line: number): void {
    for (const table of ['l1d', 'l1i', 'l2', 'llc'] as const) {
      const list = this.#list(table, line);
      const at = list.indexOf(line);
      if (at >= 0) list.splice(at, 1);
    }
    this.interrupted();
  }

  /** Nothing counts as just used any more. */
  interrupted(): void {
    this.#recent.data.clear();
    this.#recent.code.clear();
  }

  readonly #recent = { data: new Map<number, number>(), code: new Map<number, number>() };

  #lines(at: number, size: number): number[] {
    const first = Math.floor(at / 64);
    const last = Math.floor((at + size - 1) / 64);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }

  #isRecent(kind: 'data' | 'code', line: number): boolean {
    const sets = Math.min(64, this.#shape.sets[kind === 'data' ? 'l1d' : 'l1i']);
    return this.#recent[kind].get(line % sets) === line;
  }

  #nowRecent(kind: 'data' | 'code', line: number): void {
    const sets = Math.min(64, this.#shape.sets[kind === 'data' ? 'l1d' : 'l1i']);
    this.#recent[kind].set(line % sets, line);
  }

  #data({ at, size, store }: PlainInsn['accesses'][number]): number {
    const lines = this.#lines(at, size);
    if (lines.length === 1 && this.#isRecent('data', lines[0]!)) return 0;
    let cycles = 0;
    const pages = [...new Set(lines.map((line) => Math.floor(line / 64)))];
    for (const page of pages) {
      cycles += this.#translation('dtlb', page, store ? 'storeWalks' : 'loadWalks');
      for (const line of lines.filter((each) => Math.floor(each / 64) === page)) {
        if (!this.#touch('l1d', line)) {
          this.#count('l1dMisses');
          cycles += this.#beyond(line);
        }
        this.#nowRecent('data', line);
      }
    }
    return cycles;
  }

  #code(line: number): number {
    if (this.#isRecent('code', line)) return 0;
    let cycles = this.#translation('itlb', Math.floor(line / 64), 'codeWalks');
    if (!this.#touch('l1i', line)) cycles += this.#beyond(line);
    this.#nowRecent('code', line);
    return cycles;
  }

  #translation(first: 'dtlb' | 'itlb', page: number, walks: string): number {
    if (this.#touch(first, page)) return 0;
    if (this.#touch('stlb', page)) return this.#shape.cycles.stlb;
    this.#count(walks);
    return this.#shape.cycles.walk;
  }

  #beyond(line: number): number {
    const { l2, llc, memory } = this.#shape.cycles;
    if (this.#touch('l2', line)) return l2;
    this.#count('l2Misses');
    this.#count('llcReferences');
    if (this.#touch('llc', line)) return llc;
    this.#count('llcMisses');
    return memory;
  }

  #predicted(
    at: number,
    length: number,
    { kind, taken, to }: NonNullable<PlainInsn['branch']>,
  ): boolean {
    const { directionBits, historyBits, targetBits, returnStack } = this.#shape;
    const index = (bits: number) => (at ^ (at >>> bits) ^ this.#history) & ((1 << bits) - 1);
    let right = true;
    if (kind === 'cond') {
      const place = index(directionBits);
      const counter = this.#counters.get(place) ?? 1;
      right = counter >= 2 === taken;
      this.#counters.set(place, taken ? Math.min(3, counter + 1) : Math.max(0, counter - 1));
      this.#history = ((this.#history << 1) | (taken ? 1 : 0)) & ((1 << historyBits) - 1);
    }
    if (kind === 'jump' || kind === 'icall') {
      const place = index(targetBits);
      right = (this.#targets.get(place) ?? 0) === to;
      this.#targets.set(place, to);
    }
    if (kind === 'return') right = this.#returns.pop() === to;
    if (kind === 'call' || kind === 'icall') {
      this.#returns.push(at + length);
      if (this.#returns.length > returnStack) this.#returns.shift();
    }
    return right;
  }

  /** Whether the key was there; it is the newest of its set now. */
  #touch(table: Table, key: number): boolean {
    const list = this.#list(table, key);
    const at = list.indexOf(key);
    if (at >= 0) list.splice(at, 1);
    list.unshift(key);
    if (list.length > this.#shape.ways[table]) list.pop();
    return at >= 0;
  }

  #list(table: Table, key: number): number[] {
    const name = `${table} ${key % this.#shape.sets[table]}`;
    const list = this.#lists.get(name) ?? [];
    this.#lists.set(name, list);
    return list;
  }

  #count(total: string, times = 1): void {
    this.totals[total] = (this.totals[total] ?? 0) + times;
  }
}
