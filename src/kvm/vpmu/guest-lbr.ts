import { isSet } from '../../bits/bitfield.ts';
import type { HostCpu } from '../../host/cpu.ts';
import type { ReadOutcome, WriteOutcome } from '../../msr/bus.ts';
import { DEBUGCTL } from '../../msr/pmu.ts';
import { perfEventAttr, VLBR_EVENT } from '../../perf/attr.ts';
import { PerfError } from '../../perf/error.ts';
import { type PerfEvent, STATE } from '../../perf/event.ts';
import { lbrRegisters, USER_CALL_STACK } from '../../perf/lbr-stack.ts';
import type { Perf } from '../../perf/perf.ts';
import type { VpmuOwner } from './contract.ts';

interface SavedGuestLbr {
  readonly event: number | undefined;
  readonly passes: boolean;
}

/**
 * The guest's legacy LBRs (lbr_desc): a pinned event on the vCPU's thread that counts nothing and only claims the
 * stack. While it is ACTIVE the registers pass; otherwise they read 0 and writes to them are lost.
 */
export class GuestLbr {
  readonly #owner: VpmuOwner;
  readonly #perf: Perf;
  readonly #registers: ReadonlySet<number>;
  #event: PerfEvent | undefined;
  /** Guest accesses do not exit. */
  #passes = false;

  /** @param depth entries of the stack */
  constructor(owner: VpmuOwner, perf: Perf, depth: number) {
    this.#owner = owner;
    this.#perf = perf;
    this.#registers = new Set(lbrRegisters(depth));
  }

  /** Whether the guest has the stack now. */
  get isActive(): boolean {
    return this.#event?.state === STATE.ACTIVE;
  }

  /** A trapped access (intel_pmu_handle_lbr_msrs_access): the first one asks for the stack. */
  rdmsr(address: number): ReadOutcome {
    if (!this.#registers.has(address)) return 'unclaimed';
    this.#claim();
    return this.isActive ? this.#host.rdmsrSafe(address) : 0n;
  }

  wrmsr(address: number, value: bigint): WriteOutcome {
    if (!this.#registers.has(address)) return 'unclaimed';
    this.#claim();
    return this.isActive ? this.#host.wrmsrSafe(address, value) : 'done';
  }

  /** The guest has written IA32_DEBUGCTL. */
  debugctlWritten(value: bigint): void {
    if (isSet(value, DEBUGCTL.LBR)) this.#claim();
  }

  /** vmx_passthrough_lbr_msrs: before each VM entry, interrupts off. */
  sync(): void {
    if (this.#passes === this.isActive) return;
    this.#passes = this.isActive;
    for (const address of this.#registers) this.#owner.setIntercept(address, !this.#passes);
  }

  /** At the end of a scheduling slice: a guest that does not record gives the stack back. */
  cleanup(): void {
    if (!isSet(this.#owner.debugctl(), DEBUGCTL.LBR)) this.release();
  }

  release(): void {
    const event = this.#event;
    if (!event) return;
    this.#event = undefined;
    this.#host.within('perf-event-release', () => this.#perf.release(event));
  }

  save(): SavedGuestLbr {
    return { event: this.#event?.id, passes: this.#passes };
  }

  /** The event must have been restored with perf. */
  restore({ event, passes }: SavedGuestLbr): void {
    this.#event = event === undefined ? undefined : this.#perf.event(event);
    this.#passes = passes;
  }

  get #host(): HostCpu {
    return this.#owner.host();
  }

  /** intel_pmu_create_guest_lbr_event. What perf refuses is tried again at the next access. */
  #claim(): void {
    if (this.#event) return;
    const attr = perfEventAttr({
      config: VLBR_EVENT,
      pinned: true,
      excludeHost: true,
      branchSelect: USER_CALL_STACK,
    });
    try {
      this.#event = this.#host.within('perf-event-create', () =>
        this.#perf.create(attr, { task: this.#owner.task }),
      );
    } catch (error) {
      if (!(error instanceof PerfError)) throw error;
    }
  }
}
