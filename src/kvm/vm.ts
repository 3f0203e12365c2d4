import type { LocalApic } from '../apic/local-apic.ts';
import { type ApicMessage, DELIVERY, SHORTHAND } from '../apic/message.ts';
import { isSet } from '../bits/bitfield.ts';
import { type HostCpu, RESCHEDULE_VECTOR } from '../host/cpu.ts';
import type { PageAllocator } from '../host/pages.ts';
import type { Perf } from '../perf/perf.ts';
import { PERF_GUEST_MEDIATED_PMI_VECTOR } from '../perf/perf.ts';
import { buildEpt, type GuestRam, type GuestRom } from './ept.ts';
import { MsrBitmap } from './msr-bitmap.ts';
import { GUEST_MSRS } from './msrs.ts';
import type { KvmObserver } from './observer.ts';
import type { Emulator, GuestPhysical, VmPorts } from './ports.ts';
import { Vcpu } from './vcpu.ts';
import { type VmcsConfig, vmcsConfig } from './vmcs.ts';
import type { Vpmu, VpmuOwner } from './vpmu/contract.ts';
import { DESIGNS, type VpmuDesign } from './vpmu/designs.ts';
import { EmulatedVpmu } from './vpmu/emulated.ts';
import { checkEventFilter, type PmuEventFilter } from './vpmu/event-filter.ts';
import type { PmuExposure } from './vpmu/exposure.ts';
import { checkHostPmu, MediatedVpmu } from './vpmu/mediated.ts';
import { extraRegisters } from './vpmu/registers.ts';

const FEATURE_CONTROL = 0x3a;
const LOCKED_AND_ENABLED = 5n;
const X2APIC_EOI = 0x80b;
const APIC_PAGE_SIZE = 0x1000;

/** The PMU's registers lie in these ranges: whether they pass is the vPMU's to say. */
const PMU_RANGES: readonly (readonly [number, number])[] = [
  [0x0c1, 0x0e0],
  [0x186, 0x1a5],
  [0x309, 0x318],
  [0x38d, 0x392],
  [0x4c1, 0x4e0],
];

/** KVM as a module: VMX is on, on every CPU. */
export class Kvm {
  readonly config: VmcsConfig;
  readonly perf: Perf;
  readonly pages: PageAllocator;
  /** vCPU that runs on each CPU, for the mediated PMI. */
  readonly #running = new Map<number, Vcpu>();
  readonly #hosts: readonly HostCpu[];
  #nextVpid = 1;
  #nextVm = 0;

  /** Turns VMX on. CR4.VMXE must be set and each CPU in 64-bit mode. */
  constructor(hosts: readonly HostCpu[], { perf, pages }: { perf: Perf; pages: PageAllocator }) {
    this.perf = perf;
    this.pages = pages;
    this.#hosts = hosts;
    this.config = vmcsConfig(hosts[0]!);
    for (const host of hosts) {
      const control = host.rdmsr(FEATURE_CONTROL);
      if (!isSet(control, 1n)) host.wrmsr(FEATURE_CONTROL, LOCKED_AND_ENABLED);
      const region = pages.allocate();
      host.memory.write(region, 4, this.config.revision);
      const outcome = host.vmx.vmxon(BigInt(region));
      if (outcome !== 'VMsucceed') throw new RangeError(`VMXON: ${JSON.stringify(outcome)}`);
      host.onInterrupt(PERF_GUEST_MEDIATED_PMI_VECTOR, () => {
        this.#running.get(host.id)?.vpmu.mediatedPmi();
        host.wrmsr(X2APIC_EOI, 0n);
      });
    }
  }

  running(cpu: number, vcpu: Vcpu | undefined): void {
    if (vcpu) this.#running.set(cpu, vcpu);
    else this.#running.delete(cpu);
  }

  /** The vCPU whose thread is on a CPU. */
  vcpuOn(cpu: number): Vcpu | undefined {
    return this.#running.get(cpu);
  }

  host(id: number): HostCpu {
    const found = this.#hosts.find((host) => host.id === id);
    if (!found) throw new RangeError(`there is no CPU ${id}`);
    return found;
  }

  nextVpid(): number {
    return this.#nextVpid++;
  }

  nextVm(): number {
    return this.#nextVm++;
  }
}

export interface VmOptions {
  readonly ram: GuestRam;
  readonly rom?: GuestRom;
  readonly ports: VmPorts;
  readonly design?: VpmuDesign;
  readonly exposure?: PmuExposure;
  readonly observer?: KvmObserver;
  /** kvm.force_emulation_prefix; on unless told. */
  readonly forceEmulationPrefix?: boolean;
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
    const made = this.ports.emulator(cpu, this.#guestPhysical(cpu));
    this.#emulators.set(cpu, made);
    return made;
  }

  /** Guest-physical memory as the vCPU on a physical CPU reaches it: RAM, its own local APIC's page, devices. */
  #guestPhysical(cpu: number): GuestPhysical {
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
    const bitmap = new MsrBitmap(vcpu.host.memory, this.pages.allocate());
    for (const { address, count = 1, passes } of GUEST_MSRS) {
      if (!passes) continue;
      for (let at = address; at < address + count; at++) {
        bitmap.set(at, 'read', false);
        bitmap.set(at, 'write', false);
      }
    }
    for (const [first, last] of PMU_RANGES) {
      for (let at = first; at <= last; at++) {
        for (const access of ['read', 'write'] as const) {
          bitmap.set(at, access, vcpu.vpmu.intercepts(at, access));
        }
      }
    }
    for (const address of extraRegisters(vcpu.vpmu.pmu.shape)) {
      bitmap.set(address, 'read', vcpu.vpmu.intercepts(address, 'read'));
      bitmap.set(address, 'write', vcpu.vpmu.intercepts(address, 'write'));
    }
    this.#bitmaps.set(vcpu.id, bitmap);
    return bitmap;
  }

  /** From now on accesses of a vCPU to an MSR exit, or do not. */
  setIntercept(vcpu: Vcpu, address: number, exits: boolean): void {
    for (const access of ['read', 'write'] as const) {
      this.bitmapFor(vcpu).set(address, access, exits);
    }
  }

  /** An interrupt message of one vCPU's local APIC, or of a device, which the first vCPU's thread answers for. */
  deliver(message: ApicMessage, from: Vcpu | undefined): void {
    const { host } = from ?? this.vcpus[0]!;
    const named = this.vcpus.filter((vcpu) => isAddressed(vcpu, message, from));
    const chosen = message.mode === DELIVERY.LOWEST_PRIORITY ? lowestPriority(named) : named;
    for (const vcpu of chosen) vcpu.deliver(message, host);
  }

  #apicAt(cpu: number, address: number): LocalApic | undefined {
    const apic = this.kvm.vcpuOn(cpu)?.apic;
    const page = address - (address % APIC_PAGE_SIZE);
    return apic?.enabled() && apic.pageAddress === page ? apic : undefined;
  }
}

/** The one with the lowest processor priority; of equals, the first. */
function lowestPriority(vcpus: readonly Vcpu[]): readonly Vcpu[] {
  const [first, ...rest] = vcpus.filter(({ apic }) => apic.takesInterrupts());
  if (!first) return [];
  const lower = (a: Vcpu, b: Vcpu) => b.apic.processorPriority < a.apic.processorPriority;
  return [rest.reduce((a, b) => (lower(a, b) ? b : a), first)];
}

function isAddressed(vcpu: Vcpu, message: ApicMessage, from: Vcpu | undefined): boolean {
  switch (message.shorthand) {
    case SHORTHAND.SELF:
      return vcpu === from;
    case SHORTHAND.ALL:
      return true;
    case SHORTHAND.OTHERS:
      return vcpu !== from;
    default:
      return message.mode === DELIVERY.EXTINT ? false : vcpu.apic.isDestination(message);
  }
}
