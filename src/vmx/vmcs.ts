import type { PhysicalWords } from '../memory/physical-memory.ts';
import { FIELD_COUNT, type Field } from './fields.ts';
import { RuleMemory } from './rule-memory.ts';
import type { Transfer } from './transfer.ts';

/** Where things stand in a VMCS region. Only the first two are architectural. */
const REGION = { HEADER: 0, ABORT: 4, LAUNCH_STATE: 8, FIELDS: 64, SIZE: 4096 } as const;

const REVISION_MASK = 0x7fff_ffffn;

/** Vol. 3, "Format of the VMCS Region". */
export interface VmcsHeader {
  /** VMCS revision identifier, 31 bits. */
  readonly revision: number;
  /** The shadow-VMCS indicator. */
  readonly isShadow: boolean;
}

/** A VMCS that the processor holds; plain data. */
export interface SavedVmcs {
  readonly address: number;
  readonly launched: boolean;
  readonly fields: readonly bigint[];
}

/**
 * One virtual-machine control structure, held by the processor while it is active
 * and written to its region by VMCLEAR and VMXOFF.
 * Vol. 3, "Virtual-Machine Control Structures".
 */
export class Vmcs {
  /** Physical address of the region. */
  readonly address: number;
  launched = false;
  /** What VM entry knows of these fields. */
  readonly rules = new RuleMemory();
  readonly #fields = new BigUint64Array(FIELD_COUNT);
  readonly #words = new Uint32Array(this.#fields.buffer);

  constructor(address: number) {
    this.address = address;
  }

  read(field: Field): bigint {
    return this.#fields[field.slot]!;
  }

  /** The low 32 bits, which is all of a 16- or 32-bit field. */
  read32(field: Field): number {
    return this.#words[field.slot * 2]!;
  }

  /** Bits above the field's width are dropped. */
  write(field: Field, value: bigint): void {
    const kept = value & field.mask;
    if (this.#fields[field.slot] !== kept) this.#change(field.slot, kept);
  }

  /** Writes a field of at most 32 bits. */
  write32(field: Field, value: number): void {
    const kept = (value & field.low) >>> 0;
    const old = this.#words[field.slot * 2]!;
    if (old === kept) return;
    this.#words[field.slot * 2] = kept;
    this.rules.changed(field.slot, old ^ kept);
  }

  /** Copies fields to the state block. */
  copyTo(block: Uint32Array, { vmcs, state }: Transfer): void {
    const words = this.#words;
    for (let i = 0; i < vmcs.length; i++) block[state[i]!] = words[vmcs[i]!]!;
  }

  /** Copies fields from the state block. */
  copyFrom(block: Uint32Array, { vmcs, state }: Transfer): void {
    const words = this.#words;
    for (let i = 0; i < vmcs.length; i++) {
      const at = vmcs[i]!;
      const value = block[state[i]!]!;
      const old = words[at]!;
      if (old === value) continue;
      words[at] = value;
      this.rules.changed(at >> 1, (at & 1) === 0 ? old ^ value : 0);
    }
  }

  save(): SavedVmcs {
    return { address: this.address, launched: this.launched, fields: [...this.#fields] };
  }

  /** Takes what a VMCS of this region held; what VM entry knows of fields that stay the same stays known. */
  restore(saved: SavedVmcs): void {
    this.launched = saved.launched;
    for (const [slot, value] of saved.fields.entries()) {
      if (this.#fields[slot] !== value) this.#change(slot, value);
    }
  }

  #change(slot: number, value: bigint): void {
    const old = this.#words[slot * 2]!;
    this.#fields[slot] = value;
    this.rules.changed(slot, old ^ this.#words[slot * 2]!);
  }

  /** Reads everything from the region. */
  load(memory: PhysicalWords): void {
    this.launched = memory.read(this.address + REGION.LAUNCH_STATE, 4) === 1n;
    for (let slot = 0; slot < FIELD_COUNT; slot++) {
      this.#fields[slot] = memory.read(this.address + REGION.FIELDS + slot * 8, 8);
    }
  }

  /** Writes everything to the region; what no RAM backs is lost. */
  store(memory: PhysicalWords): void {
    memory.write(this.address + REGION.LAUNCH_STATE, 4, this.launched ? 1n : 0n);
    for (let slot = 0; slot < FIELD_COUNT; slot++) {
      memory.write(this.address + REGION.FIELDS + slot * 8, 8, this.#fields[slot]!);
    }
  }

  /** The first dword of the region. */
  static header(memory: PhysicalWords, address: number): VmcsHeader {
    const word = memory.read(address + REGION.HEADER, 4);
    return { revision: Number(word & REVISION_MASK), isShadow: word > REVISION_MASK };
  }

  /** Writes the VMX-abort indicator. */
  abort(memory: PhysicalWords, code: number): void {
    memory.write(this.address + REGION.ABORT, 4, BigInt(code));
  }
}
