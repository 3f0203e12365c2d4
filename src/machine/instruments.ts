import type { Cpu } from '../cpu/cpu.ts';
import type { Insn } from '../cpu/insn.ts';
import { MicroArchitecture, MODELLED } from '../cpu/models/micro-architecture.ts';
import type { MicroArchitectureParameters } from '../cpu/models/parameters.ts';
import { surroundings } from '../cpu/models/surroundings.ts';
import type { Observer, Retired } from '../cpu/observer.ts';
import type { Total } from '../cpu/state/layout.ts';
import { BRANCH_KIND, type BranchKind, type TakenBranch } from '../pmu/lbr.ts';

/** Kind of a near transfer; undefined for everything else. */
function nearKind({ op, operands }: Insn): BranchKind | undefined {
  const direct = operands[0]?.kind === 'rel';
  if (op === 'JMP') return direct ? BRANCH_KIND.NEAR_REL_JMP : BRANCH_KIND.NEAR_IND_JMP;
  if (op === 'CALL') return direct ? BRANCH_KIND.NEAR_REL_CALL : BRANCH_KIND.NEAR_IND_CALL;
  if (op === 'RET') return BRANCH_KIND.NEAR_RET;
  return op === 'JCC' || op === 'JCXZ' || op.startsWith('LOOP') ? BRANCH_KIND.COND : undefined;
}

/** What listens to a core on the PMU's behalf: the timing model while a total of it is armed, LBRs while they record. */
export class Instruments {
  readonly #cpu: Cpu;
  readonly #parameters: MicroArchitectureParameters | undefined;
  readonly #branch: (taken: TakenBranch) => void;
  #model: MicroArchitecture | undefined;
  #armed: readonly Total[] = [];
  #tracing = false;

  /** @param timing parameters of the timing model; none: unit timing. */
  constructor(parts: {
    cpu: Cpu;
    timing: MicroArchitectureParameters | undefined;
    branch: (taken: TakenBranch) => void;
  }) {
    this.#cpu = parts.cpu;
    this.#parameters = parts.timing;
    this.#branch = parts.branch;
  }

  arm(names: readonly Total[]): void {
    this.#armed = names;
    this.#attach();
  }

  traceBranches(on: boolean): void {
    this.#tracing = on;
    this.#attach();
  }

  /** A far transfer, an interrupt or an exception, which the core reports apart. */
  far(from: bigint, to: bigint, cplFrom: number, cplTo: number): void {
    if (!this.#tracing) return;
    this.#branch({ kind: BRANCH_KIND.OTHER_BRANCH, from, to, cplFrom, cplTo, ...this.#timed() });
  }

  save() {
    return { model: this.#model?.save() };
  }

  /** What is armed follows from the PMU, which is restored after this. */
  restore(saved: ReturnType<Instruments['save']>): void {
    if (saved.model) this.#modelled()?.restore(saved.model);
    else this.#model = undefined;
  }

  #attach(): void {
    const needsModel = this.#tracing || this.#armed.some((name) => MODELLED.has(name));
    const model = needsModel ? this.#modelled() : undefined;
    this.#cpu.arm(this.#armed, this.#tracing ? this.#tracer(model) : model);
  }

  #modelled(): MicroArchitecture | undefined {
    if (!this.#parameters) return undefined;
    this.#model ??= new MicroArchitecture(this.#parameters, surroundings(this.#cpu.core));
    return this.#model;
  }

  /** Near branches to the LBRs, with what the model made of them. */
  #tracer(model: MicroArchitecture | undefined): Observer {
    const { state } = this.#cpu;
    return {
      accessed: (access, linear, physical, size) => model?.accessed(access, linear, physical, size),
      delivered: () => model?.delivered(),
      flushed: (stale) => model?.flushed(stale),
      retired: (what: Retired) => {
        const before = state.total('mispredictedBranches');
        model?.retired(what);
        const kind = what.taken ? nearKind(what.insn) : undefined;
        if (kind === undefined) return;
        const mispredicted = state.total('mispredictedBranches') !== before;
        const { cpl } = state;
        const place = { from: what.linear, to: what.next, cplFrom: cpl, cplTo: cpl };
        this.#branch({ kind, ...place, mispredicted, ...this.#timed() });
      },
    };
  }

  #timed(): { cycles?: bigint } {
    return this.#parameters ? { cycles: this.#cpu.state.total('cycles') } : {};
  }
}
