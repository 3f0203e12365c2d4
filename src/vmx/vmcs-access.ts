import { isSet } from '../bits/bitfield.ts';
import { VMX_MISC, type VmxShape } from '../msr/vmx.ts';
import { FIELDS, HIGH_ACCESS } from './fields.ts';
import type { HeldVmcss } from './held-vmcss.ts';
import { VM_INSTRUCTION_ERROR, type VmxOutcome } from './outcome.ts';
import type { Vmcs } from './vmcs.ts';

/** VMREAD and VMWRITE of a VMCS, and how VMX instructions fail. Vol. 3, "Conventions" of the VMX instruction reference. */
export class VmcsAccess {
  readonly #vmcss: HeldVmcss;
  readonly #shape: VmxShape;

  constructor(vmcss: HeldVmcss, shape: VmxShape) {
    this.#vmcss = vmcss;
    this.#shape = shape;
  }

  /** VMfail: VMfailValid with the error number in the current VMCS if there is one. */
  fail(error: number): VmxOutcome {
    const { current } = this.#vmcss;
    if (!current) return 'VMfailInvalid';
    current.write32(FIELDS.VM_INSTRUCTION_ERROR, error);
    return { VMfailValid: error };
  }

  read(vmcs: Vmcs | undefined, encoding: number): bigint | VmxOutcome {
    if (!vmcs) return 'VMfailInvalid';
    const field = this.#vmcss.field(encoding);
    if (!field) return this.fail(VM_INSTRUCTION_ERROR.UNSUPPORTED_FIELD);
    const value = vmcs.read(field);
    return (encoding & HIGH_ACCESS) === 0 ? value : value >> 32n;
  }

  write(vmcs: Vmcs | undefined, encoding: number, value: bigint): VmxOutcome {
    if (!vmcs) return 'VMfailInvalid';
    const field = this.#vmcss.field(encoding);
    if (!field) return this.fail(VM_INSTRUCTION_ERROR.UNSUPPORTED_FIELD);
    if (field.type === 'information' && !isSet(this.#shape.misc, VMX_MISC.VMWRITE_ANY_FIELD)) {
      return this.fail(VM_INSTRUCTION_ERROR.READ_ONLY_FIELD);
    }
    const high = (encoding & HIGH_ACCESS) !== 0;
    const old = vmcs.read(field);
    vmcs.write(field, high ? (old & 0xffff_ffffn) | ((value & 0xffff_ffffn) << 32n) : value);
    return 'VMsucceed';
  }
}
