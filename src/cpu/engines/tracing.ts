import { Fault } from '../fault.ts';
import type { Core } from '../system/core.ts';
import type { Stale } from '../system/translation-tags.ts';
import { VmExit } from '../vm-exit.ts';
import type { Engine, EngineExit } from './engine.ts';
import { CodeFetch } from './oracle/code-fetch.ts';
import { Oracle } from './oracle/oracle.ts';

/** An instruction that is about to be executed. */
export interface Step {
  readonly rip: bigint;
  readonly bytes: Uint8Array;
  /** Bytes of an address in its code: 2, 4 or 8. */
  readonly codeSize: 2 | 4 | 8;
}

/** Another engine that can be told to name each instruction before it executes it, by the oracle then. */
export class TracingEngine implements Engine {
  /** Hears of each instruction, once for all iterations of a REP, while it is set. */
  tell: ((step: Step) => void) | undefined;
  readonly #core: Core;
  readonly #inner: Engine;
  readonly #oracle: Oracle;
  readonly #fetch: CodeFetch;
  #stops: ReadonlySet<bigint> = new Set();
  #ended = false;
  /** What was told last, and how much had retired then: an iteration is no new instruction. */
  #told = { linear: -1n, instructions: -1n };

  constructor(core: Core, inner: Engine) {
    this.#core = core;
    this.#inner = inner;
    this.#oracle = new Oracle(core);
    this.#fetch = new CodeFetch(core, undefined);
  }

  run(fuel: number): EngineExit {
    if (!this.tell) return this.#inner.run(fuel);
    this.#ended = false;
    for (let left = fuel; left > 0 && !this.#ended; left--) {
      this.#look(this.tell);
      const exit = this.#oracle.step();
      if (exit) return exit;
      if (this.#stops.has(this.#core.linearRip)) break;
    }
    return { reason: 'slice' };
  }

  stopBefore(addresses: ReadonlySet<bigint>): void {
    this.#stops = addresses;
    this.#inner.stopBefore(addresses);
  }

  flush(stale: Stale): void {
    this.#inner.flush(stale);
    this.#oracle.flush();
    this.#fetch.flush();
  }

  retagged(): void {
    this.#inner.retagged();
    this.#oracle.retagged();
    this.#fetch.flush();
  }

  debugChanged(): void {
    this.#inner.debugChanged();
    this.endSlice();
  }

  endSlice(): void {
    this.#ended = true;
    this.#inner.endSlice();
  }

  goesOn(): boolean {
    return this.tell === undefined && this.#inner.goesOn?.() === true;
  }

  /** What cannot be fetched faults in a moment; there is nothing to tell of it. */
  #look(tell: (step: Step) => void): void {
    const { state, linearRip: linear } = this.#core;
    const instructions = state.total('instructions');
    if (linear === this.#told.linear && instructions === this.#told.instructions) return;
    this.#told = { linear, instructions };
    try {
      const { length, codeSize } = this.#fetch.insn(state.rip);
      tell({ rip: state.rip, bytes: this.#bytes(linear, length), codeSize });
    } catch (thrown) {
      if (!(thrown instanceof Fault || thrown instanceof VmExit)) throw thrown;
    }
  }

  #bytes(linear: bigint, length: number): Uint8Array {
    const { paging, privilege, ports } = this.#core;
    return Uint8Array.from({ length }, (_, at) => {
      const { physical } = paging.translate(linear + BigInt(at), 'execute', privilege);
      return Number(ports.memory.read(physical, 1));
    });
  }
}
