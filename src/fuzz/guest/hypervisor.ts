import type { OnExit } from '../case.ts';
import { Code } from './code.ts';
import { EXIT_SIZE, FIELD_SIZE, LAYOUT, READY_PORT } from './layout.ts';
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

const EXIT_REASON = { CPUID: 10, RDPMC: 15, RDMSR: 31, WRMSR: 32 } as const;
const FEATURE_CONTROL = 0x3a;
const VMX_BASIC = 0x480;
/** Of the second dword of a record: VM entry itself has failed, and the first is the VM-instruction error. */
const VM_FAIL = 1;
/** Valid, error code, hardware exception 13. Vol. 3, "VM-Entry Controls for Event Injection". */
const GENERAL_PROTECTION = 0x8000_0b0d;

/** R8 to R15 are the hypervisor's: its guest uses none of them. */
function assemble(): Hypervisor {
  const code = new Code(LAYOUT.HYPERVISOR);
  const instructions = new Set<number>();
  const number = (value: number) => value.toString(16).padStart(2, '0');
  code.label('boot').emit('0f 01 14 25', LAYOUT.GDTR, '0f 01 1c 25', LAYOUT.IDTR);
  code.emit('b8', 0x48, '0f 00 d8');
  code.emit('0f 20 e0', '48 0b 04 25', LAYOUT.ENTRY, '0f 22 e0');
  // IA32_FEATURE_CONTROL, unless firmware has locked it: locked, VMX outside SMX.
  code.emit('b9', FEATURE_CONTROL, '0f 32', 'a8 01', '75 09', 'b8', 5, '31 d2', '0f 30');
  code.emit('b9', VMX_BASIC, '0f 32', '25', 0x7fff_ffff);
  code.emit('89 04 25', LAYOUT.VMXON, '89 04 25', LAYOUT.VMCS);
  code.emit('f3 0f c7 34 25', LAYOUT.VMXON_POINTER, '0f 86', '@lost');
  code.emit('66 0f c7 34 25', LAYOUT.VMCS_POINTER, '0f 86', '@lost');
  code.emit('0f c7 34 25', LAYOUT.VMCS_POINTER, '0f 86', '@lost');
  // Fields that no case changes; behind the snapshot those that this one does.
  code.emit('e8', '@fields', `e6 ${number(READY_PORT)}`, 'e8', '@fields');
  code.emit('bf', LAYOUT.RESULTS, '0f 01 c2');
  code.label('failed');
  code.emit('44 8b 3c 25', LAYOUT.EXITS_END, '41 b8', FIELD.VM_INSTRUCTION_ERROR, '45 0f 78 07');
  code.emit('41 c7 47 04', VM_FAIL, '41 89 7f 14', `41 83 c7 ${number(EXIT_SIZE)}`);
  code.emit('44 89 3c 25', LAYOUT.EXITS_END, 'eb', '!ended');
  code.label('lost').emit('c7 04 25', LAYOUT.LOST, 1);
  code.label('ended').emit('f4', 'eb fd');

  // VMWRITE of each pair of an encoding and a value, up to an encoding of all ones.
  code.label('fields').emit('be', LAYOUT.FIELDS);
  code.label('field').emit('8b 06', '83 f8 ff', '74', '!written', '0f 79 46 08', '0f 86', '@lost');
  code.emit(`83 c6 ${number(FIELD_SIZE)}`, 'eb', '!field');
  code.label('written').emit('c3');

  // A record: reason, qualification, length, the guest's RDI, its RIP.
  code.label('exit').emit('44 8b 3c 25', LAYOUT.EXITS_END);
  code.emit('41 81 ff', LAYOUT.ENTRY_LOAD, '0f 83', '@lost');
  code.emit('41 b8', FIELD.EXIT_REASON, '45 0f 78 07');
  code.emit('41 b8', FIELD.EXIT_QUALIFICATION, '45 0f 78 47 08');
  code.emit('41 b8', FIELD.VM_EXIT_INSTRUCTION_LENGTH, '45 0f 78 47 10', '41 89 7f 14');
  code.emit('41 b8', FIELD.GUEST_RIP, '45 0f 78 47 18');
  code.emit('45 8b 37', `41 83 c7 ${number(EXIT_SIZE)}`, '44 89 3c 25', LAYOUT.EXITS_END);
  const on = (reason: number, label: string) =>
    code.emit(`41 83 fe ${number(reason)}`, '0f 84', `@${label}`);
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
  code.label('skip').emit('4d 8b 47 f8', '45 8b 4f f0', '4d 01 c8');
  code.emit('41 b9', FIELD.GUEST_RIP, '45 0f 79 c8');
  code.label('resume').emit('0f 01 c3', 'e9', '@failed');
  code.label('inject');
  const write = (field: number, value: number) =>
    code.emit('41 b8', field, '41 b9', value, '45 0f 79 c1');
  write(FIELD.VM_ENTRY_INTERRUPTION_INFORMATION, GENERAL_PROTECTION);
  write(FIELD.VM_ENTRY_EXCEPTION_ERROR_CODE, 0);
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
