import { isSet } from '../../bits/bitfield.ts';
import { isCanonical, MASK64 } from '../../bits/u64.ts';
import { CR0_FIXED, FEATURE_CONTROL } from '../../msr/vmx.ts';
import { EXIT_REASON } from '../../vmx/exit-reasons.ts';
import type { VmxOutcome } from '../../vmx/outcome.ts';
import { CR4 } from '../control-registers.ts';
import { injectionOf } from '../emulation.ts';
import type { Next } from '../exit-handlers.ts';
import { ownControlRegisters, readControlRegister } from '../paging-mode.ts';
import type { GuestFault } from '../ports.ts';
import type { Vcpu } from '../vcpu.ts';
import { enterL2 } from './enter.ts';
import { forgetL2 } from './leave.ts';
import type { NestedVmx } from './nested-vmx.ts';
import {
  readDescriptor,
  readPointer,
  readValue,
  registerOperand,
  writePointer,
  writeValue,
} from './operands.ts';

const UD: Next = { inject: 6 };
const GP: Next = { inject: 13, errorCode: 0 };
const CF = 1n;
const ZF = 1n << 6n;
const STATUS_FLAGS = 0x8d5n;

/** How a VMX instruction ends: by the flags, or in a fault of its operand. */
type Outcome = VmxOutcome | GuestFault;
type Instruction = (vcpu: Vcpu, nested: NestedVmx) => Outcome;

const withPointer =
  (run: (nested: NestedVmx, pointer: bigint) => VmxOutcome): Instruction =>
  (vcpu, nested) => {
    const pointer = readPointer(vcpu);
    return typeof pointer === 'bigint' ? run(nested, pointer) : pointer;
  };

const vmread: Instruction = (vcpu, { operation }) => {
  const value = operation.read(operation.vmcss.current, registerOperand(vcpu));
  if (typeof value !== 'bigint') return value;
  return writeValue(vcpu, value) ?? 'VMsucceed';
};

const vmwrite: Instruction = (vcpu, { operation }) => {
  const value = readValue(vcpu);
  if (typeof value !== 'bigint') return value;
  return operation.write(operation.vmcss.current, registerOperand(vcpu), value);
};

const vmxoff: Instruction = (vcpu, { operation }) => {
  const outcome = operation.vmxoff();
  ownControlRegisters(vcpu);
  return outcome;
};

const invept: Instruction = (vcpu, nested) => {
  const descriptor = readDescriptor(vcpu);
  if (typeof descriptor !== 'bigint') return descriptor;
  return nested.operation.invept(registerOperand(vcpu), descriptor & MASK64, () =>
    forgetL2(vcpu, nested),
  );
};

const invvpid: Instruction = (vcpu, nested) => {
  const descriptor = readDescriptor(vcpu);
  if (typeof descriptor !== 'bigint') return descriptor;
  const canonical = isCanonical(descriptor >> 64n);
  return nested.operation.invvpid(registerOperand(vcpu), descriptor & MASK64, canonical, () =>
    forgetL2(vcpu, nested),
  );
};

// biome-ignore format: a table
const INSTRUCTIONS: Readonly<Partial<Record<number, Instruction>>> = {
  [EXIT_REASON.VMCLEAR]: withPointer(({ operation }, pointer) => operation.vmclear(pointer)),
  [EXIT_REASON.VMPTRLD]: withPointer(({ operation }, pointer) => operation.vmptrld(pointer)),
  [EXIT_REASON.VMPTRST]: (vcpu, { operation }) => writePointer(vcpu, operation.vmptrst()) ?? 'VMsucceed',
  [EXIT_REASON.VMREAD]:  vmread,
  [EXIT_REASON.VMWRITE]: vmwrite,
  [EXIT_REASON.VMOFF]:   vmxoff,
  [EXIT_REASON.INVEPT]:  invept,
  [EXIT_REASON.INVVPID]: invvpid,
};

const KIND: Readonly<Partial<Record<number, 'launch' | 'resume'>>> = {
  [EXIT_REASON.VMLAUNCH]: 'launch',
  [EXIT_REASON.VMRESUME]: 'resume',
};

/** A VMX instruction of a guest that may have VMX; #UD where it has not, and for those not virtualised. */
export function vmxInstruction(vcpu: Vcpu): Next {
  const { nested } = vcpu;
  if (!nested) return UD;
  const reason = Number(vcpu.read('EXIT_REASON')) & 0xffff;
  if (reason === EXIT_REASON.VMON) return vmxon(vcpu, nested);
  const instruction = INSTRUCTIONS[reason];
  const kind = KIND[reason];
  if (!nested.operation.isOn || !(instruction || kind)) return UD;
  if (vcpu.cpl !== 0) return GP;
  if (instruction) return end(vcpu, instruction(vcpu, nested));
  const outcome = enterL2(vcpu, nested, kind!);
  return outcome === undefined ? 'enter' : end(vcpu, outcome);
}

/** Vol. 3, "VMXON—Enter VMX Operation". */
function vmxon(vcpu: Vcpu, nested: NestedVmx): Next {
  const cr0 = readControlRegister(vcpu, 0);
  if (!isSet(readControlRegister(vcpu, 4), CR4.VMXE)) return UD;
  if (vcpu.cpl !== 0) return GP;
  const { operation, state } = nested;
  if (operation.isOn) return end(vcpu, operation.vmxon(0n));
  const enabled = FEATURE_CONTROL.LOCK | FEATURE_CONTROL.VMX_OUTSIDE_SMX;
  if ((state.featureControl & enabled) !== enabled) return GP;
  if ((cr0 & CR0_FIXED.one) !== CR0_FIXED.one) return GP;
  const pointer = readPointer(vcpu);
  if (typeof pointer !== 'bigint') return end(vcpu, pointer);
  const outcome = operation.vmxon(pointer);
  ownControlRegisters(vcpu);
  return end(vcpu, outcome);
}

function end(vcpu: Vcpu, outcome: Outcome): Next {
  if (typeof outcome === 'object' && 'kind' in outcome) {
    return injectionOf(outcome);
  }
  const flag = outcome === 'VMsucceed' ? 0n : outcome === 'VMfailInvalid' ? CF : ZF;
  vcpu.write('GUEST_RFLAGS', (vcpu.read('GUEST_RFLAGS') & ~STATUS_FLAGS) | flag);
  return 'advance';
}
