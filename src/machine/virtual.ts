import { HostCpu } from '../host/cpu.ts';
import { PageAllocator } from '../host/pages.ts';
import type { CpuPorts } from '../host/ports.ts';
import type { KvmObserver } from '../kvm/observer.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import { Kvm, Vm } from '../kvm/vm.ts';
import { perfOptionsOf, type VpmuDesign } from '../kvm/vpmu/designs.ts';
import { PhysicalMemory } from '../memory/physical-memory.ts';
import { Perf } from '../perf/perf.ts';
import { Board } from './board.ts';
import { guestEmulator } from './emulator.ts';
import type { GuestImage } from './guest-image.ts';
import { guestState } from './guest-state.ts';
import { Hardware } from './hardware.ts';
import { GuestLedger } from './ledger.ts';
import { type Machine, machineDigest } from './machine.ts';
import type { MachineParts } from './options.ts';
import type { RunReason, RunResult } from './outcome.ts';
import { enterRootMode, rootCpu } from './root-cpu.ts';

/** The host's own memory, below its guest's. */
const HOST_MEMORY = 16 << 20;
const HOST_PAGES = 1 << 20;

/** The guest in a virtual machine, on a host whose kernel and hypervisor run on the same processor. */
export class VirtualMachine implements Machine {
  readonly hardware: Hardware;
  readonly board: Board;
  readonly ledger: GuestLedger;
  readonly regions: GuestImage['regions'];
  readonly host: HostCpu;
  readonly perf: Perf;
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  #shutdown = false;

  constructor(parts: MachineParts & { design: VpmuDesign; observer?: KvmObserver }) {
    const { image, profile, memorySize, engine, seed, onOutput, input, design, observer } = parts;
    const { commandLine, initrd } = image.boot;
    const nothing = { read: () => 0xffff_ffff, write: () => {} };
    this.hardware = new Hardware({
      profile,
      memorySize: HOST_MEMORY + memorySize,
      engine,
      seed,
      io: nothing,
    });
    const processor = this.hardware.current;
    const { memory } = this.hardware;
    this.ledger = new GuestLedger(processor.state);
    enterRootMode(processor);
    this.host = new HostCpu(this.#rootCpu());

    this.perf = new Perf([this.host], perfOptionsOf(design));
    const pages = new PageAllocator(memory, { base: HOST_PAGES, size: HOST_MEMORY - HOST_PAGES });
    const kvm = new Kvm([this.host], { perf: this.perf, pages });
    this.board = new Board({
      onExit: () => {
        this.vm.stopped = true;
      },
      ...(onOutput && { onOutput }),
      ...(input && { input }),
      pc: {
        ramSize: memorySize,
        apicIds: [0],
        ...(commandLine !== undefined && { commandLine }),
        ...(initrd && { initrd }),
      },
      around: {
        now: () => Number(this.host.now()),
        send: (message) => {
          if (this.vcpu.apic.isDestination(message)) this.vcpu.deliver(message);
        },
        attention: () => {},
      },
    });
    const { pc } = this.board;
    const guestMemory = new PhysicalMemory({
      linear: memory.linear,
      reserved: memory.offset(HOST_MEMORY),
      ramSize: memorySize,
    });
    pc.attachMemory(guestMemory);
    const ram = { base: HOST_MEMORY, size: memorySize };
    this.vm = new Vm(kvm, this.host, {
      ram,
      design,
      observer: this.#watching(observer),
      ports: {
        io: this.board.ports,
        mmio: {
          read: (address, size) => guestMemory.read(address, size as 1 | 2 | 4 | 8),
          write: (address, size, value) => guestMemory.write(address, size as 1 | 2 | 4 | 8, value),
        },
        devices: {
          nextDeadline: () => pc.nextDeadline(),
          elapse: () => pc.elapse(),
          external: pc.external,
          endOfInterrupt: (vector) => pc.ioApic.endOfInterrupt(vector),
        },
        emulator: (_cpu, guest) => guestEmulator(processor, this.hardware, guest),
      },
    });
    this.regions = image.regions;
    const entry = image.load(guestMemory);
    this.vcpu = this.vm.createVcpu(this.host);
    this.vcpu.setState(guestState(entry));
    this.vcpu.schedIn(this.host);
  }

  run({ maxInstructions }: { maxInstructions?: bigint } = {}): RunResult {
    for (;;) {
      if (this.board.end) return this.#result(this.board.end);
      if (this.#shutdown) return this.#result('triple-fault');
      const left =
        maxInstructions === undefined
          ? Number.MAX_SAFE_INTEGER
          : Number(maxInstructions - this.ledger.read('instructions'));
      if (left <= 0) return this.#result('budget');
      const now = this.host.now();
      switch (this.vcpu.step(now + BigInt(left))) {
        case 'halted': {
          const deadline = Math.min(this.vcpu.nextDeadline(), Number.POSITIVE_INFINITY);
          if (!Number.isFinite(deadline)) return this.#result('halted-forever');
          this.host.halt(Math.max(1, deadline - Number(this.host.now())));
          break;
        }
        case 'shutdown':
          this.#shutdown = true;
          break;
        default:
      }
    }
  }

  /** The processor as root-mode software meets it; the ledger hears when the guest is in control. */
  #rootCpu(): CpuPorts {
    const ports = rootCpu(this.hardware.current, this.hardware);
    return {
      ...ports,
      run: (maxTicks) => {
        this.ledger.enter();
        const end = ports.run(maxTicks);
        if (end === 'exit') this.ledger.leave();
        return end;
      },
    };
  }

  /** Books what the hypervisor retires on the guest's behalf to the guest. */
  #watching(observer: KvmObserver | undefined): KvmObserver {
    return {
      ...observer,
      retired: (record) => {
        this.ledger.retire([
          ['instructions', 1n],
          ...(record.branch ? ([['branches', 1n]] as const) : []),
        ]);
        observer?.retired?.(record);
      },
    };
  }

  #result(reason: RunReason): RunResult {
    return {
      reason,
      exitValue: this.board.exitValue,
      instructions: this.ledger.read('instructions'),
      ticks: this.hardware.current.state.total('ticks'),
      rip: this.vcpu.rip,
      faults: [],
      digest: () => machineDigest(this),
    };
  }
}
