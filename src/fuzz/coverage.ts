import { type FuzzCase, isAccess } from './case.ts';
import { placeOf } from './registers.ts';
import type { StepTrace, Trace } from './trace.ts';

/** Accesses of one kind that went one way. */
export interface CoverageCell {
  readonly design: string;
  /** Class of the register, or `counter`, `fixed`, `metrics`, `other type` of RDPMC. */
  readonly register: string;
  /** With `L2` before it where a guest's guest executes it. */
  readonly form: string;
  /** Path and outcome. */
  readonly outcome: string;
  readonly count: number;
}

const SEPARATOR = '\t';

/** How often each way through the intercepts was taken. Sums of parts are the whole, in whatever order they are added. */
export class Coverage {
  readonly #counts = new Map<string, number>();

  record(fuzzed: FuzzCase, { steps }: Trace): void {
    for (const [at, step] of fuzzed.steps.entries()) {
      const seen = steps[at]!;
      if (!isAccess(step) || seen.outcome === 'unreached') continue;
      const register = step.do.endsWith('rdpmc')
        ? rdpmcKind(step.register)
        : placeOf(step.register).class;
      const form = `${fuzzed.nested ? 'L2 ' : ''}${step.do.toUpperCase()}`;
      const key = [fuzzed.design, register, form, outcomeOf(fuzzed, seen)].join(SEPARATOR);
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }

  add(cells: readonly CoverageCell[]): void {
    for (const { design, register, form, outcome, count } of cells) {
      const key = [design, register, form, outcome].join(SEPARATOR);
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
    }
  }

  /** In the order of design, register, form, outcome. */
  cells(): CoverageCell[] {
    return [...this.#counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, count]) => {
        const [design = '', register = '', form = '', outcome = ''] = key.split(SEPARATOR);
        return { design, register, form, outcome, count };
      });
  }
}

/** What a guest hypervisor did about an access. */
const DID = { skip: 'skipped', 'carry-out': 'carried out', inject: 'injected' } as const;

function outcomeOf({ nested }: FuzzCase, { path, outcome, carried }: StepTrace): string {
  if (path === 'none') return outcome;
  if (path !== 'L1') return `${path} ${outcome}`;
  const own = carried ? ` ${carried}` : '';
  return `exit to L1, ${DID[nested!.onExit]}${own}: ${outcome}`;
}

function rdpmcKind(ecx: number): string {
  const type = ecx >>> 16;
  if (type === 0) return 'counter';
  if (type === 0x4000) return 'fixed';
  return type === 0x2000 ? 'metrics' : 'other type';
}
