import type { HostCpu } from '../host/cpu.ts';
import type { GuestMsr } from '../perf/guest-msrs.ts';
import { FIELDS } from '../vmx/fields.ts';

/** Bytes of an entry of an MSR list, and where in the page the host's list begins. */
const ENTRY = 16;
const HOST_LIST = 2048;

/** MSRs that VM entry gives the guest's value and VM exit the host's, by lists in one page (add_atomic_switch_msr). */
export class SwitchedMsrs {
  readonly #page: number;
  #current: readonly GuestMsr[] = [];

  constructor(page: number) {
    this.#page = page;
  }

  /** Prepares the current VMCS for the next entry: what is the same on both sides is in no list. */
  program(host: HostCpu, wanted: readonly GuestMsr[]): void {
    if (wanted.length === 0 && this.#current.length === 0) return;
    const listed = wanted.filter(({ host: own, guest }) => own !== guest);
    const same = (msr: GuestMsr, at: number) => {
      const old = this.#current[at];
      return old?.address === msr.address && old.guest === msr.guest && old.host === msr.host;
    };
    listed.forEach((msr, at) => {
      if (!same(msr, at)) this.#write(host, msr, at);
    });
    if (listed.length !== this.#current.length) this.#count(host, listed.length);
    this.#current = listed;
  }

  /** The VMCS has been written anew: nothing of what was programmed is in it. */
  forget(): void {
    this.#current = [];
  }

  save(): readonly GuestMsr[] {
    return this.#current;
  }

  restore(saved: readonly GuestMsr[]): void {
    this.#current = saved;
  }

  #write({ memory }: HostCpu, { address, host, guest }: GuestMsr, at: number): void {
    for (const [list, value] of [
      [this.#page, guest],
      [this.#page + HOST_LIST, host],
    ] as const) {
      memory.write(list + ENTRY * at, 8, BigInt(address));
      memory.write(list + ENTRY * at + 8, 8, value);
    }
  }

  #count(host: HostCpu, entries: number): void {
    host.vmwrite(FIELDS.VM_ENTRY_MSR_LOAD_ADDRESS.encoding, BigInt(this.#page));
    host.vmwrite(FIELDS.VM_ENTRY_MSR_LOAD_COUNT.encoding, BigInt(entries));
    host.vmwrite(FIELDS.VM_EXIT_MSR_LOAD_ADDRESS.encoding, BigInt(this.#page + HOST_LIST));
    host.vmwrite(FIELDS.VM_EXIT_MSR_LOAD_COUNT.encoding, BigInt(entries));
  }
}
