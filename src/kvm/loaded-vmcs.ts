import { CounterpointError } from '../bits/error.ts';
import type { HostCpu } from '../host/cpu.ts';

/** One vCPU's VMCS region: on which CPU it is active, and whether it is launched there (struct loaded_vmcs). */
export class LoadedVmcs {
  readonly #address: bigint;
  launched = false;

  /** @param address physical address of a page; @param revision VMCS revision identifier of the host. */
  constructor(host: HostCpu, address: number, revision: bigint) {
    this.#address = BigInt(address);
    host.memory.write(address, 4, revision);
  }

  /** Makes it the current VMCS of a CPU. */
  load(host: HostCpu): void {
    expectSuccess('VMPTRLD', host.vmx.vmptrld(this.#address));
  }

  /** Writes it back from the CPU it is active on, as must be done before another CPU loads it. */
  clear(host: HostCpu): void {
    expectSuccess('VMCLEAR', host.vmx.vmclear(this.#address));
    this.launched = false;
  }

  /** VM entry with the current VMCS. @throws CounterpointError `vmx` where the instruction itself fails. */
  enter(host: HostCpu): void {
    if (this.launched) expectSuccess('VMRESUME', host.vmx.vmresume());
    else expectSuccess('VMLAUNCH', host.vmx.vmlaunch());
    this.launched = true;
  }
}

function expectSuccess(instruction: string, outcome: unknown): void {
  if (outcome === 'VMsucceed') return;
  throw new CounterpointError('vmx', `${instruction}: ${JSON.stringify(outcome)}`);
}
