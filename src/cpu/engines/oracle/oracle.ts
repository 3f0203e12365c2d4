import { Fault } from '../../fault.ts';
import type { Insn } from '../../insn.ts';
import { retirement } from '../../retirement.ts';
import { emitInstruction } from '../../semantics/semantics.ts';
import type { Core } from '../../system/core.ts';
import { VmExit } from '../../vm-exit.ts';
import type { Engine, EngineExit } from '../engine.ts';
import { CodeFetch } from './code-fetch.ts';
import { OracleEmit } from './oracle-emit.ts';

const SLICE: EngineExit = { reason: 'slice' };

/** Executes the semantics one instruction at a time. Slow and readable; what the other engines are measured by. */
export class Oracle implements Engine {
  readonly #core: Core;
  readonly #emit: OracleEmit;
  readonly #fetch: CodeFetch;
  #fuel = 0;
  #stops: ReadonlySet<bigint> = new Set();

  /** `features` restricts decoding, as `decode` has it. */
  constructor(core: Core, features?: ReadonlySet<string>) {
    this.#core = core;
    this.#emit = new OracleEmit(core);
    this.#fetch = new CodeFetch(core, features);
  }

  run(fuel: number): EngineExit {
    this.#fuel = fuel;
    while (this.#fuel > 0) {
      const exit = this.step();
      if (exit) return exit;
      this.#fuel--;
      if (this.#stops.size > 0 && this.#stops.has(this.#core.linearRip)) break;
    }
    return SLICE;
  }

  stopBefore(addresses: ReadonlySet<bigint>): void {
    this.#stops = addresses;
  }

  /** One tick: an instruction, or one iteration of a REP instruction. Undefined when it went well. */
  step(): EngineExit | undefined {
    try {
      return this.#step();
    } catch (thrown) {
      this.#core.observer?.abandoned?.();
      if (thrown instanceof Fault || thrown instanceof VmExit)
        return { reason: 'fault', fault: thrown };
      throw thrown;
    }
  }

  /** It remembers a single translation, of the last fetch, and forgets it whatever is stale. */
  flush(): void {
    this.#fetch.flush();
  }

  retagged(): void {
    this.#fetch.flush();
  }

  debugChanged(): void {
    this.endSlice();
  }

  endSlice(): void {
    this.#fuel = 1;
  }

  #step(): EngineExit | undefined {
    const { state } = this.#core;
    const rip = state.rip;
    const insn = this.#fetch.insn(rip);
    const { observer } = this.#core;
    const linear = observer && this.#core.linearRip;
    const emit = this.#emit;
    emit.begin(insn, rip);
    emitInstruction(emit, insn);
    if (emit.outcome === 'system') return { reason: 'system', insn };
    if (emit.outcome === 'next') state.rip = emit.next();
    state.addTotal('ticks', 1);
    state.addTotal('unhaltedTicks', 1);
    const repeats = emit.outcome === 'repeats';
    this.#core.repeating = repeats;
    if (repeats) state.addTotal('repIterations', 1);
    else this.#retire(insn);
    if (linear !== undefined) {
      observer?.retired?.({ insn, linear, next: state.rip, taken: emit.taken, repeats });
    }
    return undefined;
  }

  #retire(insn: Insn): void {
    const { state } = this.#core;
    const { taken, loaded, stored, splitLoad, splitStore } = this.#emit;
    state.addTotal('instructions', 1);
    for (const total of retirement(insn)) state.addTotal(total, 1);
    if (loaded) state.addTotal('loads', 1);
    if (stored) state.addTotal('stores', 1);
    if (splitLoad) state.addTotal('splitLoads', 1);
    if (splitStore) state.addTotal('splitStores', 1);
    if (taken && retirement(insn).includes('conditionalBranches')) {
      state.addTotal('conditionalTaken', 1);
      state.addTotal('nearTaken', 1);
    }
  }
}
