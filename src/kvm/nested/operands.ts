import { MASK32, MASK64 } from '../../bits/u64.ts';
import { readGpr, writeGpr } from '../guest-registers.ts';
import type { GuestSegmentName } from '../guest-state.ts';
import { isLongMode } from '../guest-state.ts';
import type { GuestFault } from '../ports.ts';
import type { Vcpu } from '../vcpu.ts';

/*
 * Operands of VMX instructions, from the VM-exit instruction-information field and the displacement in the exit
 * qualification. Vol. 3, "Information for VM Exits Due to Instruction Execution".
 */

const SEGMENTS: readonly GuestSegmentName[] = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
const REGISTER_FORM = 1 << 10;
const INDEX_INVALID = 1 << 22;
const BASE_INVALID = 1 << 27;
const ADDRESS_MASK = [0xffffn, MASK32, MASK64] as const;

const information = (vcpu: Vcpu): number => Number(vcpu.read('VM_EXIT_INSTRUCTION_INFORMATION'));

/** What VMREAD and VMWRITE move: 64 bits in 64-bit mode, else 32. */
const size = (vcpu: Vcpu): 4 | 8 => (isLongMode(vcpu.read('GUEST_IA32_EFER')) ? 8 : 4);

function register(vcpu: Vcpu, number: number): bigint {
  const value = readGpr(vcpu, number);
  return size(vcpu) === 8 ? value : value & MASK32;
}

/** Where the memory operand is. */
function memoryOperand(vcpu: Vcpu): { segment: GuestSegmentName; offset: bigint } {
  const word = information(vcpu);
  const part = (shift: number) => (word >>> shift) & 15;
  let offset = vcpu.read('EXIT_QUALIFICATION');
  if ((word & BASE_INVALID) === 0) offset += register(vcpu, part(23));
  if ((word & INDEX_INVALID) === 0) offset += register(vcpu, part(18)) << BigInt(word & 3);
  const mask = ADDRESS_MASK[(word >>> 7) & 7] ?? MASK64;
  return { segment: SEGMENTS[(word >>> 15) & 7]!, offset: offset & mask };
}

/** The 64-bit pointer in memory that VMXON, VMCLEAR and VMPTRLD take. */
export function readPointer(vcpu: Vcpu): bigint | GuestFault {
  const { segment, offset } = memoryOperand(vcpu);
  return vcpu.emulator.load(segment, offset, 8);
}

/** The 128 bits in memory that INVEPT and INVVPID take. */
export function readDescriptor(vcpu: Vcpu): bigint | GuestFault {
  const { segment, offset } = memoryOperand(vcpu);
  return vcpu.emulator.load(segment, offset, 16);
}

/** Where VMPTRST puts a pointer. */
export function writePointer(vcpu: Vcpu, value: bigint): GuestFault | undefined {
  const { segment, offset } = memoryOperand(vcpu);
  return vcpu.emulator.store(segment, offset, 8, value);
}

/** The operand that may be a register only: the encoding of a field, the type of an invalidation. */
export const registerOperand = (vcpu: Vcpu): number =>
  Number(register(vcpu, information(vcpu) >>> 28));

/** The other operand of VMREAD and VMWRITE: a register or memory. */
export function readValue(vcpu: Vcpu): bigint | GuestFault {
  const word = information(vcpu);
  if ((word & REGISTER_FORM) !== 0) return register(vcpu, (word >>> 3) & 15);
  const { segment, offset } = memoryOperand(vcpu);
  return vcpu.emulator.load(segment, offset, size(vcpu));
}

export function writeValue(vcpu: Vcpu, value: bigint): GuestFault | undefined {
  const word = information(vcpu);
  const bytes = size(vcpu);
  const kept = bytes === 8 ? value : value & MASK32;
  if ((word & REGISTER_FORM) !== 0) {
    writeGpr(vcpu, (word >>> 3) & 15, kept);
    return undefined;
  }
  const { segment, offset } = memoryOperand(vcpu);
  return vcpu.emulator.store(segment, offset, bytes, kept);
}
