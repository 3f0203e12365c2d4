import { isCanonical } from '../../bits/u64.ts';
import type { MsrBus } from '../../msr/bus.ts';
import type { VmxShape } from '../../msr/vmx.ts';
import { type Controls, controlsOf } from '../controls.ts';
import { FIELDS, type FieldName } from '../fields.ts';
import { INTERRUPTION, typeOf } from '../interruption.ts';
import type { VmxMachine } from '../machine.ts';
import type { Vmcs } from '../vmcs.ts';

/** One VM entry as its checks see it: the VMCS, the processor's abilities, the state it starts from. */
export class Entry implements Controls {
  readonly machine: VmxMachine;
  readonly vmcs: Vmcs;
  readonly pin: number;
  readonly primary: number;
  readonly secondary: number;
  readonly exit: number;
  readonly entry: number;
  /** VM-entry interruption information; 0 when it is not valid. */
  readonly injection: number;

  constructor(machine: VmxMachine, vmcs: Vmcs) {
    this.machine = machine;
    this.vmcs = vmcs;
    const { pin, primary, secondary, exit, entry } = controlsOf(vmcs);
    this.pin = pin;
    this.primary = primary;
    this.secondary = secondary;
    this.exit = exit;
    this.entry = entry;
    const information = vmcs.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
    this.injection = information >= INTERRUPTION.VALID ? information : 0;
  }

  get shape(): VmxShape {
    return this.machine.shape;
  }

  /** Bits of CR4 that exist. */
  get cr4(): bigint {
    return this.machine.core.features.cr4;
  }

  get msr(): Pick<MsrBus, 'rdmsr' | 'accepts'> {
    return this.machine.msr;
  }

  read(field: FieldName): bigint {
    return this.vmcs.read(FIELDS[field]);
  }

  read32(field: FieldName): number {
    return this.vmcs.read32(FIELDS[field]);
  }

  /** Whether an address is a multiple of `alignment` and sets no bit beyond the physical-address width. */
  isAddress(address: bigint, alignment: bigint): boolean {
    return address % alignment === 0n && this.isPhysical(address);
  }

  isPhysical(address: bigint): boolean {
    return address >> BigInt(this.machine.core.features.physicalWidth) === 0n;
  }

  isCanonical(address: bigint): boolean {
    return isCanonical(address, this.machine.core.linearWidth);
  }

  /** Whether the event to inject is of `type`. */
  injects(type: number): boolean {
    return this.injection !== 0 && typeOf(this.injection) === type;
  }
}
