import { isCanonical, MASK64 } from '../../bits/u64.ts';
import { CR4 } from '../../cpu/control-registers.ts';
import type { PhysicalWords } from '../../memory/physical-memory.ts';
import type { MsrBus } from '../../msr/bus.ts';
import { PRIMARY, type VmxShape } from '../../msr/vmx.ts';
import type { Controls } from '../controls.ts';
import { FIELDS, type Field, type FieldName } from '../fields.ts';
import { INTERRUPTION, typeOf } from '../interruption.ts';
import type { Vmcs } from '../vmcs.ts';

/**
 * What VM entry's checks know beside the VMCS: of the processor, or of what a hypervisor that virtualises VMX gives its
 * guest for one.
 */
export interface EntryProcessor {
  readonly shape: VmxShape;
  /** Bits of CR4 that exist, bits of a physical address. */
  readonly features: { readonly cr4: bigint; readonly physicalWidth: number };
  readonly memory: PhysicalWords;
  readonly msr: Pick<MsrBus, 'accepts'>;
  /** Whether IA32_EFER.LMA is 1 where the entry starts. */
  inLongMode(): boolean;
}

/** One VM entry as its checks see it: the VMCS, the processor's abilities, the state it starts from. */
export class Entry implements Controls {
  readonly vmcs: Vmcs;
  readonly shape: VmxShape;
  /** Bits of CR4 that exist, bits of a physical address, bits of a linear address. */
  readonly cr4: bigint;
  readonly physicalWidth: number;
  readonly linearWidth: number;
  readonly msr: Pick<MsrBus, 'accepts'>;
  readonly #processor: EntryProcessor;
  readonly #beyond: bigint;

  constructor(processor: EntryProcessor, vmcs: Vmcs) {
    const { features, shape, msr } = processor;
    this.#processor = processor;
    this.vmcs = vmcs;
    this.shape = shape;
    this.msr = msr;
    this.cr4 = features.cr4;
    this.physicalWidth = features.physicalWidth;
    this.linearWidth = (this.cr4 & CR4.LA57) !== 0n ? 57 : 48;
    this.#beyond = MASK64 << BigInt(this.physicalWidth);
  }

  get memory(): PhysicalWords {
    return this.#outside.memory;
  }

  /** Whether the host is in IA-32e mode. */
  get inLongMode(): boolean {
    return this.#outside.inLongMode();
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

  /** What lies outside the VMCS, and may change without a VMWRITE. */
  get #outside(): EntryProcessor {
    this.vmcs.rules.lookOutside();
    return this.#processor;
  }

  #word(field: Field): number {
    this.vmcs.rules.look(field);
    return this.vmcs.read32(field);
  }
}
