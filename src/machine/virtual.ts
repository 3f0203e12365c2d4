import { HostCpu } from '../host/cpu.ts';
import { PageAllocator } from '../host/pages.ts';
import type { CpuPorts } from '../host/ports.ts';
import { RESET_STATE } from '../kvm/guest-state.ts';
import { Kvm } from '../kvm/kvm.ts';
import { join, type KvmObserver } from '../kvm/observer.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import { Vm } from '../kvm/vm.ts';
import { perfOptionsOf, type VpmuDesign } from '../kvm/vpmu/designs.ts';
import type { PmuExposure } from '../kvm/vpmu/exposure.ts';
import { Perf } from '../perf/perf.ts';
import type { Board } from './board.ts';
import { type Budget, isUsedUp, type Left, leftOf, runningLeft, Stillness } from './budget.ts';
import type { GuestImage } from './guest-image.ts';
import { guestState } from './guest-state.ts';
import { Hardware } from './hardware.ts';
import { GuestLedger } from './ledger.ts';
import { type Machine, machineDigest } from './machine.ts';
import type { MachineParts } from './options.ts';
import type { RunReason, RunResult } from './outcome.ts';
import { enterRootMode, rootCpu } from './root-cpu.ts';
import { Turns, type TurnTaker } from './turns.ts';
import { VmBoard } from './vm-board.ts';

/** The host's own memory, below its guest's. */
const HOST_MEMORY = 16 << 20;
const HOST_PAGES = 1 << 20;

/** The guest in a virtual machine, on a host whose kernel and hypervisor run on the same processors: a vCPU on each. */
export class VirtualMachine implements Machine {
  readonly hardware: Hardware;
  readonly board: Board;
  readonly ledgers: readonly GuestLedger[];
  readonly regions: GuestImage['regions'];
  readonly boot: GuestImage['boot'];
  readonly memorySize: number;
  readonly hosts: readonly HostCpu[];
  readonly perf: Perf;
  readonly vm: Vm;
  readonly #turns: Turns;
  /** Books what KVM retires on the guest's behalf to the guest, then tells whoever watches. */
  readonly #observer: KvmObserver = {
    retired: ({ vcpu, branch }) =>
      this.ledgers[vcpu]!.retire([
        ['instructions', 1n],
        ...(branch ? ([['branches', 1n]] as const) : []),
      ]),
  };
  readonly #pages: PageAllocator;
  readonly #stillness = new Stillness();
  #shutdown = false;

  constructor(parts: MachineParts & { design: VpmuDesign; observer?: KvmObserver }) {
    const { image, profile, memorySize, engine, seed, onOutput, input, design, observer } = parts;
    const { processors = 1, nested = false } = parts;
    if (observer) this.watch(observer);
    const nothing = { read: () => 0xffff_ffff, write: () => {} };
    this.hardware = new Hardware({
      profile,
      memorySize: HOST_MEMORY + memorySize,
      processors,
      engine,
      seed,
      io: nothing,
    });
    const { memory } = this.hardware;
    this.ledgers = this.hardware.processors.map(({ state }) => new GuestLedger(state));
    for (const processor of this.hardware.processors) enterRootMode(processor);
    this.hosts = this.hardware.processors.map((_, id) => new HostCpu(this.#rootCpu(id)));

    this.perf = new Perf(this.hosts, perfOptionsOf(design));
    this.#pages = new PageAllocator(memory, {
      base: HOST_PAGES,
      size: HOST_MEMORY - HOST_PAGES,
    });
    const kvm = new Kvm(this.hosts, { perf: this.perf, pages: this.#pages });
    const {
      board,
      memory: guestMemory,
      options,
    } = new VmBoard({
      hardware: this.hardware,
      ram: { base: HOST_MEMORY, size: memorySize },
      vcpus: processors,
      boot: image.boot,
      now: () => Number(this.host.now()),
      deliver: (message) => this.vm.deliver(message, undefined),
      onExit: () => this.vm.stop(),
      ...(onOutput && { onOutput }),
      ...(input && { input }),
    });
    this.board = board;
    this.vm = new Vm(kvm, this.host, {
      ...options,
      design,
      exposure: wholeExposure(design),
      nested,
      observer: this.#observer,
    });
    this.regions = image.regions;
    this.boot = image.boot;
    this.memorySize = memorySize;
    const entry = image.load(guestMemory);
    for (const host of this.hosts) {
      const vcpu = this.vm.createVcpu(host);
      vcpu.setState(vcpu.id === 0 ? guestState(entry) : RESET_STATE);
    }
    for (const vcpu of this.vm.vcpus) vcpu.schedIn(vcpu.host);
    this.#turns = new Turns(this.vm.vcpus.map((vcpu) => this.#turnTaker(vcpu)));
  }

  /** The first processor, its vCPU and what that has done. */
  get host(): HostCpu {
    return this.hosts[0]!;
  }

  get vcpu(): Vcpu {
    return this.vm.vcpus[0]!;
  }

  get ledger(): GuestLedger {
    return this.ledgers[0]!;
  }

  /** Instructions that all vCPUs have retired. */
  get #instructions(): bigint {
    return this.ledgers.reduce((sum, ledger) => sum + ledger.read('instructions'), 0n);
  }

  run(budget: Budget = {}): RunResult {
    const several = this.hosts.length > 1;
    for (;;) {
      if (this.board.end) return this.#result(this.board.end);
      if (this.#shutdown) return this.#result('triple-fault');
      const left = leftOf(budget, this.spent);
      if (isUsedUp(left)) return this.#result('budget');
      const asleep = several ? this.#turns.run(left) : this.#runVcpu(this.vcpu, left);
      if (asleep || this.#stillness.lasts(this.spent)) return this.#result('halted-forever');
    }
  }

  get spent() {
    return { instructions: this.#instructions, ticks: this.host.now() };
  }

  save() {
    return {
      hardware: this.hardware.save(),
      pages: this.#pages.save(),
      hosts: this.hosts.map((host) => host.save()),
      perf: this.perf.save(),
      vm: this.vm.save(),
      board: this.board.save(),
      ledgers: this.ledgers.map((ledger) => ledger.save()),
      turns: this.#turns.save(),
      stillness: this.#stillness.save(),
      shutdown: this.#shutdown,
    };
  }

  restore(saved: ReturnType<VirtualMachine['save']>): void {
    this.hardware.restore(saved.hardware);
    this.#pages.restore(saved.pages);
    for (const [at, host] of this.hosts.entries()) host.restore(saved.hosts[at]!);
    this.perf.restore(saved.perf);
    this.vm.restore(saved.vm);
    this.board.restore(saved.board);
    for (const [at, ledger] of this.ledgers.entries()) ledger.restore(saved.ledgers[at]!);
    this.#turns.restore(saved.turns);
    this.#stillness.restore(saved.stillness);
    this.#shutdown = saved.shutdown;
  }

  /** Lets somebody see what KVM does from now on. */
  watch(observer: KvmObserver): void {
    join(this.#observer, observer);
  }

  #turnTaker(vcpu: Vcpu): TurnTaker {
    const { host } = vcpu;
    return {
      now: () => host.now(),
      run: (left) => this.#runVcpu(vcpu, left),
      wait: (until) => {
        while (host.now() < until) host.halt(Number(until - host.now()));
      },
      wakes: () => vcpu.wakes,
    };
  }

  /** Whether the vCPU sleeps, and nothing of its own can ever wake it. */
  #runVcpu(vcpu: Vcpu, left: Left): boolean {
    const { host } = vcpu;
    const until = host.now() + left.ticks;
    const stop = vcpu.step(host.now() + runningLeft(left));
    if (stop === 'shutdown') this.#shutdown = true;
    if (stop !== 'halted') return false;
    const deadline = vcpu.nextDeadline();
    if (!Number.isFinite(deadline)) return true;
    const now = Number(host.now());
    host.halt(Math.max(1, Math.min(deadline, Number(until)) - now));
    return false;
  }

  /** The processor as root-mode software meets it; the ledger hears when the guest is in control. */
  #rootCpu(id: number): CpuPorts {
    const ports = rootCpu(this.hardware.processors[id]!, this.hardware);
    const ledger = this.ledgers[id]!;
    return {
      ...ports,
      run: (maxTicks) => {
        ledger.enter();
        const end = ports.run(maxTicks);
        if (end === 'exit') ledger.leave();
        return end;
      },
    };
  }

  #result(reason: RunReason): RunResult {
    const { current, processors } = this.hardware;
    return {
      reason,
      exitValue: this.board.exitValue,
      instructions: this.#instructions,
      ticks: current.state.total('ticks'),
      rip: this.vm.vcpus[processors.indexOf(current)]!.rip,
      faults: reason === 'triple-fault' ? current.cpu.tripleFault : [],
      digest: () => machineDigest(this),
    };
  }
}

/** All that the design hands over, where the processor has it. */
const wholeExposure = ({ interception }: VpmuDesign): PmuExposure =>
  interception.extras === 'pass' ? { metrics: true, lbr: true } : {};
