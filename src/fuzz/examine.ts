import { chamberKey, type FuzzCase } from './case.ts';
import { type Alteration, Chamber } from './chamber.ts';
import type { Violation } from './finding.ts';
import { checkPolicy } from './oracles/expectations.ts';
import type { Trace } from './trace.ts';

/** What came of one case. */
export interface Examination {
  readonly trace: Trace;
  readonly violations: readonly Violation[];
}

/** Executes cases and asks the oracles. Machines are kept, so that a case of a kind that was met before starts at once. */
export class Examiner {
  readonly #alter: Alteration | undefined;
  readonly #chambers = new Map<string, Chamber>();

  /** @param alter what every machine is altered by before its first case: how a leaky twin is made */
  constructor(alter?: Alteration) {
    this.#alter = alter;
  }

  examine(fuzzed: FuzzCase): Examination {
    const trace = this.#chamber(fuzzed).run(fuzzed);
    return { trace, violations: [...checkPolicy(fuzzed, trace)] };
  }

  #chamber(fuzzed: FuzzCase): Chamber {
    const key = chamberKey(fuzzed);
    const known = this.#chambers.get(key);
    if (known) return known;
    const made = new Chamber(fuzzed, this.#alter);
    this.#chambers.set(key, made);
    return made;
  }
}
