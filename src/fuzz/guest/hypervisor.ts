import type { OnExit } from '../case.ts';
import { Code } from './code.ts';
import { EXIT_SIZE, FIELD_SIZE, LAYOUT, READY_PORT, RECORD } from './layout.ts';
import { FIELD } from './vmcs.ts';

/** The guest hypervisor: it enters VMX operation, runs the loop of steps as its guest and writes down every exit. */
export interface Hypervisor {
  readonly code: Uint8Array;
  readonly boot: number;
  /** HOST_RIP. */
  readonly exit: number;
  readonly routines: Readonly<Record<OnExit, number>>;
  /** Address of each instruction by which it carries an access out. */
  readonly instructions: ReadonlySet<number>;
  /** Handlers of #GP, of what it carries out, and of any other exception. */
  readonly generalProtection: number;
  readonly otherException: number;
}

const EXIT_REASON = { NMI: 0, CPUID: 10, RDPMC: 15, RDMSR: 31, WRMSR: 32 } as const;
const FEATURE_CONTROL = 0x3a;
const VMX_BASIC = 0x480;
/** Valid, error code, hardware exception 13. Vol. 3, "VM-Entry Controls for Event Injection". */
const GENERAL_PROTECTION = 0x8000_0b0d;

const byte = (value: number) => value.toString(16).padStart(2, '0');

/** R8 to R15 are the hypervisor's, for its guest uses none of them: R15 points at a record of an exit, R14 has its reason. */
function assemble(): Hypervisor {
  const code = new Code(LAYOUT.HYPERVISOR);
  const instructions = new Set<number>();
  /** VMREAD [R15 + at], R8. */
  const vmread = (field: number, at: number) =>
    code.emit('41 b8', field, `45 0f 78 47 ${byte(at)}`);
  /** VMWRITE R8, R9. */
  const vmwrite = (field: number, value: number) =>
    code.emit('41 b8', field, '41 b9', value, '45 0f 79 c1');
  /** MOV [R15 + 20], EDI; the next record is behind this one. */
  const recorded = () => {
    code.emit(`41 89 7f ${byte(RECORD.RDI)}`, `41 83 c7 ${byte(EXIT_SIZE)}`);
    code.emit('44 89 3c 25', LAYOUT.EXITS_END);
  };
  /** CMP R14D, reason; JE. */
  const on = (reason: number, label: string) =>
    code.emit(`41 83 fe ${byte(reason)}`, '0f 84', `@${label}`);

  // LGDT, LIDT, LTR; CR4 |= [ENTRY].
  code.label('boot').emit('0f 01 14 25', LAYOUT.GDTR, '0f 01 1c 25', LAYOUT.IDTR);
  code.emit('b8', 0x48, '0f 00 d8');
  code.emit('0f 20 e0', '48 0b 04 25', LAYOUT.ENTRY, '0f 22 e0');
  // IA32_FEATURE_CONTROL, unless firmware has locked it: locked, VMX outside SMX.
  code.emit('b9', FEATURE_CONTROL, '0f 32', 'a8 01', '75 09', 'b8', 5, '31 d2', '0f 30');
  // The revision identifier of both regions; VMXON, VMCLEAR, VMPTRLD.
  code.emit('b9', VMX_BASIC, '0f 32', '25', 0x7fff_ffff);
  code.emit('89 04 25', LAYOUT.VMXON, '89 04 25', LAYOUT.VMCS);
  code.emit('f3 0f c7 34 25', LAYOUT.VMXON_POINTER, '0f 86', '@lost');
  code.emit('66 0f c7 34 25', LAYOUT.VMCS_POINTER, '0f 86', '@lost');
  code.emit('0f c7 34 25', LAYOUT.VMCS_POINTER, '0f 86', '@lost');
  // In front of the first step: the fields that no case changes; behind the snapshot those that this one does; VMLAUNCH.
  code.emit('bf', LAYOUT.RESULTS, 'e8', '@fields');
  code.emit(`e6 ${byte(READY_PORT)}`, 'e8', '@fields', '0f 01 c2');
  code.label('failed').emit('44 8b 3c 25', LAYOUT.EXITS_END);
  vmread(FIELD.VM_INSTRUCTION_ERROR, RECORD.REASON);
  code.emit(`41 c7 47 ${byte(RECORD.VM_FAIL)}`, 1);
  recorded();
  code.emit('eb', '!ended');
  code.label('lost').emit('c7 04 25', LAYOUT.LOST, 1);
  code.label('ended').emit('f4', 'eb fd');

  // VMWRITE of each pair of an encoding and a value, up to an encoding of all ones.
  code.label('fields').emit('be', LAYOUT.FIELDS);
  code
    .label('field')
    .emit('8b 06', '83 f8 ff', '74', '!written', '0f 79 46 08', '0f 86', '@failed');
  code.emit(`83 c6 ${byte(FIELD_SIZE)}`, 'eb', '!field');
  code.label('written').emit('c3');

  code.label('exit').emit('44 8b 3c 25', LAYOUT.EXITS_END);
  code.emit('41 81 ff', LAYOUT.ENTRY_LOAD, '0f 83', '@lost');
  vmread(FIELD.EXIT_REASON, RECORD.REASON);
  vmread(FIELD.EXIT_QUALIFICATION, RECORD.QUALIFICATION);
  vmread(FIELD.VM_EXIT_INSTRUCTION_LENGTH, RECORD.LENGTH);
  vmread(FIELD.GUEST_RIP, RECORD.RIP);
  code.emit('45 8b 37');
  recorded();
  on(EXIT_REASON.NMI, 'nmi');
  on(EXIT_REASON.CPUID, 'cpuid');
  for (const access of ['RDPMC', 'RDMSR', 'WRMSR'] as const) on(EXIT_REASON[access], 'access');
  // HLT, a VM entry that failed, or what nobody has asked for.
  code.emit('e9', '@ended');
  code.label('access').emit('ff 24 25', LAYOUT.ON_EXIT);

  code.label('carry-out');
  on(EXIT_REASON.RDPMC, 'rdpmc');
  on(EXIT_REASON.RDMSR, 'rdmsr');
  const carry = (label: string, bytes: string) => {
    instructions.add(code.label(label).here);
    code.emit(bytes, 'eb', '!skip');
  };
  carry('wrmsr', '0f 30');
  carry('rdmsr', '0f 32');
  carry('rdpmc', '0f 33');
  code.label('cpuid').emit('0f a2');
  // RIP of the record and its length, which is behind it by now; VMWRITE; VMRESUME.
  code.label('skip');
  code.emit(`4d 8b 47 ${byte(RECORD.RIP + 0x100 - EXIT_SIZE)}`);
  code.emit(`45 8b 4f ${byte(RECORD.LENGTH + 0x100 - EXIT_SIZE)}`, '4d 01 c8');
  code.emit('41 b9', FIELD.GUEST_RIP, '45 0f 79 c8', 'eb', '!resume');
  // INT 2: the hypervisor's own handler, whose IRET ends the blocking.
  code.label('nmi').emit('cd 02');
  code.label('resume').emit('0f 01 c3', 'e9', '@failed');
  code.label('inject');
  vmwrite(FIELD.VM_ENTRY_INTERRUPTION_INFORMATION, GENERAL_PROTECTION);
  vmwrite(FIELD.VM_ENTRY_EXCEPTION_ERROR_CODE, 0);
  code.emit('eb', '!resume');
  return {
    code: code.finish(),
    boot: code.at('boot'),
    exit: code.at('exit'),
    routines: {
      skip: code.at('skip'),
      'carry-out': code.at('carry-out'),
      inject: code.at('inject'),
    },
    instructions,
    generalProtection: code.at('inject'),
    otherException: code.at('lost'),
  };
}

export const HYPERVISOR: Hypervisor = assemble();
