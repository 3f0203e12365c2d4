import type { EngineFactory } from '../cpu/engines/engine.ts';
import { Interpreter } from '../cpu/engines/wasm/interpreter.ts';
import type { Total } from '../cpu/state/layout.ts';
import type { CostTable } from '../host/costs.ts';
import { HostCpu } from '../host/cpu.ts';
import { HostKernel, type KernelOptions } from '../host/kernel.ts';
import { PageAllocator } from '../host/pages.ts';
import { HostProgram, type Mix } from '../host/task.ts';
import { RESET_STATE } from '../kvm/guest-state.ts';
import { Kvm } from '../kvm/kvm.ts';
import type { KvmObserver } from '../kvm/observer.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import { VcpuTask } from '../kvm/vcpu-task.ts';
import { Vm } from '../kvm/vm.ts';
import type { VpmuDesign } from '../kvm/vpmu/designs.ts';
import type { PmuExposure } from '../kvm/vpmu/exposure.ts';
import type { PhysicalMemory } from '../memory/physical-memory.ts';
import { attachPerf } from '../perf/host-kernel.ts';
import { Perf, type PerfOptions, type PerfTask } from '../perf/perf.ts';
import { enterElf64 } from '../platform/boot/entry-state.ts';
import type { Board } from './board.ts';
import type { GuestImage } from './guest-image.ts';
import { guestState } from './guest-state.ts';
import { Hardware } from './hardware.ts';
import { GuestLedger } from './ledger.ts';
import type { RunReason } from './outcome.ts';
import { type Profile, profileNamed } from './profiles.ts';
import { enterRootMode, rootCpu } from './root-cpu.ts';
import { VmBoard } from './vm-board.ts';

const MEGABYTE = 1 << 20;
const HOST_MEMORY = 16 * MEGABYTE;
const HOST_PAGES = MEGABYTE;
const GUEST_MEMORY = 4 * MEGABYTE;
const GUESTS_MEMORY = 8 * GUEST_MEMORY;

/** Where a bare guest program is loaded and entered, in 64-bit mode with the first 4 GiB mapped one to one. */
export const PROGRAM_BASE = 0x10_0000;
/** 32-bit port to which such a program writes what it has read: low half, then high half. */
export const REPORT_PORT = 0x2000;

export interface HostMachineOptions {
  /** By name, or as it is. */
  readonly profile?: string | Profile;
  readonly processors?: number;
  /** Bytes of RAM for the host, 16 MiB unless told, and for all guests together, 32 MiB unless told. */
  readonly hostMemory?: number;
  readonly guestsMemory?: number;
  /** Bytes for decoded code and the like, for each processor; 32 MiB unless told. */
  readonly engineMemory?: number;
  readonly engine?: EngineFactory;
  readonly seed?: string;
  readonly kernel?: KernelOptions;
  /** What root-mode work costs; `COSTS` unless told. */
  readonly costs?: CostTable;
  readonly perf?: PerfOptions;
  /** perf_event_mux_interval_ms in ticks. */
  readonly muxInterval?: number;
}

export interface GuestOptions {
  readonly name?: string;
  /** Bare code for `PROGRAM_BASE`, or an image that brings its boot protocol along. */
  readonly code: Uint8Array | GuestImage;
  readonly design: VpmuDesign;
  /** The processor on which the thread of each vCPU starts; one vCPU on processor 0 unless told. */
  readonly cpus?: readonly number[];
  /** Bytes of its RAM; 4 MiB unless told. */
  readonly memory?: number;
  readonly exposure?: PmuExposure;
  /** The guest has VMX and may be a hypervisor; off unless told. */
  readonly nested?: boolean;
  /** Somebody who watches the VM beside its ledgers. */
  readonly observer?: KvmObserver;
}

/** One guest program in a VM of its own on a `HostMachine`. */
export class HostedProgram {
  readonly vm: Vm;
  /** The threads of the vCPUs. */
  readonly tasks: readonly VcpuTask[];
  readonly board: Board;
  /** What the program has reported, in its order. */
  readonly readings: bigint[] = [];
  /** By vCPU and processor. */
  readonly #ledgers: readonly (readonly GuestLedger[])[];
  /** The guest's RAM, by guest-physical address. */
  readonly ram: PhysicalMemory;
  /** The low half of a report whose high half is to come. */
  #low: bigint | undefined;

  constructor(parts: {
    vm: Vm;
    name: string;
    board: Board;
    ledgers: readonly (readonly GuestLedger[])[];
    ram: PhysicalMemory;
  }) {
    const { vm, name } = parts;
    this.vm = vm;
    this.tasks = vm.vcpus.map(
      (vcpu) => new VcpuTask(vcpu, vm.vcpus.length === 1 ? name : `${name} vCPU ${vcpu.id}`),
    );
    this.board = parts.board;
    this.#ledgers = parts.ledgers;
    this.ram = parts.ram;
    this.board.ports.attach(REPORT_PORT, 4, {
      read: () => 0,
      write: (_offset, _size, value) => {
        if (this.#low === undefined) {
          this.#low = BigInt(value);
          return;
        }
        this.readings.push(this.#low | (BigInt(value) << 32n));
        this.#low = undefined;
      },
    });
  }

  /** The first vCPU and its thread. */
  get vcpu(): Vcpu {
    return this.vm.vcpus[0]!;
  }

  get task(): VcpuTask {
    return this.tasks[0]!;
  }

  /** What the guest has done, on whatever processor. */
  get ledgers(): readonly GuestLedger[] {
    return this.#ledgers.flat();
  }

  /** How often something has really happened in the guest, or on one of its vCPUs, on whatever processor. */
  truth(total: Total, vcpu?: number): bigint {
    const ledgers = vcpu === undefined ? this.ledgers : this.#ledgers[vcpu]!;
    return ledgers.reduce((sum, ledger) => sum + ledger.read(total), 0n);
  }

  save() {
    return {
      vm: this.vm.save(),
      board: this.board.save(),
      ledgers: this.ledgers.map((ledger) => ledger.save()),
      readings: [...this.readings],
      low: this.#low,
    };
  }

  restore(saved: ReturnType<HostedProgram['save']>): void {
    this.vm.restore(saved.vm);
    this.board.restore(saved.board);
    for (const [at, ledger] of this.ledgers.entries()) ledger.restore(saved.ledgers[at]!);
    this.readings.splice(0, Infinity, ...saved.readings);
    this.#low = saved.low;
  }

  /** Whether the guest has ended its machine. */
  get ended(): boolean {
    return this.board.end !== undefined;
  }

  /** How the guest has ended, once it has: by its own word, by a triple fault, or asleep for ever. */
  get end(): RunReason | undefined {
    if (this.board.end) return this.board.end;
    if (this.tasks.some(({ lastStop }) => lastStop === 'shutdown')) return 'triple-fault';
    const forever = this.tasks.every(
      (task) => task.lastStop === 'halted' && !task.wakes && task.nextDeadline() === Infinity,
    );
    return forever ? 'halted-forever' : undefined;
  }
}

/** Processors with a host kernel, its perf and KVM on them, to run guest programs and host programs side by side. */
export class HostMachine {
  readonly hardware: Hardware;
  readonly hosts: readonly HostCpu[];
  readonly kernel: HostKernel;
  readonly perf: Perf;
  readonly kvm: Kvm;
  readonly guests: HostedProgram[] = [];
  /** Where the next guest's RAM begins. */
  #nextGuest: number;

  constructor(options: HostMachineOptions = {}) {
    const { profile = 'sapphire-rapids', processors = 1, seed = 'host', muxInterval } = options;
    const { hostMemory = HOST_MEMORY, guestsMemory = GUESTS_MEMORY, engineMemory } = options;
    this.hardware = new Hardware({
      profile: typeof profile === 'string' ? profileNamed(profile) : profile,
      memorySize: hostMemory + guestsMemory,
      ...(engineMemory && { engineMemory }),
      processors,
      engine: options.engine ?? ((core) => new Interpreter(core)),
      seed,
      io: { read: () => 0xffff_ffff, write: () => {} },
    });
    this.hosts = this.hardware.processors.map((processor) => {
      enterRootMode(processor);
      return new HostCpu(rootCpu(processor, this.hardware), options.costs);
    });
    this.kernel = new HostKernel(this.hosts, options.kernel);
    this.perf = new Perf(this.hosts, options.perf);
    const cpus = this.hosts.map(({ id }) => id);
    attachPerf(this.perf, this.kernel, { cpus, ...(muxInterval && { muxInterval }) });
    const { memory } = this.hardware;
    const pages = new PageAllocator(memory, { base: HOST_PAGES, size: hostMemory - HOST_PAGES });
    this.#nextGuest = hostMemory;
    this.kvm = new Kvm(this.hosts, { perf: this.perf, pages });
  }

  /** Creates a VM and makes the threads of its vCPUs ready. @throws PerfError where the design refuses. */
  start(options: GuestOptions): HostedProgram {
    const { code, design, cpus = [0], memory = GUEST_MEMORY, exposure = {}, observer } = options;
    const { nested = false } = options;
    const { processors } = this.hardware;
    const ledgers = cpus.map(() => processors.map(({ state }) => new GuestLedger(state)));
    const ledgerOf = (vcpu: number) => ledgers[vcpu]![vm.vcpus[vcpu]!.host.id]!;
    const around = new VmBoard({
      hardware: this.hardware,
      ram: { base: this.#nextGuest, size: memory },
      vcpus: cpus.length,
      ...(!(code instanceof Uint8Array) && { boot: code.boot }),
      now: () => Number(vm.vcpus[0]!.host.now()),
      deliver: (message) => vm.deliver(message, undefined),
      onExit: () => vm.stop(),
    });
    this.#nextGuest += memory;
    const vm: Vm = new Vm(this.kvm, this.hosts[0]!, {
      ...around.options,
      design,
      exposure,
      nested,
      observer: {
        ...observer,
        entry: (record) => {
          ledgerOf(record.vcpu).enter();
          observer?.entry?.(record);
        },
        exit: (record) => {
          ledgerOf(record.vcpu).leave();
          observer?.exit?.(record);
        },
        retired: (record) => {
          ledgerOf(record.vcpu).retire([
            ['instructions', 1n],
            ...(record.branch ? ([['branches', 1n]] as const) : []),
          ]);
          observer?.retired?.(record);
        },
      },
    });
    const { board, memory: ram } = around;
    if (code instanceof Uint8Array) ram.load(PROGRAM_BASE, code);
    const entry = code instanceof Uint8Array ? enterElf64(ram, PROGRAM_BASE) : code.load(ram);
    for (const cpu of cpus) {
      const vcpu = vm.createVcpu(this.hosts[cpu]!);
      vcpu.setState(vcpu.id === 0 ? guestState(entry) : RESET_STATE);
    }
    const guest = new HostedProgram({
      vm,
      name: options.name ?? `guest ${this.guests.length}`,
      board,
      ledgers,
      ram,
    });
    this.guests.push(guest);
    for (const [id, task] of guest.tasks.entries()) this.kernel.spawn(task, cpus[id]!);
    return guest;
  }

  /** Starts a host program whose thread perf can follow. */
  startProgram(
    name: string,
    mix: Mix,
    { cpu = 0, rounds }: { cpu?: number; rounds?: number } = {},
  ) {
    const task: PerfTask = { name, perf: undefined };
    let on: HostCpu | undefined;
    const program = new HostProgram(name, mix, {
      ...(rounds !== undefined && { rounds }),
      onSchedule: {
        in: (host) => {
          on = host;
          this.perf.taskIn(host.id, task);
        },
        out: () => {
          if (on) this.perf.taskOut(on.id);
        },
      },
    });
    this.kernel.spawn(program, cpu);
    return { task, program };
  }

  /** The whole machine between two instructions, as plain data and bytes. */
  save() {
    return {
      memory: this.hardware.memory.slice(0, this.hardware.memory.ramSize),
      hardware: this.hardware.save(),
      pages: this.kvm.pages.save(),
      kernel: this.kernel.save(),
      perf: this.perf.save(),
      guests: this.guests.map((guest) => guest.save()),
    };
  }

  /** For a machine that was made alike, with the same guests and programs started in the same order. */
  restore(saved: ReturnType<HostMachine['save']>): void {
    this.hardware.memory.load(0, saved.memory);
    this.hardware.restore(saved.hardware);
    this.kvm.pages.restore(saved.pages);
    this.kernel.restore(saved.kernel);
    this.perf.restore(saved.perf);
    for (const [at, guest] of this.guests.entries()) guest.restore(saved.guests[at]!);
  }

  /** Lets `ticks` pass on every processor, or less if `until` becomes true. */
  run(ticks: number, until: () => boolean = () => false): void {
    const latest = Math.max(...this.hosts.map((host) => Number(host.now())));
    this.kernel.run(BigInt(latest + ticks), until);
  }

  /** Runs until every guest has ended. @throws RangeError if they take longer than `ticks`. */
  finish(ticks = 2_000_000_000): void {
    this.run(ticks, () => this.guests.every(({ ended }) => ended));
    if (!this.guests.every(({ ended }) => ended)) throw new RangeError('a guest did not end');
  }
}
