import { ACCESS_FORMS } from '../case.ts';
import { Code } from './code.ts';
import { APIC, HOST_PORT, LAYOUT, READY_PORT, STEP_SIZE } from './layout.ts';

const FORCED_EMULATION = '0f 0b 6b 76 6d';

/** The instruction of each form. RAX, RDX, RCX hold the step's operands; RBX points at the operand area. */
// biome-ignore format: a table
const FORMS: Readonly<Record<string, string>> = {
  rdmsr:            '0f 32',
  wrmsr:            '0f 30',
  rdpmc:            '0f 33',
  'emulated-rdmsr': `${FORCED_EMULATION} 0f 32`,
  'emulated-wrmsr': `${FORCED_EMULATION} 0f 30`,
  'emulated-rdpmc': `${FORCED_EMULATION} 0f 33`,
  rdmsrlist:        'f2 0f 01 c6',
  wrmsrlist:        'f3 0f 01 c6',
  wrmsrns:          '0f 01 c6',
  urdmsr:           'f2 0f 38 f8 c1', // URDMSR RCX, RAX
  uwrmsr:           'f3 0f 38 f8 c1',
  'rdmsr-imm':      'c4 e7 7b f6 c0 c1 04 00 00', // RDMSR RAX, 4C1H
  'wrmsrns-imm':    'c4 e7 7a f6 c0 c1 04 00 00',
  xsaves:           '48 0f c7 2b', // XSAVES64 [RBX]
  cpuid:            '0f a2',
};

/** The guest: one loop that takes a step from a table, executes it and writes down what came of it. */
export interface Stub {
  readonly code: Uint8Array;
  /** Address of the routine of each form, and of `work`, `host`, `end`. */
  readonly routines: Readonly<Record<string, number>>;
  /** Address of the instruction that each form is about. */
  readonly instructions: Readonly<Record<string, number>>;
  readonly start: number;
  /** Behind telling that it is ready. */
  readonly begin: number;
  /** Handler of each exception vector. */
  readonly handlers: readonly number[];
  readonly endHandler: number;
}

/** Exceptions that push an error code. Vol. 3, "Protected-Mode Exceptions and Interrupts". */
const WITH_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const NMI = 2;

function assemble(): Stub {
  const code = new Code(LAYOUT.CODE);
  const instructions: Record<string, number> = {};
  // LGDT, LIDT, LTR; CR4 |= [ENTRY]; IRETQ to the loop with what lies behind.
  code.emit('0f 01 14 25', LAYOUT.GDTR, '0f 01 1c 25', LAYOUT.IDTR);
  code.emit('b8', 0x48, '0f 00 d8');
  code.emit('0f 20 e0', '48 0b 04 25', LAYOUT.ENTRY, '0f 22 e0');
  for (let field = 1; field <= 5; field++) code.emit('ff 34 25', LAYOUT.ENTRY + 8 * field);
  code.emit('48 cf');
  code.label('start').emit(`e6 ${READY_PORT.toString(16)}`);
  code.label('begin').emit('be', LAYOUT.STEPS, 'bf', LAYOUT.RESULTS, 'bb', LAYOUT.OPERANDS);
  // RCX, EAX, EDX from the step; to its routine.
  code.label('loop').emit('8b 4e 08', '8b 46 10', '8b 56 14', 'ff 26');
  for (const [form, bytes] of Object.entries(FORMS)) {
    code.label(form);
    instructions[form] = code.here;
    code.emit(bytes, 'e9', '@done');
  }
  code.label('work').emit('ff c9', '75 fc', 'e9', '@done');
  code.label('host');
  instructions['host'] = code.here;
  code.emit(`e6 ${HOST_PORT.toString(16)}`, 'e9', '@done');
  code.label('end').emit('cd 80');
  code.label('done').emit('89 47 08', '89 57 0c', 'c7 07', 1);
  // CPUID writes RBX.
  code.label('advance').emit('bb', LAYOUT.OPERANDS);
  code.emit(`83 c6 ${STEP_SIZE.toString(16)}`, `83 c7 ${STEP_SIZE.toString(16)}`, 'e9', '@loop');
  const handlers = Array.from({ length: 32 }, (_, vector) => {
    const at = code.here;
    if (vector === NMI) {
      code.emit('ff 04 25', LAYOUT.NMIS, '89 3c 25', LAYOUT.NMIS + 4);
      // A PMI masks the LVTPC: open it again.
      code.emit('50', 'b8', APIC.LVTPC, 'c7 00', APIC.NMI, '58', '48 cf');
    } else {
      if (!WITH_CODE.has(vector)) code.emit('6a 00');
      code.emit(`6a ${vector.toString(16).padStart(2, '0')}`, 'e9', '@fault');
    }
    return at;
  });
  // [RDI] = 100H + vector, RIP, error code; goes on behind the step.
  code.label('fault').emit('58', '0d', 0x100, '89 07', '58', '89 47 18');
  code.emit('48 8b 04 24', '48 89 47 10', '48 c7 04 24', code.at('advance'), '48 cf');
  code.label('ended').emit('f4', 'eb fd');
  const bytes = code.finish();
  const named = [...ACCESS_FORMS, 'cpuid', 'work', 'host', 'end'];
  return {
    code: bytes,
    routines: Object.fromEntries(named.map((name) => [name, code.at(name)])),
    instructions,
    start: code.at('start'),
    begin: code.at('begin'),
    handlers,
    endHandler: code.at('ended'),
  };
}

export const STUB: Stub = assemble();
