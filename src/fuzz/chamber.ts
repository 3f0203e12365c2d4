import type { KvmObserver } from '../kvm/observer.ts';
import { perfOptionsOf } from '../kvm/vpmu/designs.ts';
import { exitName } from '../machine/accesses.ts';
import { type HostedProgram, HostMachine } from '../machine/host-machine.ts';
import type { Processor } from '../machine/processor.ts';
import { perfEventAttr } from '../perf/attr.ts';
import type { PerfEvent } from '../perf/event.ts';
import type { FuzzCase, HostAction } from './case.ts';
import { HYPERVISOR } from './guest/hypervisor.ts';
import { dirtyEnd, type Mode, stubImage } from './guest/image.ts';
import { enableApic, setLvtpc } from './guest/interrupts.ts';
import { CHAMBER_MEMORY, HOST_PORT, LAYOUT, READY_PORT } from './guest/layout.ts';
import { type ExitRecord, readExits, readStored, writeNested } from './guest/nested-tables.ts';
import { statusOf } from './guest/status.ts';
import { HOST_ACTIONS, readNmis, readResults, stepOf, writeSteps } from './guest/tables.ts';
import { HostWorkMeter } from './host-work.ts';
import { CaseLists } from './msr-lists.ts';
import { designOf, exposureOf, profileOf } from './profiles.ts';
import type { Provenance } from './provenance.ts';
import { leaveSecrets, tellingRegisters } from './secret.ts';
import { ChamberSnapshot } from './snapshot.ts';
import type { ForeignAccess, Path, Trace } from './trace.ts';
import { watch } from './watch.ts';

const RDI = 7;
/** RDPMC, RDMSR, WRMSR. */
const ACCESS_EXITS: ReadonlySet<unknown> = new Set([15, 31, 32]);
const isAccessExit = (reason: ExitRecord['reason']): boolean => ACCESS_EXITS.has(reason);
/**
 * Ticks a case may take. A hundred steps take 2.3 million at most, 20 million where each of them exits to a guest
 * hypervisor and last branch records are loaded and put at every exit: what takes more than this goes in circles.
 */
const BUDGET = { guest: 20_000_000n, nested: 60_000_000n } as const;
/** Work that another task of the host does when it gets the CPU. */
const OTHER_TASK = { ticks: 5_000, instructions: 2_500 } as const;
/** An interrupt of the host that asks nothing of it (Linux’s RESCHEDULE_VECTOR). */
const RESCHEDULE_VECTOR = 0xfd;
const DENY_ALL = { action: 'allow', events: [], fixedCounterBitmap: 0 } as const;

/** What of a case the machine depends on that executes it. */
export type ChamberParts = Pick<FuzzCase, 'design' | 'profile' | 'exposure' | 'nested'>;

/** Something that changes a machine before its first case: how a leaky twin is made. */
export type Alteration = (chamber: Chamber) => void;

/**
 * A host with one virtual machine in it, which executes any number of cases of one design, profile and exposure.
 * Each starts from the same snapshot of the guest before its first step, so none depends on another.
 */
export class Chamber {
  readonly machine: HostMachine;
  readonly guest: HostedProgram;
  readonly processor: Processor;
  readonly parts: ChamberParts;
  /** What a VM entry and a VM exit are looked at for. */
  onEntry: (() => void) | undefined;
  onExit: (() => void) | undefined;
  readonly #provenance: Provenance;
  readonly #lists: CaseLists;
  readonly #hostWork: HostWorkMeter;
  #foreign: ForeignAccess[] = [];
  readonly #snapshots = new Map<string, ChamberSnapshot>();
  readonly #boot: ChamberSnapshot;
  readonly #telling: readonly (readonly [number, bigint])[];
  readonly #dirty: DataView;
  #hostEvents: PerfEvent[] = [];
  #paths: Path[] = [];
  /** Of accesses by which a guest hypervisor carries those of its guest out. */
  #carried: Path[] = [];
  #exits: string[][] = [];

  constructor(parts: ChamberParts, alter?: Alteration) {
    this.parts = parts;
    const nested = parts.nested !== undefined;
    const design = designOf(parts.design);
    this.machine = new HostMachine({
      ...CHAMBER_MEMORY,
      profile: profileOf(parts.profile),
      perf: perfOptionsOf(design),
    });
    this.processor = this.machine.hardware.processors[0]!;
    this.#hostWork = new HostWorkMeter(() => this.processor.state.total('instructions'));
    this.guest = this.machine.start({
      code: stubImage({ cpl: 0, pce: false, nested }),
      design,
      nested,
      exposure: exposureOf(parts.exposure),
      observer: this.#observer(),
      memory: CHAMBER_MEMORY.guestsMemory,
    });
    const { vcpu, vm, board } = this.guest;
    const { ram } = this.guest;
    this.#dirty = new DataView(
      ram.linear.buffer,
      ram.offset(LAYOUT.DIRTY),
      dirtyEnd(nested) - LAYOUT.DIRTY,
    );
    board.ports.attach(READY_PORT, 1, {
      read: () => 0,
      write: () => vm.stop(),
    });
    board.ports.attach(HOST_PORT, 1, {
      read: () => 0,
      write: (_offset, _size, value) => this.#hostAction(HOST_ACTIONS[value]!),
    });
    this.processor.accessed.push(() => this.#accessed(this.processor.state.rip, 'direct'));
    this.#telling = tellingRegisters(this.processor);
    enableApic(vcpu.apic.page);
    this.#lists = new CaseLists(this.processor, this.guest);
    this.#provenance = watch(this);
    alter?.(this);
    this.#boot = new ChamberSnapshot(this);
  }

  get host() {
    return this.machine.hosts[0]!;
  }

  /** The part of guest memory that cases change. */
  get dirty(): DataView {
    return this.#dirty;
  }

  get #budget(): bigint {
    return this.parts.nested ? BUDGET.nested : BUDGET.guest;
  }

  /** The step the guest is in. */
  get step(): number {
    return stepOf(this.processor.state.gpr[RDI]!);
  }

  /** Writes down what the owner of a register did not allow. */
  tell(access: Omit<ForeignAccess, 'step' | 'rip'>): void {
    const { vmx, state } = this.processor;
    const rip = vmx.nonRoot ? state.rip : this.guest.vcpu.rip;
    this.#foreign.push({ ...access, step: this.step, rip });
  }

  /** Puts the machine where its guest stands before the first step, and its thread does not run. */
  reset(mode: Mode): void {
    this.#snapshot(mode).restore();
  }

  /** Runs the guest to its end. Where the host fails on the way the chamber is of no more use. */
  run(fuzzed: FuzzCase): Trace {
    this.reset(fuzzed);
    this.#paths = fuzzed.steps.map(() => 'none');
    this.#carried = [];
    this.#exits = fuzzed.steps.map(() => []);
    this.#foreign = [];
    let end: string;
    try {
      this.prepare(fuzzed);
      end = this.#toTheEnd(fuzzed);
    } catch (error) {
      end = error instanceof Error ? error.message : String(error);
    }
    return this.#trace(fuzzed, end);
  }

  /** Everything of a case that is state. */
  prepare(fuzzed: FuzzCase): void {
    const { vcpu, vm } = this.guest;
    this.#provenance.forget();
    writeSteps(this.#dirty, fuzzed.steps);
    if (fuzzed.nested) writeNested(this.#dirty, fuzzed.nested);
    for (const [address, access] of fuzzed.bitmap) {
      const bitmap = vm.bitmapFor(vcpu);
      bitmap.set(address, access, !bitmap.exits(address, access));
    }
    leaveSecrets(this.processor, this.#telling, fuzzed.host.secret);
    this.#hostEvents = [];
    if (this.machine.perf.hasHardware) {
      for (const { config, pinned, period } of fuzzed.host.events) {
        const attr = {
          config: BigInt(config),
          pinned,
          samplePeriod: BigInt(period),
          excludeGuest: true,
        };
        this.#hostEvents.push(this.machine.perf.create(perfEventAttr(attr), { cpu: 0 }));
      }
    }
    this.#hostWork.begin();
    for (const [address, value] of fuzzed.registers) vcpu.vpmu.wrmsr(address, BigInt(value));
    setLvtpc(vcpu.apic.page, fuzzed);
    const { pmu } = vcpu.vpmu;
    pmu.globalStatus |= statusOf(fuzzed, pmu.shape);
    vcpu.requests.pmi ||= fuzzed.pending === true;
    this.#lists.set(fuzzed.lists ?? []);
    vcpu.schedIn(this.host);
  }

  #trace(fuzzed: FuzzCase, end: string): Trace {
    const { steps, nested } = fuzzed;
    const toL1 = nested ? readExits(this.#dirty) : [];
    for (const { step, reason } of toL1 ?? []) {
      if (isAccessExit(reason)) this.#paths[step] = 'L1';
    }
    const memory = new Uint8Array(
      this.#dirty.buffer,
      this.#dirty.byteOffset,
      this.#dirty.byteLength,
    );
    return {
      steps: readResults(this.#dirty, steps.length).map((result, at) => ({
        ...result,
        path: this.#paths[at]!,
        ...(this.#carried[at] && { carried: this.#carried[at] }),
        exits: this.#exits[at]!,
      })),
      nmis: readNmis(this.#dirty),
      end,
      toL1,
      stored: readStored(this.#dirty, fuzzed),
      memory: memory.slice(),
      foreign: this.#foreign,
      hostCounts: this.#hostCounts(),
      hostWork: this.#hostWork.read(),
    };
  }

  /** Nothing where the time was over in the middle of guest code: the host cannot look then. */
  #hostCounts(): readonly bigint[] {
    if (this.guest.vcpu.inGuest) return [];
    return this.#hostEvents.map((event) => this.machine.perf.read(event)?.count ?? -1n);
  }

  #toTheEnd({ interruptions = [] }: FuzzCase): string {
    const { vcpu } = this.guest;
    const start = this.host.now();
    const until = start + this.#budget;
    const waiting = interruptions.map((ticks) => start + BigInt(ticks));
    for (;;) {
      const [next] = waiting;
      const stop = vcpu.step(next ?? until);
      if (stop === 'halted') return 'end';
      if (stop === 'budget' && waiting.shift() !== undefined) {
        this.host.receiveIpi(RESCHEDULE_VECTOR);
        continue;
      }
      if (stop !== 'preempted') return stop;
      vcpu.schedOut();
      this.host.needResched = false;
      this.host.work(OTHER_TASK.ticks, OTHER_TASK.instructions);
      vcpu.schedIn(this.host);
    }
  }

  #accessed(rip: bigint, path: Path): void {
    const by = HYPERVISOR.instructions.has(Number(rip)) ? this.#carried : this.#paths;
    by[this.step] = path;
  }

  #hostAction(action: HostAction): void {
    const { vcpu, vm } = this.guest;
    if (action === 'preempt') this.host.needResched = true;
    else if (action === 'deny-all') vm.setEventFilter(DENY_ALL);
    else if (action === 'allow-all') vm.setEventFilter(undefined);
    else if (action === 'reset') vcpu.vpmu.reset();
  }

  #snapshot(mode: Mode): ChamberSnapshot {
    const key = `${mode.cpl} ${mode.pce}`;
    const known = this.#snapshots.get(key);
    if (known) return known;
    const { vcpu, vm } = this.guest;
    this.#boot.restore();
    this.#lists.set([]);
    stubImage(mode).load(this.guest.ram);
    vcpu.schedIn(this.host);
    const stop = vcpu.step(this.host.now() + this.#budget);
    if (stop !== 'stopped') throw new RangeError(`the guest did not come up: ${stop}`);
    vcpu.schedOut();
    vm.stopped = false;
    const made = new ChamberSnapshot(this);
    this.#snapshots.set(key, made);
    return made;
  }

  #observer(): KvmObserver {
    return {
      entry: () => {
        this.onEntry?.();
        this.#lists.entering();
        this.#hostWork.leave();
      },
      vpmu: ({ step }) => {
        if (step === 'load') this.#hostWork.leave();
        else this.#hostWork.enter();
      },
      exit: ({ reason, rip }) => {
        // A PMU that has been handed over is put back later.
        if (this.guest.vcpu.vpmu.design.kind !== 'mediated') this.#hostWork.enter();
        const { step } = this;
        this.onExit?.();
        for (const { address, what } of this.#lists.exited()) this.tell({ what, address });
        this.#exits[step]?.push(exitName(reason));
        if (isAccessExit(reason)) this.#accessed(rip, 'exit');
      },
    };
  }
}
