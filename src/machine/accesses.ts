import type { Vcpu } from '../kvm/vcpu.ts';
import { pmuMsrs } from '../msr/pmu.ts';
import { ENTRY_FAILURE, exitReasonName } from '../vmx/exit-reasons.ts';
import type { Machine } from './machine.ts';
import type { DirectAccess } from './processor.ts';
import { VirtualMachine } from './virtual.ts';

/** One access of a guest to a register, whoever carried it out. */
export interface GuestAccess extends DirectAccess {
  /** The guest's processor. */
  readonly processor: number;
  /** By a VM exit. */
  readonly intercepted: boolean;
}

/** Hears of every RDMSR, WRMSR and RDPMC of a machine's guest from now on, once it is done and before it retires. */
export function onAccess(machine: Machine, tell: (access: GuestAccess) => void): void {
  for (const [processor, { accessed }] of machine.hardware.processors.entries()) {
    accessed.push((access) => tell({ ...access, processor, intercepted: false }));
  }
  if (!(machine instanceof VirtualMachine)) return;
  machine.watch({
    msr: ({ vcpu, access, address, value, fault }) =>
      tell({
        processor: vcpu,
        kind: access === 'read' ? 'RDMSR' : 'WRMSR',
        address,
        value: fault ? '#GP' : value,
        intercepted: true,
      }),
    rdpmc: ({ vcpu, ecx, value }) =>
      tell({ processor: vcpu, kind: 'RDPMC', address: ecx, value, intercepted: true }),
  });
}

/** Hears of every register that a VM entry or VM exit of a guest hypervisor loads, from now on. */
export function onLoad(
  machine: Machine,
  tell: (load: { processor: number; address: number; value: bigint }) => void,
): void {
  if (machine instanceof VirtualMachine) {
    machine.watch({ loaded: ({ vcpu, ...load }) => tell({ processor: vcpu, ...load }) });
    return;
  }
  for (const [processor, { vmx }] of machine.hardware.processors.entries()) {
    vmx.loaded.push((address, value) => tell({ processor, address, value }));
  }
}

/** Registers of the PMU as a guest reaches them, and how often by an exit and how often directly. */
export interface PmuAccess {
  readonly register: string;
  intercepted: number;
  direct: number;
}

/** Counts a guest's accesses to its PMU, from its start on: attach before the guest runs. */
export class PmuAccesses {
  readonly #rows = new Map<string, PmuAccess>();

  constructor(machine: Machine) {
    const addresses = pmuAddresses(machine);
    const { msrs } = machine.hardware.current;
    onAccess(machine, ({ kind, address, intercepted }) => {
      if (kind !== 'RDPMC' && !addresses.has(address)) return;
      const row = this.#row(kind === 'RDPMC' ? 'RDPMC' : msrs.name(address));
      if (intercepted) row.intercepted += 1;
      else row.direct += 1;
    });
  }

  /** By register, most often reached first. */
  list(): PmuAccess[] {
    return [...this.#rows.values()].sort(
      (a, b) =>
        b.intercepted + b.direct - (a.intercepted + a.direct) || (a.register < b.register ? -1 : 1),
    );
  }

  save(): readonly PmuAccess[] {
    return this.list().map((row) => ({ ...row }));
  }

  restore(saved: readonly PmuAccess[]): void {
    this.#rows.clear();
    for (const row of saved) this.#rows.set(row.register, { ...row });
  }

  #row(register: string): PmuAccess {
    const known = this.#rows.get(register) ?? { register, intercepted: 0, direct: 0 };
    this.#rows.set(register, known);
    return known;
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

/** VM exits of all vCPUs by reason, most frequent first; none on the bare machine. */
export const exitsByReason = (machine: Machine): Record<string, number> =>
  byReason(machine, ({ statistics }) => statistics.exits);

/** Cycles of root mode by the VM exit that led to them, dearest first; none on the bare machine. */
export const cyclesByReason = (machine: Machine): Record<string, number> =>
  byReason(machine, ({ exitTimes }) => exitTimes.byReason());

function byReason(
  machine: Machine,
  of: (vcpu: Vcpu) => ReadonlyMap<number, number>,
): Record<string, number> {
  if (!(machine instanceof VirtualMachine)) return {};
  const sums = new Map<number, number>();
  for (const [reason, value] of machine.vm.vcpus.flatMap((vcpu) => [...of(vcpu)])) {
    sums.set(reason, (sums.get(reason) ?? 0) + value);
  }
  return Object.fromEntries(
    [...sums]
      .sort(([a, value], [b, other]) => other - value || a - b)
      .map(([reason, value]) => [exitReasonName(reason), value]),
  );
}
