import type { Memory } from '../insn.ts';
import type { GeneratedObserver, Observer, Retired } from '../observer.ts';
import { TOTALS, type Total } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Stale } from '../system/translation-tags.ts';
import { LINE } from './cache.ts';
import { MOST_CYCLES } from './costs.ts';
import { FACT, factsOf, maintains, PREDICTED, TAKEN } from './facts.ts';
import { Hierarchy, type Level } from './hierarchy.ts';
import type { MicroArchitectureParameters } from './parameters.ts';
import { Predictor, type SavedPredictor } from './predictor.ts';
import { Tlbs } from './tlb.ts';

/** The totals that only this model moves. */
// biome-ignore format: a table
export const MODELLED: ReadonlySet<Total> = new Set([
  'cycles', 'slots', 'slotsRetiring', 'slotsBadSpeculation', 'slotsFrontEnd', 'slotsBackEnd', 'slotsMemoryBound',
  'mispredictedBranches', 'mispredictedConditional', 'l1dMisses', 'l2Misses', 'llcReferences', 'llcMisses',
  'loadWalks', 'storeWalks', 'codeWalks',
]);

const INDEX = Object.fromEntries(TOTALS.map((name, i) => [name, i])) as Readonly<
  Record<Total, number>
>;
const MODELLED_INDICES = [...MODELLED].map((name) => INDEX[name]);

/** What the model asks of the core: where its totals are, and which RAM an address reaches. */
export interface Surroundings {
  readonly state: State;
  /** Physical address of a page of RAM; undefined for devices and what does not translate. */
  page(linear: bigint): number | undefined;
  /** Linear address of an operand that the instruction does not access. */
  operandAddress(operand: Memory, what: Retired): bigint;
}

/** What the model needs to resume; plain data. */
export interface SavedMicroArchitecture {
  readonly caches: ReturnType<Hierarchy['save']>;
  readonly tlbs: ReturnType<Tlbs['save']>;
  readonly predictor: SavedPredictor;
  readonly line: readonly [low: number, high: number];
  readonly page: readonly [low: number, high: number];
  readonly memory: number;
}

const IA32_PRED_CMD = 0x49n;
const PAGE_SHIFT = 12;
const LINE_SHIFT = 6;
const NOWHERE = -1;
/** Translations remembered, so that not every access walks the real page tables. A power of two. */
const REMEMBERED = 1024;

const lowHalf = (linear: bigint): number => Number(linear & 0xffff_ffffn) | 0;
const highHalf = (linear: bigint): number => Number((linear >> 32n) & 0xffff_ffffn) | 0;
const joined = (low: number, high: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
/** An address as one number: 48 bits tell canonical ones apart. */
const numeric = (low: number, high: number): number => (low >>> 0) + (high & 0xffff) * 2 ** 32;

/**
 * A scalar core in order: one instruction retires at most in a cycle, and each further cycle is somebody's fault:
 * the front end's (fetch), bad speculation's, or the back end's (data, long instructions). It hears what retires and
 * adds to the totals. Deterministic; its rules and numbers are published in docs/counting.md.
 */
export class MicroArchitecture implements Observer {
  readonly #parameters: MicroArchitectureParameters;
  readonly #around: Surroundings;
  readonly #caches: Hierarchy;
  readonly #tlbs: Tlbs;
  readonly #predictor: Predictor;
  /** What is not in the totals yet. */
  readonly #counts = new Int32Array(TOTALS.length);
  /** Linear pages and the first line of physical memory in each, NOWHERE for devices. */
  readonly #pagesLow = new Int32Array(REMEMBERED);
  readonly #pagesHigh = new Int32Array(REMEMBERED);
  readonly #lines = new Int32Array(REMEMBERED);
  readonly #known = new Uint8Array(REMEMBERED);
  /** Line and page of the last fetch, each with the high half of the address: going on in it costs nothing. */
  #line = NOWHERE;
  #lineHigh = 0;
  #page = NOWHERE;
  #pageHigh = 0;
  /** Cycles that data accesses of the instruction under way have cost. */
  #memory = 0;

  constructor(parameters: MicroArchitectureParameters, around: Surroundings) {
    this.#parameters = parameters;
    this.#around = around;
    this.#caches = new Hierarchy(parameters.caches);
    this.#tlbs = new Tlbs(parameters.tlbs);
    this.#predictor = new Predictor(parameters.predictor);
  }

  accessed(access: 'load' | 'store', linear: bigint, _physical: number, size: number): void {
    this.#access(access === 'store', lowHalf(linear), highHalf(linear), size);
  }

  retired(what: Retired): void {
    const { insn, linear, next, taken, repeats } = what;
    const facts = factsOf(insn);
    const conditional = facts >> FACT.BRANCH_SHIFT === PREDICTED.NOT_TAKEN;
    const whole = facts + (conditional && taken ? TAKEN : 0);
    this.#retire(
      repeats ? FACT.REPEATS : whole,
      ...([lowHalf(linear), highHalf(linear)] as const),
      insn.length,
      ...([lowHalf(next), highHalf(next)] as const),
    );
    this.#maintain(what);
  }

  /** The same from generated code. */
  readonly generated: GeneratedObserver = {
    access: (store, low, high, size) => this.#access(store !== 0, low, high, size),
    retire: (facts, low, high, length, nextLow, nextHigh) =>
      this.#retire(facts, low, high, length, nextLow, nextHigh),
  };

  settle(): void {
    const { totals } = this.#around.state;
    for (const index of MODELLED_INDICES) {
      const count = this.#counts[index]!;
      if (count === 0) continue;
      totals[index]! += BigInt(count);
      this.#counts[index] = 0;
    }
  }

  /** The delivery takes cycles of the back end and retires nothing; the handler starts with a new fetch. */
  delivered(): void {
    this.#charge(0, 0, 0, this.#parameters.penalties.delivery, 0);
    this.#line = NOWHERE;
  }

  flushed(stale: Stale): void {
    this.#tlbs.flush(stale);
    this.#known.fill(0);
    this.#page = NOWHERE;
  }

  save(): SavedMicroArchitecture {
    this.settle();
    return {
      caches: this.#caches.save(),
      tlbs: this.#tlbs.save(),
      predictor: this.#predictor.save(),
      line: [this.#line, this.#lineHigh],
      page: [this.#page, this.#pageHigh],
      memory: this.#memory,
    };
  }

  restore(saved: SavedMicroArchitecture): void {
    this.#caches.restore(saved.caches);
    this.#tlbs.restore(saved.tlbs);
    this.#predictor.restore(saved.predictor);
    this.#known.fill(0);
    this.#counts.fill(0);
    [this.#line, this.#lineHigh] = saved.line;
    [this.#page, this.#pageHigh] = saved.page;
    this.#memory = saved.memory;
  }

  #count(total: Total, times: number): void {
    this.#counts[INDEX[total]]! += times;
  }

  /** A data access; in pieces where it lies in two pages. */
  #access(store: boolean, low: number, high: number, size: number): void {
    const room = 4096 - (low & 4095);
    if (size > room) {
      const next = (low + room) | 0;
      this.#access(store, low, high, room);
      this.#access(store, next, next === 0 ? (high + 1) | 0 : high, size - room);
      return;
    }
    const first = this.#physicalLine(low, high);
    if (first === NOWHERE) return;
    const found = this.#tlbs.access('data', pageKey(low, high));
    if (found === 'walk') this.#count(store ? 'storeWalks' : 'loadWalks', 1);
    let cost = this.#translation(found);
    const last = first + (((low & 63) + size - 1) >> LINE_SHIFT);
    for (let line = first; line <= last; line++) cost += this.#data(line);
    this.#memory += cost;
  }

  #retire(
    facts: number,
    low: number,
    high: number,
    length: number,
    nextLow: number,
    nextHigh: number,
  ): void {
    const fetch = this.#fetch(low, high, length);
    const right =
      (facts & FACT.BRANCH) === 0 ||
      this.#predicts(facts & FACT.BRANCH, low, high, length, nextLow, nextHigh);
    const memory = this.#memory;
    const execution = facts & FACT.EXTRA_CYCLES;
    this.#memory = 0;
    if (fetch + memory + execution === 0 && right) {
      this.#count('cycles', 1);
      this.#count('slots', 1);
      this.#count('slotsRetiring', 1);
      return;
    }
    this.#charge(fetch, right ? 0 : this.#parameters.penalties.mispredict, memory, execution, 1);
  }

  /** Distributes an instruction's cycles; the latest causes lose what exceeds the most. */
  #charge(
    fetch: number,
    badSpeculation: number,
    memory: number,
    execution: number,
    retires: 0 | 1,
  ): void {
    let left = MOST_CYCLES - retires;
    const frontEnd = Math.min(fetch, left);
    left -= frontEnd;
    const wasted = Math.min(badSpeculation, left);
    left -= wasted;
    const memoryBound = Math.min(memory, left);
    left -= memoryBound;
    const coreBound = Math.min(execution, left);
    left -= coreBound;
    const all = MOST_CYCLES - left;
    this.#count('cycles', all);
    this.#count('slots', all);
    this.#count('slotsRetiring', retires);
    this.#count('slotsFrontEnd', frontEnd);
    this.#count('slotsBadSpeculation', wasted);
    this.#count('slotsBackEnd', memoryBound + coreBound);
    this.#count('slotsMemoryBound', memoryBound);
  }

  #translation(found: 'TLB' | 'STLB' | 'walk'): number {
    const { stlb, walk } = this.#parameters.penalties;
    return found === 'TLB' ? 0 : found === 'STLB' ? stlb : walk;
  }

  /** The line of physical memory in which the address lies, or NOWHERE. */
  #physicalLine(low: number, high: number): number {
    const page = low & ~4095;
    const slot = (low >>> PAGE_SHIFT) & (REMEMBERED - 1);
    const known =
      this.#known[slot] !== 0 && this.#pagesLow[slot] === page && this.#pagesHigh[slot] === high;
    if (!known) {
      const physical = this.#around.page(joined(page, high));
      this.#known[slot] = 1;
      this.#pagesLow[slot] = page;
      this.#pagesHigh[slot] = high;
      this.#lines[slot] = physical === undefined ? NOWHERE : physical / LINE;
    }
    const line = this.#lines[slot]!;
    return line === NOWHERE ? NOWHERE : line + ((low & 4095) >> LINE_SHIFT);
  }

  #data(line: number): number {
    const level = this.#caches.access('data', line);
    if (level === 'L1') return 0;
    this.#count('l1dMisses', 1);
    return this.#beyondL1(level);
  }

  /** Counts what a first-level miss found behind it. @returns its cycles. */
  #beyondL1(level: Level): number {
    const { l2, llc, memory } = this.#parameters.penalties;
    if (level === 'L1') return 0;
    if (level === 'L2') return l2;
    this.#count('l2Misses', 1);
    this.#count('llcReferences', 1);
    if (level === 'LLC') return llc;
    this.#count('llcMisses', 1);
    return memory;
  }

  /** The front end reads code line by line. */
  #fetch(low: number, high: number, length: number): number {
    const first = low >>> LINE_SHIFT;
    const last = first + (((low & 63) + length - 1) >> LINE_SHIFT);
    if (last === this.#line && first === last && high === this.#lineHigh) return 0;
    let cost = 0;
    const page = low >>> PAGE_SHIFT;
    if (page !== this.#page || high !== this.#pageHigh) {
      this.#page = page;
      this.#pageHigh = high;
      const found = this.#tlbs.access('code', pageKey(low, high));
      if (found === 'walk') this.#count('codeWalks', 1);
      cost += this.#translation(found);
    }
    for (let line = first; line <= last; line++) {
      if (line === this.#line && high === this.#lineHigh) continue;
      this.#line = line;
      this.#lineHigh = high;
      const physical = this.#physicalLine(line << LINE_SHIFT, high);
      if (physical !== NOWHERE) cost += this.#beyondL1(this.#caches.access('code', physical));
    }
    return cost;
  }

  /** Shows the predictor a branch. @returns whether it had it right; far transfers are nobody's to predict. */
  #predicts(
    branch: number,
    low: number,
    high: number,
    length: number,
    nextLow: number,
    nextHigh: number,
  ): boolean {
    const predictor = this.#predictor;
    const kind = branch >> FACT.BRANCH_SHIFT;
    let right = true;
    if (kind === PREDICTED.NOT_TAKEN || kind === PREDICTED.TAKEN) {
      right = predictor.direction(low, kind === PREDICTED.TAKEN);
      if (!right) this.#count('mispredictedConditional', 1);
    } else {
      const next = numeric(nextLow, nextHigh);
      if (kind === PREDICTED.RETURN) right = predictor.return(next);
      else if (kind !== PREDICTED.CALL) right = predictor.target(low, next);
      const calls = kind === PREDICTED.CALL || kind === PREDICTED.INDIRECT_CALL;
      if (calls) predictor.call(numeric(low, high) + length);
    }
    if (!right) this.#count('mispredictedBranches', 1);
    return right;
  }

  /** Instructions that act on the caches and the predictor themselves. */
  #maintain(what: Retired): void {
    const { op, operands } = what.insn;
    const { state } = this.#around;
    if (op === 'WRMSR') {
      const barrier =
        (state.gpr[1]! & 0xffff_ffffn) === IA32_PRED_CMD && (state.gpr[0]! & 1n) === 1n;
      if (barrier) this.#predictor.barrier();
    } else if (op === 'WBINVD' || op === 'INVD') this.#caches.clear();
    else if (maintains(op)) {
      const operand = operands.find((each): each is Memory => each.kind === 'mem');
      if (!operand) return;
      const linear = this.#around.operandAddress(operand, what);
      const line = this.#physicalLine(lowHalf(linear), highHalf(linear));
      if (line === NOWHERE) return;
      if (op.startsWith('CLFLUSH')) this.#caches.flush(line);
      else this.#caches.access('data', line);
    }
  }
}

/** A linear page as the TLBs know it: bits 42:12 of the address. */
const pageKey = (low: number, high: number): number =>
  ((high << (32 - PAGE_SHIFT)) | (low >>> PAGE_SHIFT)) & 0x7fff_ffff;
