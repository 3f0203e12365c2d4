import type { PhysicalWords } from '../memory/physical-memory.ts';
import { SECONDARY, type VmxShape } from '../msr/vmx.ts';
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
  readonly #memory: PhysicalWords;
  readonly #shape: VmxShape;
  readonly #fields: ReadonlyMap<number, Field>;
  readonly #active = new Map<number, Vmcs>();

  constructor(memory: PhysicalWords, shape: VmxShape) {
    this.#memory = memory;
    this.#shape = shape;
    this.#fields = fieldsOf(shape);
  }

  /** Whether a region has this processor's revision identifier, and a shadow-VMCS indicator only where that may be. */
  isOurs(address: number, { mayBeShadow = false } = {}): boolean {
    const { revision, isShadow } = Vmcs.header(this.#memory, address);
    return revision === this.#shape.revision && (!isShadow || mayBeShadow);
  }

  /** Whether VMPTRLD takes a region. */
  mayLoad(address: number): boolean {
    const mayBeShadow = (this.#shape.secondary & SECONDARY.VMCS_SHADOWING) !== 0;
    return this.isOurs(address, { mayBeShadow });
  }

  /** The VMCS that VM entry takes: the current one, unless it is a shadow VMCS. */
  get enterable(): Vmcs | undefined {
    const { current } = this;
    return current && this.isOurs(current.address) ? current : undefined;
  }

  /** A VMCS that is not current but in use, as a shadow VMCS is: it becomes active. */
  use(address: number): Vmcs {
    const vmcs = this.#at(address);
    this.#active.set(address, vmcs);
    return vmcs;
  }

  /** Makes a VMCS active and current. */
  load(address: number): void {
    this.current = this.use(address);
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
  field(encoding: number): Field | undefined {
    if (encoding > 0xffff_ffff) return undefined;
    const field = this.#fields.get(encoding & ~HIGH_ACCESS);
    return field && (encoding & HIGH_ACCESS) !== 0 && field.width !== 64 ? undefined : field;
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
