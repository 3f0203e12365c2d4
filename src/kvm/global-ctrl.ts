import type { HostCpu } from '../host/cpu.ts';
import { ENTRY, EXIT } from '../msr/vmx.ts';
import { FIELDS } from '../vmx/fields.ts';
import type { VmcsConfig } from './vmcs.ts';
import type { GlobalCtrlSwitch } from './vpmu/contract.ts';

const GLOBAL_CTRL = 0x38fn;

/**
 * How VM entries and VM exits of one vCPU switch GLOBAL_CTRL: by the VMCS fields, and where the exit cannot
 * save it to a field, by an exit MSR-store list of one entry.
 */
export class GlobalCtrlFields {
  readonly #config: VmcsConfig;
  /** Page that holds the exit MSR-store list. */
  readonly #storeList: number;
  #current: GlobalCtrlSwitch | undefined;

  constructor(config: VmcsConfig, storeList: number) {
    this.#config = config;
    this.#storeList = storeList;
  }

  /** Prepares the current VMCS for the next entry. */
  program(host: HostCpu, wanted: GlobalCtrlSwitch | undefined): void {
    const old = this.#current;
    this.#current = wanted;
    if (wanted?.guest !== old?.guest && wanted) {
      host.vmwrite(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL.encoding, wanted.guest);
    }
    if (wanted?.host !== old?.host && wanted) {
      host.vmwrite(FIELDS.HOST_IA32_PERF_GLOBAL_CTRL.encoding, wanted.host);
    }
    if ((wanted === undefined) !== (old === undefined)) this.#loads(host, wanted !== undefined);
    if ((wanted?.save ?? false) !== (old?.save ?? false)) this.#saves(host, wanted?.save ?? false);
  }

  /** What the VM exit saved; `undefined` if it was not to. */
  saved(host: HostCpu): bigint | undefined {
    if (!this.#current?.save) return undefined;
    const guest = this.#config.savesGlobalCtrl
      ? host.vmread(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL.encoding)
      : host.memory.read(this.#storeList + 8, 8);
    if (!this.#config.savesGlobalCtrl && guest !== this.#current.guest) {
      host.vmwrite(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL.encoding, guest);
    }
    this.#current = { ...this.#current, guest };
    return guest;
  }

  /** The VMCS has been written anew: nothing of what was programmed is in it. */
  forget(): void {
    this.#current = undefined;
  }

  save(): GlobalCtrlSwitch | undefined {
    return this.#current;
  }

  restore(saved: GlobalCtrlSwitch | undefined): void {
    this.#current = saved;
  }

  #loads(host: HostCpu, on: boolean): void {
    setControl(host, 'VM_ENTRY_CONTROLS', ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL, on);
    setControl(host, 'VM_EXIT_CONTROLS', EXIT.LOAD_IA32_PERF_GLOBAL_CTRL, on);
  }

  #saves(host: HostCpu, on: boolean): void {
    if (this.#config.savesGlobalCtrl) {
      setControl(host, 'VM_EXIT_CONTROLS', EXIT.SAVE_IA32_PERF_GLOBAL_CTRL, on);
      return;
    }
    host.memory.write(this.#storeList, 8, GLOBAL_CTRL);
    host.vmwrite(FIELDS.VM_EXIT_MSR_STORE_ADDRESS.encoding, BigInt(this.#storeList));
    host.vmwrite(FIELDS.VM_EXIT_MSR_STORE_COUNT.encoding, on ? 1n : 0n);
  }
}

/** Sets or clears one control of a word of the current VMCS. */
export function setControl(
  host: HostCpu,
  word: 'PIN_BASED_CONTROLS' | 'PRIMARY_CONTROLS' | 'VM_EXIT_CONTROLS' | 'VM_ENTRY_CONTROLS',
  control: number,
  on: boolean,
): void {
  const { encoding } = FIELDS[word];
  const old = Number(host.vmread(encoding));
  const value = (on ? old | control : old & ~control) >>> 0;
  if (value !== old) host.vmwrite(encoding, BigInt(value));
}
