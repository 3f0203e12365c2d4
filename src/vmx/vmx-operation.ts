import { isSet } from '../bits/bitfield.ts';
import { MASK64 } from '../bits/u64.ts';
import type { PhysicalWords } from '../memory/physical-memory.ts';
import { VMX_MISC, type VmxShape } from '../msr/vmx.ts';
import { eptpIsValid } from './ept.ts';
import { FIELDS, HIGH_ACCESS } from './fields.ts';
import { HeldVmcss, type SavedVmcss } from './held-vmcss.ts';
import { VM_INSTRUCTION_ERROR, type VmxOutcome } from './outcome.ts';
import type { Vmcs } from './vmcs.ts';

const NO_VMCS = MASK64;

export interface SavedVmxOperation {
  readonly vmxon: number | undefined;
  readonly vmcss: SavedVmcss;
}

/**
 * VMX operation as the software that is in it sees it: the VMXON region, the VMCSs, and the instructions that concern
 * nothing else, their operands read. A processor has it, and so does a guest whose hypervisor virtualises VMX.
 * Vol. 3, "VMX Instruction Reference".
 */
export class VmxOperation {
  readonly vmcss: HeldVmcss;
  readonly #shape: VmxShape;
  readonly #physicalWidth: () => number;
  /** Physical address of the VMXON region; undefined outside VMX operation. */
  #vmxon: number | undefined;

  constructor(parts: { shape: VmxShape; memory: PhysicalWords; physicalWidth: () => number }) {
    this.#shape = parts.shape;
    this.#physicalWidth = parts.physicalWidth;
    this.vmcss = new HeldVmcss(parts.memory, parts.shape);
  }

  get isOn(): boolean {
    return this.#vmxon !== undefined;
  }

  vmxon(region: bigint): VmxOutcome {
    if (this.isOn) return this.fail(VM_INSTRUCTION_ERROR.VMXON_IN_ROOT);
    if (!this.#isRegion(region)) return 'VMfailInvalid';
    if (!this.vmcss.isOurs(Number(region))) return 'VMfailInvalid';
    this.#vmxon = Number(region);
    return 'VMsucceed';
  }

  vmxoff(): VmxOutcome {
    this.vmcss.release();
    this.#vmxon = undefined;
    return 'VMsucceed';
  }

  vmclear(pointer: bigint): VmxOutcome {
    if (!this.#isRegion(pointer)) return this.fail(VM_INSTRUCTION_ERROR.VMCLEAR_BAD_ADDRESS);
    const address = Number(pointer);
    if (address === this.#vmxon) return this.fail(VM_INSTRUCTION_ERROR.VMCLEAR_VMXON_POINTER);
    this.vmcss.clear(address);
    return 'VMsucceed';
  }

  vmptrld(pointer: bigint): VmxOutcome {
    if (!this.#isRegion(pointer)) return this.fail(VM_INSTRUCTION_ERROR.VMPTRLD_BAD_ADDRESS);
    const address = Number(pointer);
    if (address === this.#vmxon) return this.fail(VM_INSTRUCTION_ERROR.VMPTRLD_VMXON_POINTER);
    if (!this.vmcss.mayLoad(address)) return this.fail(VM_INSTRUCTION_ERROR.VMPTRLD_BAD_REVISION);
    this.vmcss.load(address);
    return 'VMsucceed';
  }

  /** INVEPT; `flush` forgets what it names. */
  invept(type: number, eptp: bigint, flush: () => void): VmxOutcome {
    const valid =
      type === 2 || (type === 1 && eptpIsValid(this.#shape, this.#physicalWidth(), eptp));
    if (!valid) return this.fail(VM_INSTRUCTION_ERROR.BAD_OPERAND_OF_INVALIDATION);
    flush();
    return 'VMsucceed';
  }

  /**
   * INVVPID; `flush` forgets what it names.
   * @param vpid the first half of the descriptor, whole
   * @param canonical whether the linear address in the other half is
   */
  invvpid(type: number, vpid: bigint, canonical: boolean, flush: () => void): VmxOutcome {
    const known = type >= 0 && type <= 3;
    const identified = type === 2 || ((vpid & 0xffffn) !== 0n && vpid >> 16n === 0n);
    const reserved = type === 2 && vpid >> 16n !== 0n;
    if (!known || !identified || reserved || (type === 0 && !canonical)) {
      return this.fail(VM_INSTRUCTION_ERROR.BAD_OPERAND_OF_INVALIDATION);
    }
    flush();
    return 'VMsucceed';
  }

  /** The current-VMCS pointer; all ones without one. */
  vmptrst(): bigint {
    const { current } = this.vmcss;
    return current ? BigInt(current.address) : NO_VMCS;
  }

  /** VMfail: VMfailValid with the error number in the current VMCS if there is one. Vol. 3, "Conventions". */
  fail(error: number): VmxOutcome {
    const { current } = this.vmcss;
    if (!current) return 'VMfailInvalid';
    current.write32(FIELDS.VM_INSTRUCTION_ERROR, error);
    return { VMfailValid: error };
  }

  /** VMREAD of a VMCS. */
  read(vmcs: Vmcs | undefined, encoding: number): bigint | VmxOutcome {
    if (!vmcs) return 'VMfailInvalid';
    const field = this.vmcss.field(encoding);
    if (!field) return this.fail(VM_INSTRUCTION_ERROR.UNSUPPORTED_FIELD);
    const value = vmcs.read(field);
    return (encoding & HIGH_ACCESS) === 0 ? value : value >> 32n;
  }

  /** VMWRITE of a VMCS. */
  write(vmcs: Vmcs | undefined, encoding: number, value: bigint): VmxOutcome {
    if (!vmcs) return 'VMfailInvalid';
    const field = this.vmcss.field(encoding);
    if (!field) return this.fail(VM_INSTRUCTION_ERROR.UNSUPPORTED_FIELD);
    if (field.type === 'information' && !isSet(this.#shape.misc, VMX_MISC.VMWRITE_ANY_FIELD)) {
      return this.fail(VM_INSTRUCTION_ERROR.READ_ONLY_FIELD);
    }
    const high = (encoding & HIGH_ACCESS) !== 0;
    const old = vmcs.read(field);
    vmcs.write(field, high ? (old & 0xffff_ffffn) | ((value & 0xffff_ffffn) << 32n) : value);
    return 'VMsucceed';
  }

  save(): SavedVmxOperation {
    return { vmxon: this.#vmxon, vmcss: this.vmcss.save() };
  }

  restore(saved: SavedVmxOperation): void {
    this.#vmxon = saved.vmxon;
    this.vmcss.restore(saved.vmcss);
  }

  #isRegion(pointer: bigint): boolean {
    return (pointer & 0xfffn) === 0n && pointer >> BigInt(this.#physicalWidth()) === 0n;
  }
}
