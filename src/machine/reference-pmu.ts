import { MsrBus } from '../msr/bus.ts';
import { pmuMsrs } from '../msr/pmu.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import { Pmu } from '../pmu/pmu.ts';
import { type GuestAccess, onAccess, onLoad } from './accesses.ts';
import type { Machine } from './machine.ts';
import type { Companion } from './processor.ts';
import { VirtualMachine } from './virtual.ts';

/** What software programs and reads the PMU by; IA32_DEBUGCTL and its like belong to others too. */
const COMPARED = /^IA32_((A_)?PMC|FIXED_CTR|PERFEVTSEL|PERF_GLOBAL_(CTRL|STATUS)$)/;
const GENERAL_PURPOSE = /^IA32_(?:A_)?PMC(\d+)$/;
const FIXED = /^IA32_FIXED_CTR(\d+)$/;
/** Bit of the first fixed counter in the global registers. */
const FIXED_BASE = 32;

/** A guest's access, and what a PMU of its own would have answered; of a write, what was written. */
export interface ComparedAccess extends GuestAccess {
  readonly expected: bigint | '#GP';
  /** The counter, by its bit in the global registers; absent where it is a register of another kind. */
  readonly counter: number | undefined;
}

/** The PMU that CPUID shows the guest. LBRs, PEBS and metrics are left out: their registers are not compared. */
function guestShape(machine: Machine): PmuShape {
  const whole =
    machine instanceof VirtualMachine
      ? machine.vcpu.vpmu.pmu.shape
      : machine.hardware.profile.pmu.shape;
  const { lbr: _lbr, pebs: _pebs, perfMetrics: _metrics, ...shape } = whole;
  return shape;
}

/**
 * The PMU the guest should have on its first processor: the same device, of the guest's shape, counting what the
 * guest alone does, ideally.
 * It is told every access of the guest's, and what VM entries and VM exits of its own load, so that each read can be
 * held against what it would have answered, and each PMI against the very instruction that made a counter wrap. It
 * has no effect on the run.
 */
export class ReferencePmu implements Companion {
  readonly #pmu: Pmu;
  readonly #bus = new MsrBus();
  /** Whether the processor is the guest's at the moment. */
  readonly #isGuests: () => boolean;
  readonly #inRootMode: () => boolean;
  /** By address, the counter that a compared register is. */
  readonly #compared: ReadonlyMap<number, number | undefined>;

  /** Attach before the guest runs. @param tell hears what is to be compared; @param pmi a counter that interrupts wrapped */
  constructor(
    machine: Machine,
    { tell, pmi }: { tell: (access: ComparedAccess) => void; pmi: () => void },
  ) {
    const { hardware, ledger } = machine;
    const processor = hardware.processors[0]!;
    const shape = guestShape(machine);
    this.#isGuests = () => ledger.inControl;
    const hosted = machine instanceof VirtualMachine;
    this.#inRootMode = () => hosted && processor.vmx.nonRoot === undefined;
    this.#pmu = new Pmu({
      profile: { ...hardware.profile.pmu, shape },
      totals: ledger,
      core: {
        changed: () => processor.cpu.attention(),
        arm: (names) => processor.instruments.keep(names, this),
      },
      timing: hardware.profile.timing ? 'modelled' : 'unit',
      raisePmi: pmi,
    });
    this.#pmu.attach(this.#bus);
    this.#compared = comparedRegisters(shape);
    processor.companion = this;
    onAccess(machine, (access) => {
      if (access.processor === 0) this.#access(access, tell);
    });
    onLoad(machine, ({ processor: id, address, value }) => {
      if (id === 0) this.#bus.wrmsr(address, value);
    });
    if (hosted) machine.watch({ retired: ({ vcpu }) => vcpu === 0 && this.settle() });
  }

  save() {
    return { pmu: this.#pmu.save(), registers: this.#bus.save() };
  }

  /** The machine and its ledgers have been restored already. */
  restore(saved: ReturnType<ReferencePmu['save']>): void {
    this.#bus.restore(saved.registers);
    this.#pmu.restore(saved.pmu);
  }

  settle(): void {
    this.#pmu.settle();
  }

  /** Root mode's privilege level is none of the guest's: what KVM retires for it retires at the guest's own. */
  modeChanged(mode: { cpl: number; halted: boolean }): void {
    if (!this.#inRootMode()) this.#pmu.modeChanged(mode);
  }

  horizon(): number {
    return this.#isGuests() ? this.#pmu.horizon() : Number.POSITIVE_INFINITY;
  }

  #access(access: GuestAccess, tell: (access: ComparedAccess) => void): void {
    const { kind, address, value } = access;
    if (kind === 'RDPMC') {
      tell({ ...access, expected: this.#pmu.rdpmc(address), counter: counterOfRdpmc(address) });
      return;
    }
    if (kind === 'WRMSR' && value !== '#GP') this.#bus.wrmsr(address, value);
    if (!this.#compared.has(address)) return;
    const counter = this.#compared.get(address);
    if (kind === 'RDMSR') {
      const expected = this.#bus.rdmsr(address);
      tell({ ...access, expected: expected === 'unclaimed' ? '#GP' : expected, counter });
    } else if (counter !== undefined) tell({ ...access, expected: value, counter });
  }
}

const counterOfRdpmc = (ecx: number): number =>
  (ecx & 0xffff) + ((ecx & 0x4000_0000) === 0 ? 0 : FIXED_BASE);

function comparedRegisters(shape: PmuShape): Map<number, number | undefined> {
  const bus = new MsrBus();
  bus.attach(pmuMsrs(shape));
  const compared = [...bus.registers()].filter(({ name }) => COMPARED.test(name));
  return new Map(
    compared.map(({ address, name }) => {
      const [gp, fixed] = [GENERAL_PURPOSE.exec(name), FIXED.exec(name)];
      if (gp) return [address, Number(gp[1])];
      return [address, fixed ? FIXED_BASE + Number(fixed[1]) : undefined];
    }),
  );
}
