import { pmuMsrs } from '../msr/pmu.ts';
import { ENTRY_FAILURE, EXIT_REASON, exitReasonName } from '../vmx/exit-reasons.ts';
import type { Machine } from './machine.ts';
import { VirtualMachine } from './virtual.ts';

/** Registers of the PMU as a guest reaches them, and how often by an exit and how often directly. */
export interface PmuAccess {
  readonly register: string;
  intercepted: number;
  direct: number;
}

const RDPMC = 'RDPMC';

/** Counts a guest's accesses to its PMU, from its start on: attach before the guest runs. */
export class PmuAccesses {
  readonly #machine: Machine;
  readonly #direct = new Map<string, number>();
  readonly #addresses: ReadonlySet<number>;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#addresses = pmuAddresses(machine);
    for (const processor of machine.hardware.processors) {
      processor.onDirectAccess = (kind, address) => {
        if (kind === 'rdpmc') this.#count(RDPMC);
        else if (this.#addresses.has(address)) this.#count(processor.msrs.name(address));
      };
    }
  }

  /** By register, most often reached first. */
  list(): PmuAccess[] {
    const rows = new Map<string, PmuAccess>();
    const row = (register: string) => {
      const known = rows.get(register) ?? { register, intercepted: 0, direct: 0 };
      rows.set(register, known);
      return known;
    };
    for (const [register, times] of this.#direct) row(register).direct = times;
    if (this.#machine instanceof VirtualMachine) {
      const { exits, msrExits } = this.#machine.vcpu.statistics;
      const { msrs } = this.#machine.hardware.current;
      for (const [address, { reads, writes }] of msrExits) {
        if (this.#addresses.has(address)) row(msrs.name(address)).intercepted += reads + writes;
      }
      const rdpmc = exits.get(EXIT_REASON.RDPMC) ?? 0;
      if (rdpmc > 0) row(RDPMC).intercepted = rdpmc;
    }
    return [...rows.values()].sort(
      (a, b) =>
        b.intercepted + b.direct - (a.intercepted + a.direct) || (a.register < b.register ? -1 : 1),
    );
  }

  #count(register: string): void {
    this.#direct.set(register, (this.#direct.get(register) ?? 0) + 1);
  }
}

function pmuAddresses({ hardware }: Machine): Set<number> {
  const addresses = new Set<number>();
  for (const row of Object.values(pmuMsrs(hardware.profile.pmu.shape))) {
    const {
      address,
      count = 1,
      stride = 1,
    } = row as { address: number; count?: number; stride?: number };
    for (let i = 0; i < count; i++) addresses.add(address + i * stride);
  }
  return addresses;
}

/** An exit reason as Linux names it, failed entries marked. */
export const exitName = (reason: number): string =>
  reason >= ENTRY_FAILURE ? `FAILED_VMENTRY ${exitReasonName(reason)}` : exitReasonName(reason);

/** VM exits by reason, most frequent first; none on the bare machine. */
export function exitsByReason(machine: Machine): Record<string, number> {
  if (!(machine instanceof VirtualMachine)) return {};
  const { exits } = machine.vcpu.statistics;
  return Object.fromEntries(
    [...exits]
      .sort(([a, times], [b, others]) => others - times || a - b)
      .map(([reason, times]) => [exitReasonName(reason), times]),
  );
}
