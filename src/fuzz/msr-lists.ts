import type { HostedProgram } from '../machine/host-machine.ts';
import type { Processor } from '../machine/processor.ts';
import type { ListedMsr, MsrList } from './case.ts';
import { placeOf, type RegisterClass } from './registers.ts';

const COUNTERS: ReadonlySet<RegisterClass> = new Set(['PMC', 'A_PMC', 'FIXED_CTR']);
const ENTRY_SIZE = 16;
/** Of the exit reason: VM entry has failed. */
const ENTRY_FAILURE = 1 << 31;
const FIELDS = {
  'entry-load': 'VM_ENTRY_MSR_LOAD',
  'exit-store': 'VM_EXIT_MSR_STORE',
  'exit-load': 'VM_EXIT_MSR_LOAD',
} as const;
const LISTS = Object.keys(FIELDS) as MsrList[];
/** What a list's value starts as that VM exit is to overwrite. */
const UNTOUCHED = 0xdead_dead_dead_deadn;

/** A list of VM exit that did not do what it says. */
export interface ListFault {
  readonly address: number;
  readonly what: string;
}

/**
 * Entries of a case behind those that the hypervisor itself has in its MSR lists. They are there from just before
 * each VM entry to just after the exit: the hypervisor does not meet them.
 */
export class CaseLists {
  readonly #processor: Processor;
  readonly #guest: HostedProgram;
  readonly #page: number;
  #listed: readonly ListedMsr[] = [];
  /** The hypervisor's own, to be put back. */
  #own: {
    field: (typeof FIELDS)[MsrList];
    address: bigint;
    count: bigint;
    at: number;
    listed: ListedMsr[];
  }[] = [];

  constructor(processor: Processor, guest: HostedProgram) {
    this.#processor = processor;
    this.#guest = guest;
    this.#page = guest.vm.pages.allocate();
  }

  set(listed: readonly ListedMsr[]): void {
    this.#listed = listed;
    this.#own = [];
  }

  /** Just before a VM entry. */
  entering(): void {
    if (this.#listed.length === 0) return;
    const { vcpu } = this.#guest;
    const { memory } = vcpu.host;
    this.#own = LISTS.flatMap((list, number) => {
      const listed = this.#listed.filter((each) => each.list === list);
      if (listed.length === 0) return [];
      const field = FIELDS[list];
      const count = vcpu.read(`${field}_COUNT`);
      const address = vcpu.read(`${field}_ADDRESS`);
      const start = count > 0n ? Number(address) : this.#page + 0x400 * number;
      const at = start + Number(count) * ENTRY_SIZE;
      for (const [index, { address: msr, value }] of listed.entries()) {
        memory.write(at + index * ENTRY_SIZE, 8, BigInt(msr));
        const held = list === 'exit-store' ? UNTOUCHED : BigInt(value);
        memory.write(at + index * ENTRY_SIZE + 8, 8, held);
      }
      vcpu.write(`${field}_ADDRESS`, BigInt(start));
      vcpu.write(`${field}_COUNT`, count + BigInt(listed.length));
      return [{ field, address, count, at, listed }];
    });
  }

  /** Just after a VM exit, or a VM entry that failed, which stores nothing: what was stored is what the registers hold, what was loaded is in them. */
  exited(): ListFault[] {
    if (this.#own.length === 0) return [];
    const { vcpu } = this.#guest;
    const { msrs } = this.#processor;
    const entryFailed = (Number(vcpu.read('EXIT_REASON')) & ENTRY_FAILURE) !== 0;
    const { memory } = vcpu.host;
    const loads = this.#listed.some(({ list }) => list === 'exit-load');
    // Emulated, counters of the host count what it has done since.
    const goesOn = (address: number) =>
      vcpu.vpmu.design.kind === 'emulated' && COUNTERS.has(placeOf(address).class);
    const faults = this.#own.flatMap(({ at, listed }) =>
      listed.flatMap(({ list, address, value }, index): ListFault[] => {
        const holds = msrs.rdmsr(address);
        const stored = memory.read(at + index * ENTRY_SIZE + 8, 8);
        if (list === 'exit-load') {
          const is = holds === BigInt(value);
          return is ? [] : [{ address, what: 'is not what VM exit loads' }];
        }
        if (list === 'entry-load' || entryFailed || loads || stored === holds || goesOn(address))
          return [];
        return [{ address, what: 'is not what VM exit stored' }];
      }),
    );
    for (const { field, address, count } of this.#own) {
      vcpu.write(`${field}_ADDRESS`, address);
      vcpu.write(`${field}_COUNT`, count);
    }
    this.#own = [];
    return faults;
  }
}
