import { isSet } from '../bits/bitfield.ts';
import { CR4, RFLAGS, STATUS_FLAGS } from '../cpu/control-registers.ts';
import { Fault } from '../cpu/fault.ts';
import type { Insn } from '../cpu/insn.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { Core, SystemFunction } from '../cpu/system/core.ts';
import { is64Bit, isLongMode, isRealLike } from '../cpu/system/mode.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { FEATURE_CONTROL } from '../msr/vmx.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import {
  displacement,
  fieldAccessInformation,
  gprOf,
  invalidationInformation,
  memoryInformation,
} from './instruction-information.ts';
import type { NonRootOperation } from './non-root.ts';
import { VM_INSTRUCTION_ERROR, type VmxOutcome } from './outcome.ts';
import type { Vmx } from './vmx.ts';

/** Sets the arithmetic flags as VMsucceed, VMfailInvalid or VMfailValid has them. */
function setFlags(core: Core, outcome: VmxOutcome): void {
  const flag = outcome === 'VMsucceed' ? 0n : outcome === 'VMfailInvalid' ? RFLAGS.CF : RFLAGS.ZF;
  core.rflags = (core.rflags & ~STATUS_FLAGS) | flag;
}

const memoryOperand = (core: Core, insn: Insn) => {
  const memory = core.memoryOperand(insn);
  if (!memory) throw new TypeError(`${insn.op} has no memory operand`);
  return memory;
};

/** The 64-bit pointer that a memory operand holds. */
function pointer(core: Core, insn: Insn): bigint {
  const memory = memoryOperand(core, insn);
  return core.load(memory.segment, core.offset(memory, insn), 8);
}

/** What VMREAD, VMWRITE, INVEPT and INVVPID take from a register: 64 bits in 64-bit mode, else 32. */
const registerSize = (core: Core): 4 | 8 => (is64Bit(core.state) ? 8 : 4);

/** The 128-bit descriptor of INVEPT and INVVPID, low half first. */
function descriptor(core: Core, insn: Insn): [bigint, bigint] {
  const memory = memoryOperand(core, insn);
  const whole = core.load(memory.segment, core.offset(memory, insn), 16);
  return [whole & 0xffff_ffff_ffff_ffffn, whole >> 64n];
}

const registerOf = (insn: Insn): number => gprOf(insn.operands.find(({ kind }) => kind === 'gpr'));

interface VmxInstruction {
  /** Exit reason in VMX non-root operation; undefined for VMXON outside VMX operation alone. */
  readonly reason: number;
  /** Qualification and instruction information beside the length. */
  readonly information?: (insn: Insn) => number;
  /** Whether it exits in modes that have no VMX instructions. */
  readonly exitsInAnyMode?: boolean;
  /** Whether it does not exit from non-root operation but does there what it does in root operation. */
  readonly isVirtual?: (nonRoot: NonRootOperation, core: Core, insn: Insn) => boolean;
  /** What it does in root operation at CPL 0. Sets the flags unless it answers nothing. */
  run(vmx: Vmx, core: Core, insn: Insn): VmxOutcome | undefined;
}

function enter(kind: 'launch' | 'resume') {
  return (vmx: Vmx, core: Core): VmxOutcome | undefined => {
    const next = core.nextRip;
    const outcome = vmx.enter(kind, false, () => core.retire());
    if (outcome !== 'VMsucceed') {
      core.nextRip = next;
      return outcome;
    }
    core.nextRip = core.state.rip;
    return undefined;
  };
}

/** @param at the operand that holds the encoding of a field */
const shadowed =
  (access: 'VMREAD' | 'VMWRITE', at: number) =>
  (nonRoot: NonRootOperation, core: Core, insn: Insn): boolean =>
    nonRoot.shadows(access, core.operand(insn, at, registerSize(core)));

// biome-ignore format: a table
const TABLE: Readonly<Record<string, VmxInstruction>> = {
  VMXOFF:   { reason: EXIT_REASON.VMOFF, run: (vmx) => vmx.vmxoff() },
  VMCLEAR:  { reason: EXIT_REASON.VMCLEAR, information: memoryInformation, run: (vmx, core, insn) => vmx.vmclear(pointer(core, insn)) },
  VMPTRLD:  { reason: EXIT_REASON.VMPTRLD, information: memoryInformation, run: (vmx, core, insn) => vmx.vmptrld(pointer(core, insn)) },
  VMPTRST:  { reason: EXIT_REASON.VMPTRST, information: memoryInformation, run: (vmx, core, insn) => {
    const memory = memoryOperand(core, insn);
    core.store(memory.segment, core.offset(memory, insn), 8, vmx.vmptrst());
    return 'VMsucceed';
  } },
  VMREAD:   { reason: EXIT_REASON.VMREAD, information: (insn) => fieldAccessInformation(insn, 0, 1), isVirtual: shadowed('VMREAD', 1), run: (vmx, core, insn) => {
    const size = registerSize(core);
    const value = vmx.readField(core.operand(insn, 1, size));
    if (typeof value !== 'bigint') return value;
    core.setOperand(insn, 0, value, size);
    return 'VMsucceed';
  } },
  VMWRITE:  { reason: EXIT_REASON.VMWRITE, information: (insn) => fieldAccessInformation(insn, 1, 0), isVirtual: shadowed('VMWRITE', 0), run: (vmx, core, insn) => {
    const size = registerSize(core);
    const value = core.operand(insn, 1, size);
    return vmx.writeField(core.operand(insn, 0, size), value);
  } },
  VMLAUNCH: { reason: EXIT_REASON.VMLAUNCH, run: enter('launch') },
  VMRESUME: { reason: EXIT_REASON.VMRESUME, run: enter('resume') },
  VMCALL:   { reason: EXIT_REASON.VMCALL, exitsInAnyMode: true, run: (vmx) => vmx.fail(VM_INSTRUCTION_ERROR.VMCALL_IN_ROOT) },
  INVEPT:   { reason: EXIT_REASON.INVEPT, information: invalidationInformation, run: (vmx, core, insn) => {
    const type = core.gpr(registerOf(insn), registerSize(core));
    const [eptp] = descriptor(core, insn);
    return vmx.invept(Number(type), eptp);
  } },
  INVVPID:  { reason: EXIT_REASON.INVVPID, information: invalidationInformation, run: (vmx, core, insn) => {
    const type = core.gpr(registerOf(insn), registerSize(core));
    const [vpid, linear] = descriptor(core, insn);
    return vmx.invvpid(Number(type), vpid, linear);
  } },
};

/** Real-address, virtual-8086 and compatibility mode have no VMX instructions. */
const modeHasVmx = (core: Core): boolean =>
  !isRealLike(core.state) && (!isLongMode(core.state) || is64Bit(core.state));

function exitFrom(core: Core, insn: Insn, { reason, information }: VmxInstruction): void {
  core.exit = new VmExit(reason, {
    instructionLength: insn.length,
    qualification: information ? displacement(insn, core.state.rip) : 0n,
    instructionInformation: information?.(insn) ?? 0,
  });
}

/** Vol. 3, "VMXON—Enter VMX Operation". */
function vmxon(vmx: Vmx): SystemFunction {
  const inNonRoot: VmxInstruction = {
    reason: EXIT_REASON.VMON,
    information: memoryInformation,
    run: () => undefined,
  };
  return (core, insn) => {
    const cr0 = core.state.get(STATE.CR0);
    const cr4 = core.state.get(STATE.CR4);
    if (!modeHasVmx(core) || !isSet(cr4, CR4.VMXE)) throw new Fault('#UD');
    if (vmx.nonRoot) return exitFrom(core, insn, inNonRoot);
    core.requireCpl0();
    if (!vmx.operation) {
      const { LOCK, VMX_OUTSIDE_SMX } = FEATURE_CONTROL;
      const enabled = LOCK | VMX_OUTSIDE_SMX;
      if ((vmx.featureControl & enabled) !== enabled) throw new Fault('#GP', 0);
      if (!vmx.mayHold(0, cr0) || !vmx.mayHold(4, cr4)) throw new Fault('#GP', 0);
    }
    // In root operation it fails without reading its operand.
    setFlags(core, vmx.vmxon(vmx.operation ? 0n : pointer(core, insn)));
  };
}

/** The VMX instructions by mnemonic, as the core calls them. */
export function vmxInstructions(vmx: Vmx): Readonly<Record<string, SystemFunction>> {
  const plain = Object.entries(TABLE).map(([name, row]): [string, SystemFunction] => [
    name,
    (core, insn) => {
      if (vmx.nonRoot && row.exitsInAnyMode) return exitFrom(core, insn, row);
      if (!vmx.operation || !modeHasVmx(core)) throw new Fault('#UD');
      if (vmx.nonRoot && !row.isVirtual?.(vmx.nonRoot, core, insn))
        return exitFrom(core, insn, row);
      core.requireCpl0();
      const outcome = row.run(vmx, core, insn);
      if (outcome) setFlags(core, outcome);
    },
  ]);
  return { ...Object.fromEntries(plain), VMXON: vmxon(vmx), VMFUNC: (_, insn) => vmx.vmfunc(insn) };
}
