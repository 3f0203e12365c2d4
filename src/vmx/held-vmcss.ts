import type { PhysicalMemory } from '../memory/physical-memory.ts';
import type { VmxShape } from '../msr/vmx.ts';
import { type Field, fieldsOf, HIGH_ACCESS } from './fields.ts';
import { type SavedVmcs, Vmcs } from './vmcs.ts';

/** The VMCSs that a processor holds; plain data. */
export interface SavedVmcss {
  readonly active: readonly SavedVmcs[];
  /** Physical address of the current VMCS. */
  readonly current: number | undefined;
}

/** The VMCSs that a processor holds, from VMPTRLD to VMCLEAR or VMXOFF, and which of them is current. */
export class HeldVmcss {
  current: Vmcs | undefined;
  readonly #memory: PhysicalMemory;
  readonly #revision: number;
  readonly #fields: ReadonlyMap<number, Field>;
  readonly #active = new Map<number, Vmcs>();

  constructor(memory: PhysicalMemory, shape: VmxShape) {
    this.#memory = memory;
    this.#revision = shape.revision;
    this.#fields = fieldsOf(shape);
  }

  /** Whether a region has this processor's revision identifier, and no shadow-VMCS indicator: those do not exist here. */
  isOurs(address: number): boolean {
    return Vmcs.revision(this.#memory, address) === this.#revision;
  }

  /** Makes a VMCS active and current. */
  load(address: number): void {
    const vmcs = this.#at(address);
    this.#active.set(address, vmcs);
    this.current = vmcs;
  }

  /** Makes a VMCS clear, inactive and not current, and its region up to date. */
  clear(address: number): void {
    const vmcs = this.#at(address);
    vmcs.launched = false;
    vmcs.store(this.#memory);
    this.#active.delete(address);
    if (this.current === vmcs) this.current = undefined;
  }

  /** Leaves all of them in their regions. */
  release(): void {
    for (const vmcs of this.#active.values()) vmcs.store(this.#memory);
    this.#active.clear();
    this.current = undefined;
  }

  active(address: number): Vmcs | undefined {
    return this.#active.get(address);
  }

  /** The field that VMREAD and VMWRITE reach by an encoding. */
  field(encoding: bigint): Field | undefined {
    if (encoding >> 32n !== 0n) return undefined;
    const number = Number(encoding);
    const field = this.#fields.get(number & ~HIGH_ACCESS);
    return field && (number & HIGH_ACCESS) !== 0 && field.width !== 64 ? undefined : field;
  }

  save(): SavedVmcss {
    return {
      active: [...this.#active.values()].map((vmcs) => vmcs.save()),
      current: this.current?.address,
    };
  }

  restore({ active, current }: SavedVmcss): void {
    const known = new Map(this.#active);
    this.#active.clear();
    for (const each of active) {
      const vmcs = known.get(each.address) ?? new Vmcs(each.address);
      vmcs.restore(each);
      this.#active.set(each.address, vmcs);
    }
    this.current = current === undefined ? undefined : this.#active.get(current);
  }

  #at(address: number): Vmcs {
    const held = this.#active.get(address);
    if (held) return held;
    const vmcs = new Vmcs(address);
    vmcs.load(this.#memory);
    return vmcs;
  }
}
