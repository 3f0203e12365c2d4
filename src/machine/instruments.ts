import type { Cpu } from '../cpu/cpu.ts';
import { Fault } from '../cpu/fault.ts';
import type { Insn } from '../cpu/insn.ts';
import { MicroArchitecture, MODELLED } from '../cpu/models/micro-architecture.ts';
import type { MicroArchitectureParameters } from '../cpu/models/parameters.ts';
import { surroundings } from '../cpu/models/surroundings.ts';
import type { Observer, Retired } from '../cpu/observer.ts';
import { STATE, type Total } from '../cpu/state/layout.ts';
import { is64Bit } from '../cpu/system/mode.ts';
import { tsc } from '../cpu/system/register-access.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { BRANCH_KIND, type BranchKind, type TakenBranch } from '../pmu/lbr.ts';
import type { SampledState, Sampling } from '../pmu/ports.ts';

/** What cannot be reached gives nothing: PEBS drops the record. */
function attempt<T>(access: () => T): T | undefined {
  try {
    return access();
  } catch (thrown) {
    if (thrown instanceof Fault || thrown instanceof VmExit) return undefined;
    throw thrown;
  }
}

/** Kind of a near transfer; undefined for everything else. */
function nearKind({ op, operands }: Insn): BranchKind | undefined {
  const direct = operands[0]?.kind === 'rel';
  if (op === 'JMP') return direct ? BRANCH_KIND.NEAR_REL_JMP : BRANCH_KIND.NEAR_IND_JMP;
  if (op === 'CALL') return direct ? BRANCH_KIND.NEAR_REL_CALL : BRANCH_KIND.NEAR_IND_CALL;
  if (op === 'RET') return BRANCH_KIND.NEAR_RET;
  return op === 'JCC' || op === 'JCXZ' || op.startsWith('LOOP') ? BRANCH_KIND.COND : undefined;
}

/**
 * What listens to a core on the PMU's behalf: the timing model while a total of it is armed, LBRs while they record,
 * PEBS while it samples.
 */
export class Instruments {
  readonly #cpuOnceBuilt: () => Cpu;
  readonly #parameters: MicroArchitectureParameters | undefined;
  readonly #branch: (taken: TakenBranch) => void;
  #model: MicroArchitecture | undefined;
  #armed: readonly Total[] = [];
  readonly #kept = new Map<object, readonly Total[]>();
  #tracing = false;
  #sampling = false;
  /** Of the last instruction that retired, while PEBS samples. */
  #eventingIp = 0n;
  #dataAddress = 0n;
  #accessed = 0n;

  /** @param cpu gives the core, which is built later; @param timing none is unit timing. */
  constructor(parts: {
    cpu: () => Cpu;
    timing: MicroArchitectureParameters | undefined;
    branch: (taken: TakenBranch) => void;
  }) {
    this.#cpuOnceBuilt = parts.cpu;
    this.#parameters = parts.timing;
    this.#branch = parts.branch;
  }

  get #cpu(): Cpu {
    return this.#cpuOnceBuilt();
  }

  arm(names: readonly Total[]): void {
    this.#armed = names;
    this.#attach();
  }

  /** Totals that are kept whatever the PMU arms, for somebody who wants to know the truth. */
  keep(names: readonly Total[], keeper: object): void {
    this.#kept.set(keeper, names);
    this.#attach();
  }

  traceBranches(on: boolean): void {
    this.#tracing = on;
    this.#attach();
  }

  /** The core as PEBS samples it. */
  readonly sampling: Sampling = {
    arm: (on) => {
      this.#sampling = on;
      this.#attach();
    },
    state: () => this.#state(),
    read: (linear) => attempt(() => this.#cpu.core.memory.read(linear, 8, 'supervisor')),
    write: (linear, bytes) =>
      attempt(() => {
        const { memory } = this.#cpu.core;
        for (const [i, byte] of bytes.entries()) {
          memory.write(linear + BigInt(i), 1, BigInt(byte), 'supervisor');
        }
        return true;
      }) ?? false,
    writePhysical: (address, bytes) => {
      const { memory } = this.#cpu.core.ports;
      if (!memory.isRam(Number(address), bytes.length)) return false;
      memory.load(Number(address), bytes);
      return true;
    },
  };

  /** A far transfer, an interrupt or an exception, which the core reports apart. */
  far(from: bigint, to: bigint, cplFrom: number, cplTo: number): void {
    if (!this.#tracing) return;
    this.#branch({ kind: BRANCH_KIND.OTHER_BRANCH, from, to, cplFrom, cplTo, ...this.#timed() });
  }

  /** What the timing model's predictor has learnt is gone, whether the model listens now or not. */
  predictionBarrier(): void {
    this.#model?.barrier();
  }

  save() {
    return {
      model: this.#model?.save(),
      eventingIp: this.#eventingIp,
      dataAddress: this.#dataAddress,
    };
  }

  /** What is armed follows from the PMU, which is restored after this. */
  restore(saved: ReturnType<Instruments['save']>): void {
    this.#eventingIp = saved.eventingIp;
    this.#dataAddress = saved.dataAddress;
    if (saved.model) this.#modelled()?.restore(saved.model);
    else this.#model = undefined;
  }

  #attach(): void {
    const armed = [...new Set([...this.#armed, ...[...this.#kept.values()].flat()])];
    const needsModel = this.#tracing || armed.some((name) => MODELLED.has(name));
    const model = needsModel ? this.#modelled() : undefined;
    const listening = this.#tracing || this.#sampling;
    this.#cpu.arm(armed, listening ? this.#listener(model) : model);
  }

  #modelled(): MicroArchitecture | undefined {
    if (!this.#parameters) return undefined;
    this.#model ??= new MicroArchitecture(this.#parameters, surroundings(this.#cpu.core));
    return this.#model;
  }

  /** Near branches to the LBRs, with what the model made of them; what PEBS wants to know of each instruction. */
  #listener(model: MicroArchitecture | undefined): Observer {
    const { state } = this.#cpu;
    return {
      accessed: (access, linear, size) => {
        this.#accessed = linear;
        model?.accessed(access, linear, size);
      },
      abandoned: () => model?.abandoned(),
      delivered: () => model?.delivered(),
      flushed: (stale) => model?.flushed(stale),
      retired: (what: Retired) => {
        const before = state.total('mispredictedBranches');
        this.#eventingIp = what.linear;
        this.#dataAddress = this.#accessed;
        this.#accessed = 0n;
        model?.retired(what);
        const kind = this.#tracing && what.taken ? nearKind(what.insn) : undefined;
        if (kind === undefined) return;
        const mispredicted = state.total('mispredictedBranches') !== before;
        const { cpl } = state;
        const place = { from: what.linear, to: what.next, cplFrom: cpl, cplTo: cpl };
        this.#branch({ kind, ...place, mispredicted, ...this.#timed() });
      },
    };
  }

  #state(): SampledState {
    const { state, core } = this.#cpu;
    return {
      gpr: [...state.gpr],
      rflags: core.rflags,
      rip: state.rip,
      eventingIp: this.#eventingIp,
      code64: is64Bit(state),
      xmm: Array.from({ length: 16 }, (_, i) => {
        const at = STATE.XMM + 32 * i;
        return state.get(at) | (state.get(at + 8) << 64n);
      }),
      tsc: tsc(core),
      dataAddress: this.#dataAddress,
    };
  }

  #timed(): { cycles?: bigint } {
    return this.#parameters ? { cycles: this.#cpu.state.total('cycles') } : {};
  }
}
