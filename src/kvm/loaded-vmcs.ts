import { CounterpointError } from '../bits/error.ts';
import type { HostCpu } from '../host/cpu.ts';
import type { PageAllocator } from '../host/pages.ts';
import { GlobalCtrlFields } from './global-ctrl.ts';
import { SwitchedMsrs } from './switched-msrs.ts';
import type { VmcsConfig } from './vmcs.ts';

/** What of a loaded VMCS is not in its region; plain data. */
export interface SavedLoadedVmcs {
  readonly launched: boolean;
  readonly globalCtrl: ReturnType<GlobalCtrlFields['save']>;
  readonly switchedMsrs: ReturnType<SwitchedMsrs['save']>;
}

/**
 * A VMCS region: on which CPU it is active, whether it is launched there, and what has been programmed in it to switch
 * (struct loaded_vmcs). A vCPU has one, and a second one while it may run a guest of its own.
 */
export class LoadedVmcs {
  readonly globalCtrl: GlobalCtrlFields;
  readonly switchedMsrs: SwitchedMsrs;
  readonly #address: bigint;
  #launched = false;
  /** Whether the latest entry was VMRESUME. */
  #resumed = false;

  constructor(host: HostCpu, pages: PageAllocator, config: VmcsConfig) {
    const address = pages.allocate();
    this.#address = BigInt(address);
    host.memory.write(address, 4, config.revision);
    this.globalCtrl = new GlobalCtrlFields(config, pages.allocate());
    this.switchedMsrs = new SwitchedMsrs(pages.allocate());
  }

  /** Makes it the current VMCS of a CPU. */
  load(host: HostCpu): void {
    expectSuccess('VMPTRLD', host.vmx.vmptrld(this.#address));
  }

  /** Writes it back from the CPU it is active on, as must be done before another CPU loads it. */
  clear(host: HostCpu): void {
    expectSuccess('VMCLEAR', host.vmx.vmclear(this.#address));
    this.#launched = false;
  }

  /** Its controls have been written anew: nothing of what was programmed is in it. */
  forget(): void {
    this.globalCtrl.forget();
    this.switchedMsrs.forget();
  }

  /** VM entry with the current VMCS. @throws CounterpointError `vmx` where the instruction itself fails. */
  enter(host: HostCpu): void {
    this.#resumed = this.#launched;
    if (this.#launched) expectSuccess('VMRESUME', host.vmx.vmresume());
    else expectSuccess('VMLAUNCH', host.vmx.vmlaunch());
    this.#launched = true;
  }

  /** The entry has failed late, which leaves the launch state as it was. */
  entryFailed(): void {
    this.#launched = this.#resumed;
  }

  save(): SavedLoadedVmcs {
    return {
      launched: this.#launched,
      globalCtrl: this.globalCtrl.save(),
      switchedMsrs: this.switchedMsrs.save(),
    };
  }

  restore(saved: SavedLoadedVmcs): void {
    this.#launched = saved.launched;
    this.globalCtrl.restore(saved.globalCtrl);
    this.switchedMsrs.restore(saved.switchedMsrs);
  }
}

function expectSuccess(instruction: string, outcome: unknown): void {
  if (outcome === 'VMsucceed') return;
  throw new CounterpointError('vmx', `${instruction}: ${JSON.stringify(outcome)}`);
}
