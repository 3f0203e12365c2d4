import { inMode, type SystemCase } from './cases.ts';

const real = inMode('REAL');
const step = (...rest: string[]): string => `push word 0x102\npopf\n${rest.join('\n')}`;
const breakpoint = (at: string, dr7: string): string =>
  `mov eax, ${at}\nmov dr0, eax\nmov eax, ${dr7}\nmov dr7, eax\nmov eax, 0x11111111`;
/** Code that is told relative to its own start, which is where it runs. */
const here = (code: string): string => `.here:\n${code}`;

/** What real-address mode does not know. */
const UNDEFINED = [
  'lldt ax',
  'ltr ax',
  'sldt ax',
  'str ax',
  'verr ax',
  'verw ax',
  'lar ax, bx',
  'lsl ax, bx',
  'arpl ax, bx',
  'syscall',
];

/** Real-address mode. */
export const REAL_CASES: readonly SystemCase[] = [
  real('INT 20H', 'nop'),
  real('INT 21H', 'int 0x21'),
  real('INT3', 'int3'),
  real('INTO with OF', 'mov al, 0x7f\ninc al\ninto'),
  real('INTO without OF', 'xor ax, ax\ninto'),
  real('UD2', 'ud2'),
  real('DIV by zero', 'xor cx, cx\ndiv cx'),
  real('AAM by zero', 'aam 0'),
  real('BOUND outside', 'mov word [0], 1\nmov word [2], 5\nmov ax, 7\nbound ax, [0]'),
  real('LOCK that is not allowed', 'db 0xf0\nmov ax, [0]'),
  real('INT beyond the IDT', here('lidt [cs:.idtr - .here]\nint 0x90\n.idtr: dw 0xff\ndd 0')),
  real('TF', step('nop', 'nop')),
  real('TF and INT n', step('int 0x21')),
  real('TF and MOV SS', step('mov ax, ss', 'nop')),
  real('TF and REP', `mov cx, 3\nxor di, di\n${step('rep stosb')}`),
  real('POPF of IOPL and NT', 'push word 0x7002\npopf\npushf\npop ax\npush word 2\npopf'),
  real('POPFD', 'push dword 0x3f7002\npopfd\npushfd\npop eax\npush dword 2\npopfd'),
  real(
    'IRET',
    here('push word 0x0ad7\npush cs\npush strict word .there - .here\niret\nud2\n.there: nop'),
  ),
  real(
    'IRETD',
    here(
      'push dword 0x247002\npush dword 0x2000\npush dword .there - .here\niretd\nud2\n.there: pushfd\npop eax\npush dword 2\npopfd',
    ),
  ),
  real('IRETD to above 64 KiB', 'push dword 2\npush dword 0x2000\npush dword 0x10000\no32 iret'),
  real(
    'IRET and a pending interrupt flag',
    here('push word 0x202\npush cs\npush strict word .there - .here\niret\n.there: cli'),
  ),
  real('RETF', here('push cs\npush strict word .there - .here\nretf\nud2\n.there: nop')),
  real(
    'RETF n of 32 bits',
    here(
      'push dword 7\npush dword 0x2000\npush dword .there - .here\no32 retf 4\nud2\n.there: nop',
    ),
  ),
  real('RETF to above 64 KiB', 'push dword 0x2000\npush dword 0x12345\no32 retf'),
  real('far CALL', here('call 0x2000:.there - .here\n.there: pop ax\npop bx')),
  real('far CALL of 32 bits', here('call dword 0x2000:.there - .here\n.there: pop eax\npop ebx')),
  real(
    'far CALL through memory',
    here('mov word [8], .there - .here\nmov word [10], 0x2000\ncall far [8]\nud2\n.there: nop'),
  ),
  real('far JMP to above 64 KiB', 'jmp dword 0x2000:0x10000'),
  real('near JMP to above 64 KiB', 'db 0x66, 0xe9\ndd 0x20000'),
  real('near CALL to above 64 KiB', 'mov eax, 0x10000\ncall eax'),
  real('RET of 32 bits to above 64 KiB', 'push dword 0x10000\no32 ret'),
  // limits
  real('word at FFFFH', 'mov bx, 0xffff\nmov ax, [bx]'),
  real('word at FFFFH of the stack', 'mov bp, 0xffff\nmov ax, [bp]'),
  real('dword at FFFDH', 'mov bx, 0xfffd\nmov [bx], eax'),
  real('32-bit address beyond the limit', 'mov ebx, 0x10000\nmov al, [ebx]'),
  real('32-bit address beyond the limit of SS', 'mov ebp, 0x10000\nmov al, [ebp]'),
  real('32-bit address inside', 'mov ebx, 0xffff\nmov [ebx], al'),
  real('16-bit address wraps', 'mov bx, 0xfff0\nmov si, 0x0020\nmov byte [bx + si - 0x10], 7'),
  real('FS beyond 1 MiB', 'mov ax, 0xffff\nmov fs, ax\nmov eax, [fs:0x10]\nxor eax, eax'),
  real('PUSH at SP 0', 'mov sp, 0\npush ax\nmov ax, sp\nmov sp, 0xf000'),
  real('CALL at SP 0', here('mov sp, 0\ncall .there\n.there: pop bx\nmov sp, 0xf000')),
  real('POP at SP FFFEH', 'mov sp, 0xfffe\npop ax\nmov bx, sp\nmov sp, 0xf000'),
  real('PUSH of memory that FFFFH cuts', 'mov bx, 0xffff\npush word [bx]'),
  real('ENTER', 'enter 8, 2\nmov ax, bp\nmov bx, sp\nleave'),
  real('PUSHA and POPA', 'pusha\npopa\nmov ax, sp'),
  real(
    'REP MOVSB wraps',
    'mov si, 0xfffe\nmov di, 0x100\nmov cx, 4\nmov byte [0xfffe], 1\nmov byte [0], 2\nrep movsb\nmov eax, [0x100]',
  ),
  real('REP MOVSW at FFFFH', 'mov si, 0xfffd\nmov di, 0x100\nmov cx, 4\nrep movsw'),
  real(
    'REP MOVSB of 32-bit addresses',
    'mov esi, 0xfffe\nmov edi, 0x100\nmov ecx, 4\na32 rep movsb',
  ),
  real('STOSW at FFFFH', 'mov di, 0xffff\nstosw'),
  real('LODSW at FFFFH of FS', 'mov si, 0xffff\nfs lodsw'),
  real('CMPSW at FFFFH', 'mov si, 0xffff\nxor di, di\ncmpsw'),
  real('XLAT', 'mov byte [5], 9\nxor bx, bx\nmov al, 5\nxlatb'),
  real('LES', 'mov dword [0], 0x12345678\nles ax, [0]'),
  real('LDS at FFFDH', 'mov bx, 0xfffd\nlds ax, [bx]'),
  real('BOUND at FFFDH', 'mov bx, 0xfffd\nbound ax, [bx]'),
  real('FNSTENV of 16 bits', 'fninit\nfld1\nfnstenv [0]\nmov eax, [4]\nmov ebx, [8]\nfninit'),
  real('FNSTENV of 32 bits', 'fninit\nfld1\no32 fnstenv [0]\nmov eax, [12]\nmov ebx, [16]\nfninit'),
  real('FNSTENV across the limit', 'mov bx, 0xfff8\nfnstenv [bx]'),
  // system instructions
  ...UNDEFINED.map((code) => real(code, code)),
  real('SYSENTER', 'sysenter'),
  real('SYSEXIT', 'sysexit'),
  real('SMSW', 'smsw ax\nsmsw ebx'),
  real('LMSW', 'mov ax, 0x1e\nlmsw ax\nmov ebx, cr0'),
  real('CLTS', 'mov eax, 0x18\nmov cr0, eax\nclts\nmov ebx, cr0'),
  real('MOV CR0 with PG alone', 'mov eax, 0x80000010\nmov cr0, eax'),
  real('MOV CR0 with NW alone', 'mov eax, 0x20000010\nmov cr0, eax'),
  real('MOV CR1', 'db 0x0f, 0x20, 0xc8'),
  real('MOV CR4 with bit 31', 'mov eax, 0x80000000\nmov cr4, eax'),
  real('MOV DR4 with CR4.DE', 'mov eax, 8\nmov cr4, eax\nmov eax, dr4'),
  real('DR7.GD', 'mov eax, 0x2400\nmov dr7, eax\nmov ebx, dr0'),
  real(
    'SGDT and LGDT of 16 bits',
    'mov dword [2], 0x12345678\nmov word [0], 0x55\nlgdt [0]\nsgdt [8]\nmov eax, [8]\nmov ebx, [10]',
  ),
  real(
    'LGDT of 32 bits',
    'mov dword [2], 0x12345678\nmov word [0], 0x55\no32 lgdt [0]\nsgdt [8]\nmov ebx, [10]',
  ),
  real('LGDT at FFFDH', 'mov bx, 0xfffd\nlgdt [bx]'),
  real('SIDT', 'sidt [0]\nmov ax, [4]'),
  real('MOV to CS', 'db 0x8e, 0xc8'),
  real('MOV to segment 6', 'db 0x8e, 0xf0'),
  real('POP SS', 'push ss\npop ss\nmov ax, ss'),
  real('RDMSR that does not exist', 'mov ecx, 0x12345678\nrdmsr'),
  real('INVLPG', 'invlpg [0]'),
  real('RDTSC with CR4.TSD', 'mov eax, 4\nmov cr4, eax\nrdtsc\nxor eax, eax\nxor edx, edx'),
  real('CLI and STI', 'sti\npushf\npop ax\ncli\npushf\npop bx'),
  real('SALC and DAA', 'stc\ndb 0xd6\ndaa'),
  real('x87 with CR0.TS', 'mov eax, 0x18\nmov cr0, eax\nfninit'),
  real('FWAIT with TS and without MP', 'mov eax, 0x18\nmov cr0, eax\nfwait'),
  real('FWAIT with TS and MP', 'mov eax, 0x1a\nmov cr0, eax\nfwait'),
  real('SSE without OSFXSR', 'xorps xmm0, xmm0'),
  real(
    'SSE in real-address mode',
    'mov eax, 0x200\nmov cr4, eax\nxorps xmm0, xmm0\nmovd eax, xmm0',
  ),
  real('MOVAPS that is not aligned', 'mov eax, 0x200\nmov cr4, eax\nmovaps xmm0, [8]'),
  real('VEX', 'db 0xc4, 0xe2, 0x78, 0xf7, 0xc0'),
  real('16 bytes', 'times 15 db 0x66\nnop'),
  real(
    'an instruction that goes on above 64 KiB',
    'mov byte [cs:0xffff], 0xb0\nmov ax, 0xffff\njmp ax',
  ),
  // breakpoints
  real(
    'breakpoint on an instruction',
    here(`${breakpoint('0x20000 + .there - .here', '0x401')}\nnop\n.there: nop`),
  ),
  real('data breakpoint', `${breakpoint('0x40008', '0xd0401')}\nmov [10], ax\nnop`),
  real('data breakpoint on the stack', `${breakpoint('0x3effe', '0x50401')}\npush ax\nnop`),
];
