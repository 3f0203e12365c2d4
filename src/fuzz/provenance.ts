import type { Vcpu } from '../kvm/vcpu.ts';
import type { Processor } from '../machine/processor.ts';
import { ADDRESSES, placeOf } from './registers.ts';

/** Whose value a register holds. */
export type Owner =
  /** The host left it there. */
  | 'host'
  /** The guest's own, or what the hypervisor put there for it. */
  | 'guest'
  /** A zero: it says nothing about anybody. */
  | 'nobody';

/** A guest read a register that holds somebody else's value. */
export interface ForeignRead {
  readonly kind: 'RDMSR' | 'RDPMC';
  /** ECX. */
  readonly address: number;
  readonly owner: Owner;
}

const WATCHED = new Set([
  ...(['PMC', 'A_PMC', 'FIXED_CTR', 'PERFEVTSEL', 'FIXED_CTR_CTRL', 'GLOBAL_STATUS'] as const),
  ...([
    'PERF_METRICS',
    'OFFCORE_RSP',
    'LD_LAT',
    'FRONTEND',
    'RELOAD',
    'RELOAD_CAUSES',
    'PEBS',
    'LBR',
  ] as const),
]);

const PMC0 = 0x0c1;
const PERFEVTSEL0 = 0x186;
const FIXED_CTR0 = 0x309;
const GLOBAL_STATUS = 0x38e;
const PERF_METRICS = 0x329;
/** Registers through which software changes another one. */
const STATUS_WRITES: ReadonlySet<number> = new Set([0x390, 0x391]);

/** One name for a register that has several. */
function oneName(address: number): number | undefined {
  if (STATUS_WRITES.has(address)) return GLOBAL_STATUS;
  const { class: kind, index, version6 } = placeOf(address);
  if (!WATCHED.has(kind as 'PMC')) return undefined;
  if (kind === 'A_PMC' || kind === 'PMC') return PMC0 + index;
  if (kind === 'FIXED_CTR') return FIXED_CTR0 + index;
  return kind === 'PERFEVTSEL' && version6 ? PERFEVTSEL0 + index : address;
}

const NAMES: ReadonlyMap<number, number | undefined> = new Map(
  ADDRESSES.map((address) => [address, oneName(address)]),
);

/** That name; undefined for what holds no count, record or choice of anybody. */
const watched = (address: number): number | undefined => NAMES.get(address);

function watchedByRdpmc(ecx: number): number | undefined {
  const type = ecx >>> 16;
  if (type === 0) return PMC0 + (ecx & 0xffff);
  if (type === 0x4000) return FIXED_CTR0 + (ecx & 0xffff);
  return type === 0x2000 ? PERF_METRICS : undefined;
}

/** What of a vCPU's virtual PMU handles the guest's own values. */
const FOR_THE_GUEST = ['load', 'sync', 'wrmsr', 'instructionRetired', 'refresh', 'reset'] as const;

/**
 * Tags the PMU registers of one processor with their owner, by watching who writes what while a guest and its host
 * share them. The guest reading a register that is the host's is told at that instruction.
 */
export class Provenance {
  readonly #owners = new Map<number, Owner>();
  readonly #tell: (read: ForeignRead) => void;
  /** Root-mode software acts for the guest now. */
  #forGuest = false;

  constructor(processor: Processor, vcpu: Vcpu, tell: (read: ForeignRead) => void) {
    this.#tell = tell;
    this.#watchRoot(processor);
    this.#watchVpmu(vcpu);
    processor.accessed.push(({ kind, address, value }) => {
      const register = kind === 'RDPMC' ? watchedByRdpmc(address) : watched(address);
      if (register === undefined || value === '#GP') return;
      if (kind === 'WRMSR') this.#owners.set(register, 'guest');
      else if (this.owner(register) === 'host') this.#tell({ kind, address, owner: 'host' });
    });
  }

  /** Whose value an MSR holds; of a register nobody has written, nobody's. */
  owner(address: number): Owner {
    return this.#owners.get(watched(address) ?? address) ?? 'nobody';
  }

  /** Everything is nobody's again. */
  forget(): void {
    this.#owners.clear();
    this.#forGuest = false;
  }

  /** Root-mode software reaches the registers through the bus and through RDPMC. */
  #watchRoot(processor: Processor): void {
    const { msrs, pmu } = processor;
    const inRoot = () => processor.vmx.nonRoot === undefined;
    const [rdmsr, wrmsr, rdpmc] = [msrs.rdmsr, msrs.wrmsr, pmu.rdpmc];
    msrs.wrmsr = (address, value) => {
      const outcome = wrmsr.call(msrs, address, value);
      const register = watched(address);
      if (register !== undefined && outcome === 'done' && inRoot()) this.#written(register, value);
      return outcome;
    };
    msrs.rdmsr = (address) => {
      const register = watched(address);
      if (register !== undefined && inRoot()) this.#compared(register);
      return rdmsr.call(msrs, address);
    };
    pmu.rdpmc = (ecx) => {
      const register = watchedByRdpmc(ecx);
      if (register !== undefined && inRoot()) this.#compared(register);
      return rdpmc.call(pmu, ecx);
    };
  }

  #written(register: number, value: bigint): void {
    const nobodys = value === 0n && register !== GLOBAL_STATUS;
    this.#owners.set(register, this.#forGuest ? 'guest' : nobodys ? 'nobody' : 'host');
  }

  /** Loading leaves a register out that already holds the guest's value: having looked, it is the guest's. */
  #compared(register: number): void {
    if (this.#forGuest) this.#owners.set(register, 'guest');
  }

  #watchVpmu({ vpmu }: Vcpu): void {
    for (const name of FOR_THE_GUEST) {
      const method = vpmu[name] as (...told: unknown[]) => unknown;
      Object.assign(vpmu, {
        [name]: (...told: unknown[]) => {
          const outer = this.#forGuest;
          this.#forGuest = true;
          try {
            return method.apply(vpmu, told);
          } finally {
            this.#forGuest = outer;
          }
        },
      });
    }
  }
}
