import { TOTALS } from '../cpu/state/layout.ts';
import { RESCHEDULE_VECTOR } from '../host/cpu.ts';
import { HostTimers } from '../host/timers.ts';
import { PerfError } from '../perf/error.ts';
import type { PerfEvent } from '../perf/event.ts';
import { attachPerf } from '../perf/host-kernel.ts';
import { scaled } from '../perf/perf.ts';
import { attributesOf, EventTruth, type RequestedEvent } from './event-list.ts';
import type { VirtualMachine } from './virtual.ts';

/** What became of one event of the host beside a guest, on all processors together. */
export interface HostEventReport {
  /** As it was typed. */
  readonly name: string;
  /** perf's errno with a minus, where it refused the event. */
  readonly refused: string | undefined;
  /** Instructions of the guest after which it went to ERROR, on the processor where that came first. */
  readonly errorAt: bigint | undefined;
  /** What its counters have counted. */
  readonly count: bigint;
  /** What perf says, scaled where it had a counter for a part of the time; absent in ERROR and where it never had one. */
  readonly read: bigint | undefined;
  /** Ticks it was enabled, and was on a counter. */
  readonly enabled: bigint;
  readonly running: bigint;
  /** What happened on the processors and matches its modifiers; absent where `u` or `k` cuts the guest in two. */
  readonly truth: bigint | undefined;
}

/** Every event of the host's perf, and how often an event of KVM's own went to ERROR: a guest's counter without one of the host's. */
export interface HostEventsReport {
  readonly events: readonly HostEventReport[];
  readonly guestErrors: number;
}

interface Opened {
  readonly request: RequestedEvent;
  /** By processor. */
  readonly events: readonly PerfEvent[];
  readonly refused: string | undefined;
}

/** Events of host perf on every processor, opened once the VM exists and before its guest runs, as `perf stat -a` would. */
export class HostEvents {
  readonly #machine: VirtualMachine;
  readonly #truth: EventTruth;
  readonly #opened: readonly Opened[];
  /** By processor, what had happened when the events were opened. */
  readonly #before: readonly ReadonlyMap<string, bigint>[];
  /** Instructions of the guest by then. */
  readonly #errors = new Map<PerfEvent, bigint>();
  #guestErrors = 0;

  constructor(machine: VirtualMachine, requests: readonly RequestedEvent[]) {
    const { perf, hosts, hardware } = machine;
    this.#machine = machine;
    this.#truth = new EventTruth(hardware, requests);
    const timers = hosts.map((host) => new HostTimers(host));
    const time = { timers: (cpu: number) => timers[cpu]!, ticks: false, tickLength: 0 };
    attachPerf(perf, { ...time, onTick: () => {} }, { cpus: hosts.map(({ id }) => id) });
    perf.onError = (leader) => this.#failed(leader);
    this.#opened = requests.map((request) => this.#open(request));
    this.#before = hardware.processors.map(
      ({ state }) => new Map(TOTALS.map((name) => [name, state.total(name)])),
    );
  }

  /** Brings every processor to root mode and reads the events. */
  read(): HostEventsReport {
    this.#interruptGuest();
    return {
      events: this.#opened.map((opened) => this.#report(opened)),
      guestErrors: this.#guestErrors,
    };
  }

  #open(request: RequestedEvent): Opened {
    const { perf, hosts } = this.#machine;
    try {
      const events = hosts.map(({ id }) => perf.create(attributesOf(request), { cpu: id }));
      return { request, events, refused: undefined };
    } catch (error) {
      if (!(error instanceof PerfError)) throw error;
      return { request, events: [], refused: `-${error.errno}` };
    }
  }

  #failed(leader: PerfEvent): void {
    // KVM's events follow the threads of vCPUs.
    if (leader.context.kind === 'task') this.#guestErrors += 1;
    else this.#errors.set(leader, this.#machine.spent.instructions);
  }

  #report({ request, events, refused }: Opened): HostEventReport {
    const { perf } = this.#machine;
    const each = events.map((event, cpu) => {
      const truth = this.#count(request, cpu);
      const reading = perf.read(event);
      const { count = 0n, enabled = 0n, running = 0n } = reading ?? {};
      const read = reading && running > 0n ? scaled(reading) : undefined;
      return { truth, read, count, enabled, running };
    });
    const errors = events.flatMap((event) => this.#errors.get(event) ?? []);
    const errorAt = errors.reduce<bigint | undefined>(
      (least, at) => (least === undefined || at < least ? at : least),
      undefined,
    );
    return {
      name: request.name,
      refused,
      errorAt,
      count: each.reduce((all, { count }) => all + count, 0n),
      read: sum(each.map(({ read }) => read)),
      enabled: each.reduce((all, { enabled }) => all + enabled, 0n),
      running: each.reduce((all, { running }) => all + running, 0n),
      truth: sum(each.map(({ truth }) => truth)),
    };
  }

  /** What a counter that was there all the time would have counted by now. */
  #count(request: RequestedEvent, cpu: number): bigint | undefined {
    const { excludeUser, excludeKernel, excludeHost, excludeGuest } = attributesOf(request);
    if ((excludeUser || excludeKernel) && !excludeGuest) return undefined;
    const { state } = this.#machine.hardware.processors[cpu]!;
    const ledger = this.#machine.ledgers[cpu]!;
    return this.#truth.of(request, (name) => {
      const guest = ledger.inPerson(name);
      const host = state.total(name) - this.#before[cpu]!.get(name)! - guest;
      // Root-mode software is at CPL 0, all of it.
      return (excludeHost || excludeKernel ? 0n : host) + (excludeGuest ? 0n : guest);
    });
  }

  #interruptGuest(): void {
    for (const vcpu of this.#machine.vm.vcpus) {
      if (!vcpu.inGuest) continue;
      const { host } = vcpu;
      host.needResched = true;
      host.receiveIpi(RESCHEDULE_VECTOR);
      while (vcpu.inGuest) vcpu.step(host.now() + 1n);
      host.needResched = false;
    }
  }
}

/** Absent where there is nothing, or anything is absent. */
const sum = (values: readonly (bigint | undefined)[]): bigint | undefined =>
  values.length === 0
    ? undefined
    : values.reduce((all, value) =>
        all === undefined || value === undefined ? undefined : all + value,
      );
