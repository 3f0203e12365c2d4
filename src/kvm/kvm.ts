import { isSet } from '../bits/bitfield.ts';
import type { HostCpu } from '../host/cpu.ts';
import type { PageAllocator } from '../host/pages.ts';
import { PERF_GUEST_MEDIATED_PMI_VECTOR, type Perf } from '../perf/perf.ts';
import type { Vcpu } from './vcpu.ts';
import { type VmcsConfig, vmcsConfig } from './vmcs.ts';

const FEATURE_CONTROL = 0x3a;
const LOCKED_AND_ENABLED = 5n;
const X2APIC_EOI = 0x80b;

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
