import type { Memory } from '../insn.ts';
import type { GeneratedObserver, Observer, Retired } from '../observer.ts';
import { STATE, TOTALS, type Total } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Stale } from '../system/core.ts';
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

/** Where each total lies in the state block. */
const PLACE = Object.fromEntries(TOTALS.map((name, i) => [name, STATE.TOTALS + 8 * i])) as Readonly<
  Record<Total, number>
>;

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
  readonly line: number;
  readonly page: number;
  readonly memory: number;
}

const IA32_PRED_CMD = 0x49n;
const PAGE = 4096;
const NOWHERE = -1;
/** Translations remembered, so that not every access walks the real page tables. */
const REMEMBERED = 1024;

/** A linear address as a number: its low 48 bits tell canonical addresses apart. */
const numeric = (linear: bigint): number => Number(linear & 0xffff_ffff_ffffn);
const signExtended = (linear: number): bigint =>
  BigInt(linear) | (linear >= 2 ** 47 ? 0xffff_0000_0000_0000n : 0n);

/**
 * A scalar core in order: one instruction retires at most in a cycle, and each further cycle is somebody's fault:
 * the front end's (fetch), bad speculation's, or the back end's (data, long instructions). It hears what retires and
 * adds to the totals. Deterministic; its rules and numbers are published in docs/counting.md.
 */
export class MicroArchitecture implements Observer {
  readonly #parameters: MicroArchitectureParameters;
  readonly #around: Surroundings;
  readonly #view: DataView;
  readonly #base: number;
  readonly #caches: Hierarchy;
  readonly #tlbs: Tlbs;
  readonly #predictor: Predictor;
  readonly #pages = new Float64Array(REMEMBERED).fill(NOWHERE);
  readonly #frames = new Float64Array(REMEMBERED);
  /** Line and page of the last fetch: going on in it costs nothing. */
  #line = NOWHERE;
  #page = NOWHERE;
  /** Cycles that data accesses of the instruction under way have cost. */
  #memory = 0;

  constructor(parameters: MicroArchitectureParameters, around: Surroundings) {
    this.#parameters = parameters;
    this.#around = around;
    this.#view = around.state.view;
    this.#base = around.state.base;
    this.#caches = new Hierarchy(parameters.caches);
    this.#tlbs = new Tlbs(parameters.tlbs);
    this.#predictor = new Predictor(parameters.predictor);
  }

  accessed(access: 'load' | 'store', linear: bigint, _physical: number, size: number): void {
    this.#access(access === 'store', numeric(linear), size);
  }

  retired(what: Retired): void {
    const { insn, linear, next, taken, repeats } = what;
    const facts = factsOf(insn);
    const conditional = facts >> FACT.BRANCH_SHIFT === PREDICTED.NOT_TAKEN;
    const outcome = (conditional && taken ? TAKEN : 0) | (repeats ? FACT.REPEATS : 0);
    this.#retire(facts + outcome, numeric(linear), insn.length, numeric(next));
    this.#maintain(what);
  }

  /** The same from generated code. */
  readonly generated: GeneratedObserver = {
    access: (store, linear, size) => this.#access(store, linear, size),
    retire: (facts, linear, length, next) => this.#retire(facts, linear, length, next),
  };

  /** The delivery takes cycles of the back end and retires nothing; the handler starts with a new fetch. */
  delivered(): void {
    this.#charge(0, 0, 0, this.#parameters.penalties.delivery, 0);
    this.#line = NOWHERE;
  }

  flushed(stale: Stale): void {
    this.#tlbs.flush(stale);
    this.#pages.fill(NOWHERE);
    this.#page = NOWHERE;
  }

  save(): SavedMicroArchitecture {
    return {
      caches: this.#caches.save(),
      tlbs: this.#tlbs.save(),
      predictor: this.#predictor.save(),
      line: this.#line,
      page: this.#page,
      memory: this.#memory,
    };
  }

  restore(saved: SavedMicroArchitecture): void {
    this.#caches.restore(saved.caches);
    this.#tlbs.restore(saved.tlbs);
    this.#predictor.restore(saved.predictor);
    this.#pages.fill(NOWHERE);
    this.#line = saved.line;
    this.#page = saved.page;
    this.#memory = saved.memory;
  }

  /** Adds to a total, half by half: no BigInt on this path. */
  #count(total: Total, times: number): void {
    if (times === 0) return;
    const at = this.#base + PLACE[total];
    const sum = this.#view.getUint32(at, true) + times;
    this.#view.setUint32(at, sum, true);
    if (sum > 0xffff_ffff) {
      this.#view.setUint32(at + 4, this.#view.getUint32(at + 4, true) + 1, true);
    }
  }

  /** A data access; in pieces where it lies in two pages. */
  #access(store: boolean, linear: number, size: number): void {
    const room = PAGE - (linear % PAGE);
    if (size > room) {
      this.#access(store, linear, room);
      this.#access(store, linear + room, size - room);
      return;
    }
    const physical = this.#physical(linear);
    if (physical === NOWHERE) return;
    const found = this.#tlbs.access('data', linear);
    if (found === 'walk') this.#count(store ? 'storeWalks' : 'loadWalks', 1);
    let cost = this.#translation(found);
    const last = lineOf(physical + size - 1);
    for (let line = lineOf(physical); line <= last; line++) cost += this.#data(line);
    this.#memory += cost;
  }

  #retire(facts: number, linear: number, length: number, next: number): void {
    const repeats = (facts & FACT.REPEATS) !== 0;
    const fetch = this.#fetch(linear, length);
    const right = repeats || this.#predicts(facts, linear, length, next);
    const execution = repeats ? 0 : facts & FACT.EXTRA_CYCLES;
    const memory = this.#memory;
    this.#memory = 0;
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

  /** Where the address lies in RAM, or NOWHERE. */
  #physical(linear: number): number {
    const offset = linear % PAGE;
    const page = linear - offset;
    const slot = (page / PAGE) % REMEMBERED;
    if (this.#pages[slot] !== page) {
      this.#pages[slot] = page;
      this.#frames[slot] = this.#around.page(signExtended(page)) ?? NOWHERE;
    }
    const frame = this.#frames[slot]!;
    return frame === NOWHERE ? NOWHERE : frame + offset;
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
  #fetch(linear: number, length: number): number {
    const first = lineOf(linear);
    const last = lineOf(linear + length - 1);
    if (first === this.#line && last === first) return 0;
    let cost = 0;
    const page = Math.floor(linear / PAGE);
    if (page !== this.#page) {
      this.#page = page;
      const found = this.#tlbs.access('code', linear);
      if (found === 'walk') this.#count('codeWalks', 1);
      cost += this.#translation(found);
    }
    for (let line = first; line <= last; line++) {
      if (line === this.#line) continue;
      this.#line = line;
      const physical = this.#physical(line * LINE);
      if (physical === NOWHERE) continue;
      cost += this.#beyondL1(this.#caches.access('code', lineOf(physical)));
    }
    return cost;
  }

  /** Shows the predictor a branch. @returns whether it had it right; far transfers are nobody's to predict. */
  #predicts(facts: number, linear: number, length: number, next: number): boolean {
    const branch = (facts & FACT.BRANCH) >> FACT.BRANCH_SHIFT;
    if (branch === 0) return true;
    const predictor = this.#predictor;
    let right = true;
    switch (branch) {
      case PREDICTED.NOT_TAKEN:
      case PREDICTED.TAKEN:
        right = predictor.direction(linear, branch === PREDICTED.TAKEN);
        if (!right) this.#count('mispredictedConditional', 1);
        break;
      case PREDICTED.RETURN:
        right = predictor.return(next);
        break;
      case PREDICTED.INDIRECT_JUMP:
        right = predictor.target(linear, next);
        break;
      case PREDICTED.INDIRECT_CALL:
        right = predictor.target(linear, next);
        predictor.call(linear + length);
        break;
      default:
        predictor.call(linear + length);
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
      const physical = this.#physical(numeric(this.#around.operandAddress(operand, what)));
      if (physical === NOWHERE) return;
      if (op.startsWith('CLFLUSH')) this.#caches.flush(lineOf(physical));
      else this.#caches.access('data', lineOf(physical));
    }
  }
}

const lineOf = (address: number): number => Math.floor(address / LINE);
