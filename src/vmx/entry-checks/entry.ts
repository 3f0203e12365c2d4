import { isCanonical, MASK64 } from '../../bits/u64.ts';
import { CR4 } from '../../cpu/control-registers.ts';
import type { State } from '../../cpu/state/state.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import type { MsrBus } from '../../msr/bus.ts';
import { PRIMARY, type VmxShape } from '../../msr/vmx.ts';
import type { Controls } from '../controls.ts';
import { FIELDS, type Field, type FieldName } from '../fields.ts';
import { INTERRUPTION, typeOf } from '../interruption.ts';
import type { VmxMachine } from '../machine.ts';
import type { Vmcs } from '../vmcs.ts';

/** One VM entry as its checks see it: the VMCS, the processor's abilities, the state it starts from. */
export class Entry implements Controls {
  readonly vmcs: Vmcs;
  readonly shape: VmxShape;
  /** Bits of CR4 that exist, bits of a physical address, bits of a linear address. */
  readonly cr4: bigint;
  readonly physicalWidth: number;
  readonly linearWidth: number;
  readonly msr: Pick<MsrBus, 'rdmsr' | 'accepts'>;
  readonly #machine: VmxMachine;
  readonly #beyond: bigint;

  constructor(machine: VmxMachine, vmcs: Vmcs) {
    const { core, shape, msr } = machine;
    this.#machine = machine;
    this.vmcs = vmcs;
    this.shape = shape;
    this.msr = msr;
    this.cr4 = core.features.cr4;
    this.physicalWidth = core.features.physicalWidth;
    this.linearWidth = (this.cr4 & CR4.LA57) !== 0n ? 57 : 48;
    this.#beyond = MASK64 << BigInt(this.physicalWidth);
  }

  /** What lies outside the VMCS, and may change without a VMWRITE. */
  get machine(): VmxMachine {
    this.vmcs.rules.lookOutside();
    return this.#machine;
  }

  get memory(): PhysicalMemory {
    return this.machine.memory;
  }

  get state(): State {
    return this.machine.core.state;
  }

  get pin(): number {
    return this.#word(FIELDS.PIN_BASED_CONTROLS);
  }

  get primary(): number {
    return this.#word(FIELDS.PRIMARY_CONTROLS);
  }

  get secondary(): number {
    const activated = (this.primary & PRIMARY.ACTIVATE_SECONDARY_CONTROLS) !== 0;
    return activated ? this.#word(FIELDS.SECONDARY_CONTROLS) : 0;
  }

  get exit(): number {
    return this.#word(FIELDS.VM_EXIT_CONTROLS);
  }

  get entry(): number {
    return this.#word(FIELDS.VM_ENTRY_CONTROLS);
  }

  /** VM-entry interruption information; 0 when it is not valid. */
  get injection(): number {
    const information = this.#word(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
    return information >= INTERRUPTION.VALID ? information : 0;
  }

  read(name: FieldName): bigint {
    const field = FIELDS[name];
    this.vmcs.rules.look(field);
    return this.vmcs.read(field);
  }

  /** Whether any of these bits of a field's low 32 is set. */
  hasBits(name: FieldName, bits: number): boolean {
    const field = FIELDS[name];
    this.vmcs.rules.lookAtBits(field, bits);
    return (this.vmcs.read32(field) & bits) !== 0;
  }

  read32(name: FieldName): number {
    return this.#word(FIELDS[name]);
  }

  /** Whether an address sets no bit beyond the physical-address width. */
  isPhysical(address: bigint): boolean {
    return (address & this.#beyond) === 0n;
  }

  /** Whether an address is canonical for the linear addresses that the processor supports. */
  isCanonical(address: bigint, width = this.linearWidth): boolean {
    return isCanonical(address, width);
  }

  /** Whether the event to inject is of `type`. */
  injects(type: number): boolean {
    const { injection } = this;
    return injection !== 0 && typeOf(injection) === type;
  }

  #word(field: Field): number {
    this.vmcs.rules.look(field);
    return this.vmcs.read32(field);
  }
}
