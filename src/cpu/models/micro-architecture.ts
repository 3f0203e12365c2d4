import type { Memory } from '../insn.ts';
import type { Observer, Retired } from '../observer.ts';
import type { Total } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Stale } from '../system/core.ts';
import { LINE } from './cache.ts';
import { extraCycles, MOST_CYCLES } from './costs.ts';
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

/** What the model asks of the core: where its totals are, and what a memory operand's address is. */
export interface Surroundings {
  readonly state: State;
  /** Physical address of code at a linear address, and of an operand that the instruction does not access. */
  codeAddress(linear: bigint): number | undefined;
  operandAddress(operand: Memory, what: Retired): number | undefined;
}

/** What the model needs to resume; plain data. */
export interface SavedMicroArchitecture {
  readonly caches: ReturnType<Hierarchy['save']>;
  readonly tlbs: ReturnType<Tlbs['save']>;
  readonly predictor: SavedPredictor;
  readonly line: number;
  readonly page: bigint;
  readonly memory: number;
}

const IA32_PRED_CMD = 0x49n;

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
  /** Line and page of the last fetch: going on in it costs nothing. */
  #line = -1;
  #page = -1n;
  /** Cycles that data accesses of the instruction under way have cost. */
  #memory = 0;

  constructor(parameters: MicroArchitectureParameters, around: Surroundings) {
    this.#parameters = parameters;
    this.#around = around;
    this.#caches = new Hierarchy(parameters.caches);
    this.#tlbs = new Tlbs(parameters.tlbs);
    this.#predictor = new Predictor(parameters.predictor);
  }

  accessed(access: 'load' | 'store', linear: bigint, physical: number, size: number): void {
    const found = this.#tlbs.access('data', linear);
    if (found === 'walk') this.#count(access === 'load' ? 'loadWalks' : 'storeWalks');
    let cost = this.#translation(found);
    for (let line = lineOf(physical); line <= lineOf(physical + size - 1); line++) {
      cost += this.#data(line);
    }
    this.#memory += cost;
  }

  retired(what: Retired): void {
    const { penalties } = this.#parameters;
    const fetch = this.#fetch(what.linear, what.insn.length);
    const badSpeculation = this.#predicts(what) ? 0 : penalties.mispredict;
    const execution = what.repeats ? 0 : extraCycles(what.insn);
    const memory = this.#memory;
    this.#memory = 0;
    this.#maintain(what);
    this.#charge({ fetch, badSpeculation, memory, execution });
  }

  /** The delivery takes cycles of the back end and retires nothing; the handler starts with a new fetch. */
  delivered(): void {
    this.#charge({ execution: this.#parameters.penalties.delivery, retires: 0 });
    this.#line = -1;
  }

  flushed(stale: Stale): void {
    this.#tlbs.flush(stale);
    this.#page = -1n;
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
    this.#line = saved.line;
    this.#page = saved.page;
    this.#memory = saved.memory;
  }

  #count(total: Total, times = 1): void {
    if (times > 0) this.#around.state.addTotal(total, BigInt(times));
  }

  /** Distributes an instruction's cycles; the latest causes lose what exceeds the most. */
  #charge(cycles: {
    fetch?: number;
    badSpeculation?: number;
    memory?: number;
    execution?: number;
    retires?: 0 | 1;
  }): void {
    const { fetch = 0, badSpeculation = 0, memory = 0, execution = 0, retires = 1 } = cycles;
    let left = MOST_CYCLES - retires;
    const take = (wanted: number) => {
      const taken = Math.min(wanted, left);
      left -= taken;
      return taken;
    };
    const frontEnd = take(fetch);
    const wasted = take(badSpeculation);
    const memoryBound = take(memory);
    const coreBound = take(execution);
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

  #data(line: number): number {
    const level = this.#caches.access('data', line);
    if (level !== 'L1') this.#count('l1dMisses');
    return this.#beyondL1(level);
  }

  /** Counts what a first-level miss found behind it. @returns its cycles. */
  #beyondL1(level: Level): number {
    const { l2, llc, memory } = this.#parameters.penalties;
    if (level === 'L1') return 0;
    if (level === 'L2') return l2;
    this.#count('l2Misses');
    this.#count('llcReferences');
    if (level === 'LLC') return llc;
    this.#count('llcMisses');
    return memory;
  }

  /** The front end reads code line by line. */
  #fetch(linear: bigint, length: number): number {
    const page = linear >> 12n;
    let cost = 0;
    if (page !== this.#page) {
      this.#page = page;
      const found = this.#tlbs.access('code', linear);
      if (found === 'walk') this.#count('codeWalks');
      cost += this.#translation(found);
    }
    const physical = this.#around.codeAddress(linear);
    if (physical === undefined) return cost;
    for (let line = lineOf(physical); line <= lineOf(physical + length - 1); line++) {
      if (line === this.#line) continue;
      this.#line = line;
      cost += this.#beyondL1(this.#caches.access('code', line));
    }
    return cost;
  }

  /** Shows the predictor a branch. @returns whether it had it right; far transfers are nobody's to predict. */
  #predicts({ insn, linear, next, taken }: Retired): boolean {
    const predictor = this.#predictor;
    const { op } = insn;
    const conditional = op === 'JCC' || op === 'JCXZ' || op.startsWith('LOOP');
    const indirect = insn.operands[0]?.kind !== 'rel';
    let right = true;
    if (conditional) right = predictor.direction(linear, taken);
    else if (op === 'RET') right = predictor.return(next);
    else if ((op === 'JMP' || op === 'CALL') && indirect) right = predictor.target(linear, next);
    if (op === 'CALL') predictor.call(linear + BigInt(insn.length));
    if (!right) {
      this.#count('mispredictedBranches');
      if (conditional) this.#count('mispredictedConditional');
    }
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
    else if (op.startsWith('CLFLUSH') || op.startsWith('PREFETCH')) {
      const operand = operands.find((each): each is Memory => each.kind === 'mem');
      const physical = operand && this.#around.operandAddress(operand, what);
      if (physical === undefined) return;
      if (op.startsWith('CLFLUSH')) this.#caches.flush(lineOf(physical));
      else this.#caches.access('data', lineOf(physical));
    }
  }
}

const lineOf = (physical: number): number => Math.floor(physical / LINE);

/** Whether an access at this address is split between two lines. */
export const splits = (linear: bigint, size: number): boolean =>
  Number(linear & BigInt(LINE - 1)) + size > LINE;
