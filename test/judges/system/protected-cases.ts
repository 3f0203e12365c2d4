import { inMode, type SystemCase } from './cases.ts';

const kernel = inMode('KERNEL');
const user = inMode('USER');
const code16 = inMode('CODE16');
const v86 = inMode('V86');

// biome-ignore format: a list
const SELECTORS = [
  '0', '3', '0x08', '0x0b', '0x10', '0x13', '0x30', '0x33', '0x38', '0x40', '0x48', '0x4b', '0x50', '0x58', '0x5b', '0x60', '0x63', '0x68',
  '0x90', '0x98', '0x0c', '0x0f', '0x14', '0x1f8',
];
// biome-ignore format: a list
const TARGETS = [
  '0', '0x08', '0x0b', '0x10', '0x28', '0x2b', '0x38', '0x40', '0x50', '0x58', '0x5b', '0x68', '0x70', '0x73', '0x78', '0x7b', '0x88', '0x8b',
  '0xa0', '0xa8', '0xb8', '0xc0', '0xc8', '0xd0', '0xd8', '0x0c', '0x1f8',
];

const far = (instruction: string, selector: string): string =>
  `mov dword [DATA], KCODE\nmov word [DATA + 4], ${selector}\n${instruction} far [DATA]`;

/** A frame for IRETD, deepest value last. */
const iretd = (...values: string[]): string =>
  `${values
    .toReversed()
    .map((value) => `push dword ${value}`)
    .join('\n')}\niretd`;

export const PROTECTED_CASES: readonly SystemCase[] = [
  kernel('INT 20H', 'nop'),
  user('INT 20H from CPL 3', 'nop'),
  user('INT n with a gate of DPL 0', 'int 0x80'),
  kernel('INT beyond the IDT', 'lidt [.idtr]\nint 0x90\n.idtr: dw 0x10f\ndd IDT'),
  kernel('INTO without OF', 'xor eax, eax\ninto'),
  user('INTO with OF at a gate of DPL 0', 'mov al, 0x7f\ninc al\ninto'),
  kernel('INTO with OF', 'mov al, 0x7f\ninc al\ninto'),
  kernel(
    'BOUND inside',
    'mov dword [DATA], 1\nmov dword [DATA + 4], 5\nmov eax, 3\nbound eax, [DATA]',
  ),
  kernel(
    'BOUND outside',
    'mov dword [DATA], -1\nmov dword [DATA + 4], 5\nmov eax, -2\nbound eax, [DATA]',
  ),
  kernel('a task gate in the IDT', 'int 0x22'),
  kernel('TF', 'pushfd\nor dword [esp], 0x100\npopfd\nnop\nnop'),
  user('POPFD at CPL 3', 'push 0x247ad7\npopfd\npushfd\npop ecx'),
  kernel('POPFD at CPL 0', 'push 0x2470d7\npopfd\npushfd\npop ecx\npush 2\npopfd'),
  kernel(
    'POPF of 16 bits',
    'push 0x40002\npopfd\npush word 0xd7\no16 popf\npushfd\npop ecx\npush 2\npopfd',
  ),
  user('CLI at CPL 3', 'cli'),
  user('HLT at CPL 3', 'hlt'),
  user('IN at CPL 3', 'in al, 0x80'),
  // segment registers
  ...SELECTORS.flatMap((selector) => [
    kernel(`DS = ${selector}`, `mov ecx, ${selector}\nmov ds, ecx`),
    kernel(
      `SS = ${selector}`,
      `mov ecx, ${selector}\nmov ss, ecx\nmov eax, ss\nmov cx, 0x10\nmov ss, cx`,
    ),
    user(`ES = ${selector} at CPL 3`, `mov ecx, ${selector}\nmov es, ecx`),
    user(`SS = ${selector} at CPL 3`, `mov ecx, ${selector}\nmov ss, ecx`),
    kernel(
      `LAR, LSL, VERR, VERW ${selector}`,
      `mov ecx, ${selector}\nlsl eax, ecx\nlar edx, ecx\nand edx, 0xf0ff00\nverr cx\nlahf\nmov bl, ah\nverw cx\nlahf\nmov bh, ah`,
    ),
    user(
      `LAR, LSL ${selector} at CPL 3`,
      `mov ecx, ${selector}\nlsl eax, ecx\nlar edx, ecx\nand edx, 0xf0ff00\nverr cx`,
    ),
  ]),
  ...['0x08', '0x10', '0x38', '0x70', '0x78', '0x80', '0x88', '0xa0', '0xa8', '0xb8'].map(
    (selector) =>
      kernel(
        `LAR, LSL of ${selector}`,
        `mov ecx, ${selector}\nxor eax, eax\nxor edx, edx\nlsl eax, ecx\nlar edx, ecx\nand edx, 0xf0ff00`,
      ),
  ),
  kernel('LDS', 'mov dword [DATA], 0x12345678\nmov word [DATA + 4], 0x48\nlds eax, [DATA]'),
  user('LES of a segment of level 0', 'mov word [DATA + 4], 0x10\nles eax, [DATA]'),
  kernel('PUSH and POP of segments', 'push ds\npop es\npush fs\npop ecx'),
  kernel('POP of a bad selector', 'push 0x38\npop es'),
  // limits and types
  kernel('write through read-only data', 'mov ecx, 0x48\nmov es, ecx\nmov [es:DATA], al'),
  kernel('read through execute-only code', 'mov al, [cs:DATA]'),
  kernel('write through code', 'mov [cs:DATA], al'),
  kernel('read inside 256 bytes', 'mov ecx, 0x98\nmov es, ecx\nmov eax, [es:0xfc]\nxor eax, eax'),
  kernel('read across the end of 256 bytes', 'mov ecx, 0x98\nmov es, ecx\nmov eax, [es:0xfd]'),
  kernel('read below expand-down data', 'mov ecx, 0x90\nmov es, ecx\nmov eax, [es:0x4fff]'),
  kernel('read of expand-down data', 'mov ecx, 0x90\nmov es, ecx\nmov eax, [es:DATA]'),
  kernel('read through a null selector', 'xor ecx, ecx\nmov es, ecx\nmov eax, [es:DATA]'),
  kernel('PUSH beyond the limit of SS', 'mov ecx, 0x98\nmov es, ecx\nmov eax, [es:0x100]'),
  kernel('ARPL', 'mov eax, 0x10\nmov ecx, 3\narpl ax, cx'),
  // far transfers and gates
  ...TARGETS.flatMap((selector) => [
    kernel(`JMP ${selector}`, far('jmp', selector)),
    kernel(`CALL ${selector}`, far('call', selector)),
    user(`JMP ${selector} at CPL 3`, far('jmp', selector)),
    user(`CALL ${selector} at CPL 3`, `push 7\npush 8\n${far('call', selector)}`),
  ]),
  kernel(
    'JMP beyond the limit',
    'mov dword [DATA], 0x10000\nmov word [DATA + 4], 0xb0\njmp far [DATA]',
  ),
  kernel('CALL through a 16-bit gate', 'call 0x80:0'),
  kernel('RETF', 'push 0x58\npush KCODE\nretf'),
  kernel('RETF to CPL 3', 'push 0x33\npush USTACK\npush 0x2b\npush UCODE\nretf'),
  kernel(
    'RETF n to CPL 3',
    'push 0x33\npush USTACK\npush 5\npush 6\npush 0x2b\npush UCODE\nretf 8',
  ),
  kernel('RETF to CPL 3 with a bad SS', 'push 0x10\npush USTACK\npush 0x2b\npush UCODE\nretf'),
  kernel(
    'RETF to CPL 3 drops inner segments',
    'mov eax, 0x58\nmov fs, eax\npush 0x33\npush USTACK\npush 0x2b\npush UCODE\nretf',
  ),
  user('RETF to CPL 0', 'push 0x08\npush KCODE\nretf'),
  // IRETD
  kernel('IRETD', iretd('KCODE', '0x08', '0x3002')),
  kernel('IRETD to CPL 3', iretd('UCODE', '0x2b', '0x3202', 'USTACK', '0x33')),
  kernel('IRETD to CPL 3 with SS null', iretd('UCODE', '0x2b', '2', 'USTACK', '3')),
  kernel('IRETD to CPL 3 with SS of level 0', iretd('UCODE', '0x2b', '2', 'USTACK', '0x10')),
  kernel('IRETD to absent code', iretd('KCODE', '0x68', '2')),
  kernel('IRETD to a null selector', iretd('KCODE', '0', '2')),
  kernel('IRETD beyond the limit', iretd('0x10000', '0xb0', '2')),
  kernel('IRETD with NT and a link that is no task', `push 0x4002\npopfd\niretd`),
  user('IRETD to CPL 0', iretd('KCODE', '0x08', '2')),
  user('IRETD at CPL 3 changes no IOPL', iretd('UOTHER', '0x2b', '0x3202')),
  // tasks
  kernel(
    'CALL of a task and IRET back',
    'mov word [KCODE], 0x90cf\ncall 0x70:0\nmov ax, [GDT + 0x75]\nmov cx, [TASK]',
  ),
  kernel('JMP to a task', 'jmp 0x70:0'),
  kernel('JMP to a 16-bit task', 'jmp 0xa8:0'),
  kernel('a task with a bad CS', 'BY_TASK 10\nmov word [TASK + 0x4c], 0x10\ncall 0x70:0'),
  kernel('a task with an absent SS', 'BY_TASK 12\nmov word [TASK + 0x50], 0x60\ncall 0x70:0'),
  kernel(
    'a task with SS of another level',
    'BY_TASK 10\nmov word [TASK + 0x50], 0x33\ncall 0x70:0',
  ),
  kernel('a task with an absent DS', 'BY_TASK 11\nmov word [TASK + 0x54], 0x60\ncall 0x70:0'),
  kernel('a task with a bad LDT', 'BY_TASK 10\nmov word [TASK + 0x60], 0x10\ncall 0x70:0'),
  kernel(
    'a task at CPL 3',
    'mov word [TASK + 0x4c], 0x2b\nmov word [TASK + 0x50], 0x33\nmov dword [TASK + 0x20], UCODE\ncall 0x70:0',
  ),
  kernel(
    'a task in virtual-8086 mode',
    'mov dword [TASK + 0x24], 0x23002\nmov word [TASK + 0x4c], 0x7000\nmov dword [TASK + 0x20], 0\nmov word [TASK + 0x50], 0x7000\ncall 0x70:0',
  ),
  kernel('a task with the T bit', 'mov word [TASK + 0x64], 1\ncall 0x70:0'),
  kernel('LTR of a busy task', 'mov ax, 0xa0\nltr ax'),
  kernel('LTR of an absent task', 'mov ax, 0xd0\nltr ax'),
  kernel('LTR of a 16-bit task', 'mov ax, 0xa8\nltr ax'),
  kernel('LLDT of data', 'mov ax, 0x10\nlldt ax'),
  kernel(
    'a stack of the TSS that is null',
    'mov word [TSS + 8], 0\nmov word [TASK + 0x50], 0x33\nmov word [TASK + 0x4c], 0x2b\nmov dword [TASK + 0x20], UCODE\njmp 0x70:0',
  ),
  // 16-bit code
  code16('16-bit PUSHA and POPA', 'pusha\npopa\nmov ax, sp'),
  code16('16-bit far CALL and RETF', 'push cs\npush strict word 7\nretf\nnop\nnop\nmov al, 5'),
  code16('16-bit LOOP wraps', 'xor cx, cx\nmov ax, 3\n.again: dec ax\njz .out\nloop .again\n.out:'),
  code16('16-bit stack wraps', 'mov esp, 2\npush ax\npush bx\nmov eax, esp\nmov sp, 0x6000'),
  code16('16-bit code beyond 64 KiB', 'jmp dword 0x10000'),
  code16('16-bit JMP to 32-bit code', 'jmp dword 0x08:KCODE'),
  code16('32-bit addresses in 16-bit code', 'mov ebx, DATA\nmov dword [ebx], 0x12345678'),
  code16('SGDT and SIDT', 'mov ecx, DATA\nsgdt [ecx]\nmov eax, [ecx]\nsidt [ecx]'),
  // virtual-8086 mode
  v86('V86 INT 20H', 'nop'),
  v86('V86 INT3 to a gate of DPL 0', 'int3'),
  v86('V86 segments', 'mov ax, 0x1234\nmov ds, ax\nmov es, ax\nmov bx, ds'),
  v86('V86 far JMP', 'jmp 0x7000:6\nnop\nmov al, 7'),
  v86('V86 PUSHF', 'pushf\npop ax'),
  v86('V86 POPF', 'push word 0x7002\npopf\npushf\npop ax'),
  v86(
    'V86 IRET',
    'push word 0x0202\npush word 0x7000\npush strict word 11\niret\nnop\nmov al, 9\ncli',
  ),
  v86('V86 MOV CR0', 'mov eax, cr0'),
  v86('V86 LTR', 'ltr ax'),
  v86('V86 SMSW', 'smsw ax'),
  v86('V86 HLT', 'hlt'),
  v86('V86 beyond 64 KiB', 'mov ebx, 0x10000\nmov al, [ebx]'),
  v86('V86 word at FFFFH', 'mov bx, 0xffff\nmov ax, [bx]'),
  v86('V86 IN', 'in al, 0x80'),
  v86('V86 SYSENTER', 'sysenter'),
];
