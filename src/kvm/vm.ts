import type { LocalApic } from '../apic/local-apic.ts';
import type { ApicMessage } from '../apic/message.ts';
import { type HostCpu, RESCHEDULE_VECTOR } from '../host/cpu.ts';
import type { PageAllocator } from '../host/pages.ts';
import type { Perf } from '../perf/perf.ts';
import { buildEpt, type GuestRam, type GuestRom } from './ept.ts';
import { addressed } from './interrupt-delivery.ts';
import type { Kvm } from './kvm.ts';
import type { MsrBitmap } from './msr-bitmap.ts';
import { msrBitmapFor } from './msr-policy.ts';
import type { KvmObserver } from './observer.ts';
import type { Emulator, GuestPhysical, VmPorts } from './ports.ts';
import { Vcpu } from './vcpu.ts';
import type { VmcsConfig } from './vmcs.ts';
import type { Vpmu, VpmuOwner } from './vpmu/contract.ts';
import { DESIGNS, type VpmuDesign } from './vpmu/designs.ts';
import { EmulatedVpmu } from './vpmu/emulated.ts';
import { checkEventFilter, type PmuEventFilter } from './vpmu/event-filter.ts';
import type { PmuExposure } from './vpmu/exposure.ts';
import { checkHostPmu, MediatedVpmu } from './vpmu/mediated.ts';

const APIC_PAGE_SIZE = 0x1000;

export interface VmOptions {
  readonly ram: GuestRam;
  readonly rom?: GuestRom;
  readonly ports: VmPorts;
  readonly design?: VpmuDesign;
  readonly exposure?: PmuExposure;
  readonly observer?: KvmObserver;
  /** kvm.force_emulation_prefix; on unless told. */
  readonly forceEmulationPrefix?: boolean;
  /** kvm_intel.nested: the guest has VMX and may be a hypervisor; off unless told. */
  readonly nested?: boolean;
}

/** A virtual machine: memory, devices behind ports, vCPUs of one vPMU design. */
export class Vm {
  readonly kvm: Kvm;
  readonly id: number;
  readonly ports: VmPorts;
  readonly design: VpmuDesign;
  readonly exposure: PmuExposure;
  readonly observer: KvmObserver | undefined;
  readonly forceEmulationPrefix: boolean;
  readonly nested: boolean;
  readonly eptp: bigint;
  readonly vcpus: Vcpu[] = [];
  eventFilter: PmuEventFilter | undefined;
  /** User space has wanted the vCPUs out: they run no more. */
  stopped = false;
  readonly #ram: GuestRam;
  readonly #vpids = new Map<number, number>();
  readonly #bitmaps = new Map<number, MsrBitmap>();
  readonly #emulators = new Map<number, Emulator>();

  /** KVM_CREATE_VM. @throws CounterpointError `mediated-unsupported` where the host's PMU cannot be handed over. */
  constructor(kvm: Kvm, host: HostCpu, options: VmOptions) {
    this.design = options.design ?? DESIGNS.emulated;
    checkHostPmu(this.design, kvm.perf.cpu(host.id).pmu.shape);
    this.kvm = kvm;
    this.id = kvm.nextVm();
    this.ports = options.ports;
    this.exposure = options.exposure ?? {};
    this.observer = options.observer;
    this.forceEmulationPrefix = options.forceEmulationPrefix ?? true;
    this.nested = options.nested ?? false;
    this.#ram = options.ram;
    this.eptp = buildEpt(host.memory, kvm.pages, options.ram, options.rom);
  }

  get config(): VmcsConfig {
    return this.kvm.config;
  }

  get perf(): Perf {
    return this.kvm.perf;
  }

  get pages(): PageAllocator {
    return this.kvm.pages;
  }

  /** KVM_CREATE_VCPU, on the CPU it is to start on. @throws PerfError EBUSY where the design forbids it. */
  createVcpu(host: HostCpu): Vcpu {
    const { hostRule } = this.design;
    if (this.vcpus.length === 0 && hostRule === 'refuse') this.perf.createMediatedPmu();
    const vcpu = new Vcpu(this, this.vcpus.length, host);
    this.vcpus.push(vcpu);
    if (hostRule === 'error' || hostRule === 'error-scoped') {
      this.perf.claims.add(hostRule, vcpu.task);
    }
    return vcpu;
  }

  /** User space wants the vCPUs out: those in guest code on other CPUs are interrupted. */
  stop(): void {
    this.stopped = true;
    for (const { inGuest, host } of this.vcpus) if (inGuest) host.receiveIpi(RESCHEDULE_VECTOR);
  }

  /** The VM goes away. */
  destroy(): void {
    const { hostRule } = this.design;
    for (const vcpu of this.vcpus) {
      vcpu.vpmu.release();
      if (hostRule === 'error' || hostRule === 'error-scoped') {
        this.perf.claims.remove(hostRule, vcpu.task);
      }
    }
    if (this.vcpus.length > 0 && this.design.hostRule === 'refuse') {
      this.perf.releaseMediatedPmu();
    }
    this.vcpus.length = 0;
  }

  /** KVM_SET_PMU_EVENT_FILTER: every counter of every vCPU is looked at again. @throws CounterpointError `event-filter`. */
  setEventFilter(filter: PmuEventFilter | undefined): void {
    if (filter) checkEventFilter(filter);
    this.eventFilter = filter;
    for (const vcpu of this.vcpus) vcpu.vpmu.refresh();
  }

  save() {
    return {
      stopped: this.stopped,
      eventFilter: this.eventFilter,
      vcpus: this.vcpus.map((vcpu) => vcpu.save()),
    };
  }

  /** For a VM with the same vCPUs; processors, memory and perf have been restored already. */
  restore(saved: ReturnType<Vm['save']>): void {
    this.stopped = saved.stopped;
    this.eventFilter = saved.eventFilter;
    for (const [at, vcpu] of this.vcpus.entries()) {
      vcpu.restore(saved.vcpus[at]!);
      const { host, onCpu } = saved.vcpus[at]!;
      if (onCpu) this.kvm.running(host, vcpu);
    }
  }

  createVpmu(host: HostCpu, owner: VpmuOwner): Vpmu {
    const { perf, design } = this;
    // What the design does not hand over, nobody is shown.
    const passes = design.interception.extras === 'pass';
    const { lbrStack } = perf.cpu(host.id).pmu.shape;
    const lbr = this.exposure.lbr === true && design.kind === 'emulated' && lbrStack > 0;
    const exposure = passes ? this.exposure : { ...this.exposure, metrics: false, lbr };
    const parts = { owner, perf, host, design, exposure };
    return design.kind === 'emulated' ? new EmulatedVpmu(parts) : new MediatedVpmu(parts);
  }

  emulator(cpu: number): Emulator {
    const known = this.#emulators.get(cpu);
    if (known) return known;
    const made = this.ports.emulator(cpu, this.#emulated(cpu));
    this.#emulators.set(cpu, made);
    return made;
  }

  /** The same as the emulator meets it: addresses are those of a guest's guest while it runs under an EPT of its own. */
  #emulated(cpu: number): GuestPhysical {
    const { hostAddress, mmio } = this.guestPhysical(cpu);
    const at = (address: number) => this.kvm.vcpuOn(cpu)?.nested?.toL1(address) ?? address;
    return {
      hostAddress: (address) => hostAddress(at(address)),
      mmio: {
        read: (address, size) => mmio.read(at(address), size),
        write: (address, size, value) => mmio.write(at(address), size, value),
      },
    };
  }

  /** Guest-physical memory as the vCPU on a physical CPU reaches it: RAM, its own local APIC's page, devices. */
  guestPhysical(cpu: number): GuestPhysical {
    return {
      hostAddress: (address) =>
        address >= 0 && address < this.#ram.size ? this.#ram.base + address : undefined,
      mmio: {
        read: (address, size) => {
          const apic = this.#apicAt(cpu, address);
          return apic
            ? apic.page.read(address % APIC_PAGE_SIZE, size)
            : this.ports.mmio.read(address, size);
        },
        write: (address, size, value) => {
          const apic = this.#apicAt(cpu, address);
          if (apic) apic.page.write(address % APIC_PAGE_SIZE, size, value);
          else this.ports.mmio.write(address, size, value);
        },
      },
    };
  }

  vpidOf(vcpu: Vcpu): number {
    const known = this.#vpids.get(vcpu.id);
    if (known !== undefined) return known;
    const vpid = this.kvm.nextVpid();
    this.#vpids.set(vcpu.id, vpid);
    return vpid;
  }

  /** The vCPU's MSR bitmap, made from the tables of MSRs and the vPMU's policy. */
  bitmapFor(vcpu: Vcpu): MsrBitmap {
    const known = this.#bitmaps.get(vcpu.id);
    if (known) return known;
    const bitmap = msrBitmapFor(vcpu, this.pages.allocate());
    this.#bitmaps.set(vcpu.id, bitmap);
    return bitmap;
  }

  /** From now on accesses of a vCPU to an MSR exit, or do not. */
  setIntercept(vcpu: Vcpu, address: number, exits: boolean): void {
    for (const access of ['read', 'write'] as const) {
      this.bitmapFor(vcpu).set(address, access, exits);
    }
    // The bitmap that a guest's guest runs by is another page.
    if (exits) vcpu.nested?.msrBitmap.close(vcpu.host, address);
  }

  /** An interrupt message of one vCPU's local APIC, or of a device, which the first vCPU's thread answers for. */
  deliver(message: ApicMessage, from: Vcpu | undefined): void {
    const { host } = from ?? this.vcpus[0]!;
    for (const vcpu of addressed(this.vcpus, message, from)) vcpu.deliver(message, host);
  }

  #apicAt(cpu: number, address: number): LocalApic | undefined {
    const apic = this.kvm.vcpuOn(cpu)?.apic;
    const page = address - (address % APIC_PAGE_SIZE);
    return apic?.enabled() && apic.pageAddress === page ? apic : undefined;
  }
}
