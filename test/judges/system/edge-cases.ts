import { inMode, type SystemCase } from './cases.ts';

const kernel = inMode('KERNEL');
const user = inMode('USER');
const code16 = inMode('CODE16');
const v86 = inMode('V86');

const wrmsr = (address: string, low: string, high = '0'): string =>
  `mov ecx, ${address}\nmov eax, ${low}\nmov edx, ${high}\nwrmsr\nmov eax, 0x11111111\nmov ecx, 0x10\nmov edx, 0x33333333`;
const enable = (bits: string): string =>
  `mov rax, cr4\nor rax, ${bits}\nmov cr4, rax\nmov eax, 0x11111111`;
const step = (...rest: string[]): string => `push 0x102\npopfq\n${rest.join('\n')}`;
/** A breakpoint in DR0: what DR7 says of it. */
const breakpoint = (at: string, dr7: string): string =>
  `mov eax, ${at}\nmov dr0, rax\nmov eax, ${dr7}\nmov dr7, rax\nmov eax, 0x11111111`;
const toUser = (flags: string): string =>
  `push 0x2b\npush USTACK\npush ${flags}\npush 0x33\npush UCODE\niretq`;
/** Code of at most six bytes at CPL 3, after the kernel's `before`; INT 21H behind it. */
const userAfter = (before: string, bytes: string): string =>
  `${before}\nmov rax, 0x21cd${bytes}\nmov [UCODE], rax\nmov eax, 0x11111111\n${toUser('2')}`;
/** With a copy of the IDT at DATA, changed as told. */
const withIdt = (change: string, then: string): string =>
  `mov esi, IDT\nmov edi, DATA\nmov ecx, 0x1000\nrep movsb\nlidt [rel .idtr]\njmp .go\n.idtr: dw 0xfff\ndq DATA\n.go:\n${change}\n${then}`;
const gate = (vector: number, byte: number, value: string, size = 'byte'): string =>
  `mov ${size} [DATA + ${vector * 16 + byte}], ${value}`;
const invpcid = (type: string, low: string, high = '0'): string =>
  `mov rax, ${low}\nmov [DATA], rax\nmov rax, ${high}\nmov [DATA + 8], rax\nmov rcx, ${type}\ninvpcid rcx, [DATA]`;
const xsetbv = (ecx: string, eax: string, edx: string): string =>
  `${enable('0x40000')}\nmov ecx, ${ecx}\nmov eax, ${eax}\nmov edx, ${edx}\nxsetbv`;
const pkru = (rights: string): string =>
  `${enable('0x400000')}\nxor ecx, ecx\nxor edx, edx\nmov eax, ${rights}\nwrpkru`;
const segment = (register: string, selector: string): string =>
  `mov dword [DATA], 0x12345678\nmov word [DATA + 4], ${selector}\n${register} eax, [DATA]`;

/** XCR0 with x87 and SSE, both asked for in EDX:EAX, and both in their initial configurations. */
const xsaving = (code: string): string =>
  `${xsetbv('0', '3', '0')}\nfninit\nmov dword [DATA + 0x800], 0x1f80\nldmxcsr [DATA + 0x800]\n${Array.from({ length: 16 }, (_, i) => `pxor xmm${i}, xmm${i}`).join('\n')}\nmov eax, 3\nxor edx, edx\n${code}`;
const header = (at: number, value: string, size = 'dword'): string =>
  size === 'qword'
    ? `mov rbx, ${value}\nmov [DATA + ${at}], rbx`
    : `mov ${size} [DATA + ${at}], ${value}`;
const COMPACTED_3 = header(520, '(1 << 63) | 3', 'qword');
const MXCSR = header(24, '0x1f80');

/** 64-bit mode. */
export const EDGE_CASES: readonly SystemCase[] = [
  // single-stepping and the fast calls
  user('SYSCALL under TF that FMASK clears', step('syscall')),
  kernel('SYSCALL under TF that FMASK keeps', `${wrmsr('0xc0000084', '0')}\n${step('syscall')}`),
  kernel('SYSRET to TF', 'mov ecx, UCODE\nmov r11d, 0x102\no64 sysret'),
  kernel('SYSRET under TF', `mov ecx, UCODE\nmov r11d, 2\n${step('o64 sysret')}`),
  kernel(
    'IRETQ under TF',
    `push 0x2b\npush USTACK\npush 2\npush 0x33\npush UCODE\n${step('iretq')}`,
  ),
  kernel('IRETQ to TF', `mov dword [UCODE], 0x21cd90\n${toUser('0x102')}`),
  kernel(
    'SYSENTER under TF',
    `${wrmsr('0x174', '8')}\n${wrmsr('0x175', 'STACK')}\n${wrmsr('0x176', 'KCODE')}\n${step('sysenter')}`,
  ),
  kernel('SYSEXIT', `${wrmsr('0x174', '8')}\nmov ecx, USTACK\nmov edx, UCODE\no64 sysexit`),
  kernel(
    'SYSEXIT to 32-bit code',
    `${wrmsr('0x174', '0x10')}\nmov ecx, USTACK\nmov edx, UCODE\nsysexit`,
  ),
  kernel(
    'SYSEXIT not canonical',
    `${wrmsr('0x174', '8')}\nmov ecx, USTACK\nmov rdx, 1 << 47\no64 sysexit`,
  ),
  kernel('TF and a fault', step('ud2')),
  kernel('TF and STI', step('sti', 'cli')),
  kernel('TF and POPFQ that clears it', `push 2\n${step('popfq', 'nop')}`),
  // the shadow of MOV SS
  kernel(
    'breakpoint behind MOV SS',
    `${breakpoint('.here', '0x401')}\nmov ecx, 0x10\nmov ss, ecx\n.here: nop\nnop`,
  ),
  kernel('INT3 behind MOV SS under TF', `mov ecx, 0x10\n${step('mov ss, ecx', 'int3')}`),
  kernel(
    'INT3 behind MOV SS that met a breakpoint',
    `mov word [DATA + 8], 0x10\n${breakpoint('DATA + 8', '0x70401')}\nmov ss, [DATA + 8]\nint3`,
  ),
  kernel(
    'NOP behind MOV SS that met a breakpoint',
    `mov word [DATA + 8], 0x10\n${breakpoint('DATA + 8', '0x70401')}\nmov ss, [DATA + 8]\nnop\nnop`,
  ),
  // breakpoints
  kernel(
    'I/O breakpoint',
    `${enable('8')}\n${breakpoint('0x80', '0x20401')}\nmov al, 1\nout 0x80, al\nnop`,
  ),
  kernel(
    'I/O breakpoint on a neighbour',
    `${enable('8')}\n${breakpoint('0x81', '0x20401')}\nmov al, 1\nout 0x80, al\nnop`,
  ),
  kernel(
    'data breakpoint in the middle of REP STOSB',
    `${breakpoint('DATA + 3', '0x10401')}\nmov edi, DATA\nmov ecx, 6\nrep stosb\nnop`,
  ),
  kernel(
    'data breakpoint in REP MOVSB, read side',
    `${breakpoint('DATA + 9', '0x30401')}\nmov esi, DATA + 8\nmov edi, DATA\nmov ecx, 4\nrep movsb\nnop`,
  ),
  kernel('data breakpoint on PUSH', `${breakpoint('STACK - 8', '0x90401')}\npush rax\nnop`),
  kernel(
    'data breakpoint on CALL',
    `${breakpoint('STACK - 8', '0x90401')}\ncall .next\n.next: nop`,
  ),
  kernel(
    'data breakpoint of eight bytes',
    `${breakpoint('DATA + 8', '0xb0401')}\nmov al, [DATA + 15]\nnop`,
  ),
  kernel(
    'data breakpoint across its end',
    `${breakpoint('DATA + 8', '0xf0401')}\nmov eax, [DATA + 5]\nnop`,
  ),
  kernel(
    'data breakpoint beside',
    `${breakpoint('DATA + 8', '0xf0401')}\nmov eax, [DATA + 4]\nnop`,
  ),
  kernel(
    'breakpoint that is not enabled, beside one that is',
    `mov eax, DATA\nmov dr1, rax\n${breakpoint('DATA', '0xdd0401')}\nmov dword [DATA], 3\nnop`,
  ),
  // delivery
  ...(
    [
      ['#UD through an absent gate', gate(6, 5, '0x0e'), 'ud2'],
      ['#DE through an absent gate', gate(0, 5, '0x0e'), 'xor ecx, ecx\ndiv ecx'],
      ['#PF through an absent gate', gate(14, 5, '0x0e'), 'mov al, [ABSENT]'],
      ['#GP through an absent gate', gate(13, 5, '0x0e'), 'mov rbx, 1 << 47\nmov al, [rbx]'],
      ['#UD through a gate with a null selector', gate(6, 2, '3', 'word'), 'ud2'],
      ['#UD through a gate to data', gate(6, 2, '0x10', 'word'), 'ud2'],
      ['#UD through a task gate', gate(6, 5, '0x85'), 'ud2'],
      ['#UD through a 16-bit gate', gate(6, 5, '0x86'), 'ud2'],
      ['INT n through an absent gate', gate(48, 5, '0x0e'), 'int 48'],
      ['INT n through a call gate', gate(48, 5, '0x8c'), 'int 48'],
      ['INT n through a gate beyond the GDT', gate(48, 2, '0x1fb', 'word'), 'int 48'],
      ['INT n through a gate into the LDT', gate(48, 2, '0x0c', 'word'), 'int 48'],
      ['INT n through a gate to 32-bit code', gate(48, 2, '0x18', 'word'), 'int 48'],
      ['INT n through a gate to absent code', gate(48, 2, '0x78', 'word'), 'int 48'],
      ['INT n through a gate to code of CPL 3', gate(48, 2, '0x30', 'word'), 'int 48'],
      ['INT n through a gate to conforming code', gate(48, 2, '0x6b', 'word'), 'int 48'],
      ['INT n through a trap gate', gate(48, 5, '0x8f'), 'int 48'],
      ['INT n to no canonical address', gate(48, 8, '0x8000', 'dword'), 'int 48'],
      [
        'INT n with an IST that is not canonical',
        `${gate(48, 4, '2')}\nmov rax, 1 << 47\nmov [TSS + 0x2c], rax`,
        'int 48',
      ],
      [
        'INT n with an IST that is absent',
        `${gate(48, 4, '2')}\nmov qword [TSS + 0x2c], ABSENT + 0x800`,
        'int 48',
      ],
      [
        'INT n with an IST that is not aligned',
        `${gate(48, 4, '2')}\nmov qword [TSS + 0x2c], IST1 - 0x205`,
        'int 48',
      ],
      [
        'INT n with an IST beyond the TSS',
        `${gate(48, 4, '2')}\nmov byte [GDT + 0x38], 0x30\nmov byte [GDT + 0x3d], 0x89\nmov ecx, 0x38\nltr cx`,
        'int 48',
      ],
    ] as const
  ).map(([name, change, then]) => kernel(name, withIdt(change, then))),
  kernel('INT beyond the IDT', 'lidt [rel .idtr]\nint 0x90\n.idtr: dw 0x8ff\ndq IDT'),
  kernel(
    'a page fault beyond the IDT',
    'lidt [rel .idtr]\nmov al, [ABSENT]\n.idtr: dw 0xdf\ndq IDT',
  ),
  kernel(
    'an interrupt of CPL 3 with RSP0 not canonical',
    `mov rax, 1 << 47\nmov [TSS + 4], rax\n${toUser('2')}`,
  ),
  kernel(
    'an interrupt of CPL 3 with RSP0 absent',
    `mov qword [TSS + 4], ABSENT + 0x800\n${toUser('2')}`,
  ),
  // returns
  kernel(
    'RETFQ n to an outer level',
    'push 0x2b\npush USTACK\npush 5\npush 6\npush 0x33\npush UCODE\no64 retf 16',
  ),
  kernel('RETF to compatibility mode', 'push 0x18\npush UCODE\no64 retf'),
  kernel('IRETQ with RPL below CPL', 'push 0x10\npush STACK\npush 2\npush 0x08\npush KCODE\niretq'),
  kernel(
    'IRETD in 64-bit mode',
    'sub rsp, 20\nmov dword [rsp], UCODE\nmov dword [rsp + 4], 0x33\nmov dword [rsp + 8], 2\nmov dword [rsp + 12], USTACK\nmov dword [rsp + 16], 0x2b\niretd',
  ),
  kernel('IRETQ with RF', `${breakpoint('UCODE', '0x401')}\n${toUser('0x10002')}`),
  kernel('IRETQ to a breakpoint', `${breakpoint('UCODE', '0x401')}\n${toUser('2')}`),
  kernel(
    'IRETQ loads VIF and VIP',
    `push 0x10\npush STACK\npush 0x180002\npush 0x08\npush .back\niretq\n.back: pushfq\npop rcx\npush 2\npush 0x10\npush STACK\npush 2\npush 0x08\npush .end\niretq\n.end:`,
  ),
  // segments
  ...['0', '0x10', '0x2b', '0x38', '0x70', '0x1f8'].flatMap((selector) => [
    kernel(`LFS ${selector}`, segment('lfs', selector)),
    kernel(`LSS ${selector}`, segment('lss', selector)),
  ]),
  kernel(
    'MOV FS from null clears its base',
    `${wrmsr('0xc0000100', '0x1234')}\nxor ecx, ecx\nmov fs, ecx\nmov ecx, 0xc0000100\nrdmsr`,
  ),
  kernel('PUSH and POP FS', 'push 0x2b\npop fs\npush fs\npop rcx\npush 0\npop fs'),
  // control registers and what they allow
  kernel(
    'CR4.PCIDE with bits in CR3',
    'mov rax, cr3\nor rax, 0x18\nmov cr3, rax\nmov rax, cr4\nor eax, 0x20000\nmov cr4, rax',
  ),
  kernel('CR3 with bit 63 without PCIDE', 'mov rax, cr3\nbts rax, 63\nmov cr3, rax'),
  kernel('CR3 with a bit above the physical width', 'mov rax, cr3\nbts rax, 60\nmov cr3, rax'),
  kernel('CR0 without PG under PCIDE', `${enable('0x20000')}\nmov rax, 0x33\nmov cr0, rax`),
  ...(
    [
      ['type 4', invpcid('4', '0')],
      ['type 0 of no canonical address', invpcid('0', '0', '1 << 47')],
      ['a PCID without PCIDE', invpcid('1', '5')],
      ['a PCID above 12 bits', invpcid('1', '0x1000')],
      ['reserved bits where none count', invpcid('2', '0x12345000')],
      ['an absent descriptor', 'xor ecx, ecx\ninvpcid rcx, [ABSENT]'],
    ] as const
  ).map(([name, code]) => kernel(`INVPCID, ${name}`, code)),
  user('INVPCID at CPL 3', 'xor ecx, ecx\ninvpcid rcx, [DATA]'),
  kernel('INVLPG of no canonical address', 'mov rax, 1 << 47\ninvlpg [rax]'),
  kernel('UMIP: SLDT at CPL 3', userAfter(enable('0x800'), 'c0000f')),
  kernel('UMIP: SMSW at CPL 3', userAfter(enable('0x800'), 'e0010f')),
  kernel('TSD: RDTSC at CPL 3', userAfter(enable('4'), '310f')),
  kernel('FSGSBASE: WRFSBASE without it', 'wrfsbase rax'),
  kernel(
    'FSGSBASE: WRFSBASE not canonical',
    `${enable('0x10000')}\nmov rax, 1 << 47\nwrfsbase rax`,
  ),
  kernel(
    'FSGSBASE: WRGSBASE of 32 bits',
    `${enable('0x10000')}\nmov rax, -1\nwrgsbase eax\nrdgsbase rcx`,
  ),
  kernel('XSETBV', xsetbv('0', '3', '0')),
  kernel('XSETBV without x87', xsetbv('0', '2', '0')),
  kernel('XSETBV with AVX and without SSE', xsetbv('0', '5', '0')),
  kernel('XSETBV of register 1', xsetbv('1', '1', '0')),
  kernel('XSETBV with bit 63', xsetbv('0', '3', '0x80000000')),
  kernel('XGETBV of register 2', `${enable('0x40000')}\nmov ecx, 2\nxgetbv`),
  kernel('RDPKRU without PKE', 'xor ecx, ecx\nrdpkru'),
  kernel('RDPKRU of register 1', `${enable('0x400000')}\nmov ecx, 1\nrdpkru`),
  kernel('WRPKRU with EDX', `${enable('0x400000')}\nxor ecx, ecx\nmov edx, 1\nwrpkru`),
  kernel('a key that denies access, kernel reads', `${pkru('4')}\nmov al, [KEYED]`),
  kernel('a key that denies access, kernel writes', `${pkru('4')}\nmov [KEYED], al`),
  kernel('a key that denies writes, kernel reads', `${pkru('8')}\nmov al, [KEYED]\nxor eax, eax`),
  kernel('a key that denies writes, kernel writes', `${pkru('8')}\nmov [KEYED], al`),
  kernel(
    'a key that denies writes, without WP',
    `${pkru('8')}\nmov rax, cr0\nbtr rax, 16\nmov cr0, rax\nmov [KEYED], al`,
  ),
  kernel(
    'a key that denies access, code',
    `mov byte [KEYED], 0xc3\n${pkru('4')}\nmov eax, KEYED\ncall rax`,
  ),
  kernel(
    'a key that denies access, at CPL 3',
    userAfter(pkru('4'), '078a').replace('iretq', 'mov edi, KEYED\niretq'),
  ),
  kernel(
    'SMAP and an LDT in user memory',
    `mov eax, [PT + 0x33 * 8]\nor al, 4\nmov [PT + 0x33 * 8], eax\ninvlpg [LDT]\nmov rax, 0x00cf93000000ffff\nmov [LDT + 8], rax\nmov ecx, 0x48\nlldt cx\n${enable('0x200000')}\nstac\nmov ecx, 0x0c\nmov ds, ecx`,
  ),
  kernel('MONITOR with an extension', 'mov eax, DATA\nmov ecx, 1\nmonitor'),
  kernel('MONITOR with one above bit 31', 'mov eax, DATA\nmov rcx, 1 << 32\nmonitor'),
  kernel('MONITOR of an absent page', 'mov eax, ABSENT\nxor ecx, ecx\nmonitor'),
  // saved state
  ...(
    [
      [
        'XSAVE of initial state',
        `xsave [DATA]\nmov rcx, [DATA + 512]\nmov rdx, [DATA + 520]\nmov rbx, [DATA + 24]`,
      ],
      [
        'XSAVE with XMM1 in use',
        `pcmpeqd xmm1, xmm1\nxsave [DATA]\nmov rcx, [DATA + 512]\nmov rbx, [DATA + 176]`,
      ],
      [
        'XSAVE keeps what is not asked for',
        `${header(512, '0x204')}\nxsave [DATA]\nmov rcx, [DATA + 512]`,
      ],
      ['XSAVEC of initial state', `xsavec [DATA]\nmov rcx, [DATA + 512]\nmov rdx, [DATA + 520]`],
      [
        'XSAVEC with MXCSR in use',
        `mov dword [DATA + 0x800], 0x1f81\nldmxcsr [DATA + 0x800]\nxsavec [DATA]\nmov rcx, [DATA + 512]\nmov rbx, [DATA + 24]`,
      ],
      [
        'XSAVEOPT with x87 in use',
        `fld1\nxsaveopt [DATA]\nmov rcx, [DATA + 512]\nmov rbx, [DATA + 32]\nfninit`,
      ],
      [
        'XRSTOR with a component that is not enabled',
        `${MXCSR}\n${header(512, '8')}\nxrstor [DATA]`,
      ],
      [
        'XRSTOR with a reserved byte of the header',
        `${MXCSR}\n${header(528, '1', 'byte')}\nxrstor [DATA]`,
      ],
      [
        'XRSTOR with XCOMP_BV and no compaction',
        `${MXCSR}\n${header(520, '1', 'byte')}\nxrstor [DATA]`,
      ],
      [
        'XRSTOR, compacted, of what is not enabled',
        `${header(520, '(1 << 63) | 7', 'qword')}\nxrstor [DATA]`,
      ],
      [
        'XRSTOR, compacted, of more than its format has',
        `${header(520, '(1 << 63) | 1', 'qword')}\n${header(512, '2')}\nxrstor [DATA]`,
      ],
      [
        'XRSTOR, compacted, with a reserved byte',
        `${COMPACTED_3}\n${header(575, '1', 'byte')}\nxrstor [DATA]`,
      ],
      [
        'XRSTOR, compacted',
        `${COMPACTED_3}\n${header(512, '2')}\n${header(24, '0x1f82')}\n${header(160, '7')}\nxrstor [DATA]\nstmxcsr [DATA + 0x800]\nmov ecx, [DATA + 0x800]\nmovd ebx, xmm0`,
      ],
      [
        'XRSTOR, compacted, of nothing',
        `mov dword [DATA + 0x800], 0x1f81\nldmxcsr [DATA + 0x800]\n${COMPACTED_3}\n${header(24, '0x1f82')}\nxrstor [DATA]\nstmxcsr [DATA + 0x800]\nmov ecx, [DATA + 0x800]`,
      ],
      [
        'XRSTOR of nothing loads MXCSR',
        `${header(24, '0x1f82')}\nxrstor [DATA]\nstmxcsr [DATA + 0x800]\nmov ecx, [DATA + 0x800]`,
      ],
      ['XRSTOR of nothing with a reserved bit of MXCSR', `${header(24, '0x10000')}\nxrstor [DATA]`],
      ['XRSTOR of x87 alone leaves MXCSR', `${header(24, '0x10000')}\nmov eax, 1\nxrstor [DATA]`],
      ['XRSTORS of the standard format', `${MXCSR}\nxrstors [DATA]`],
      ['XRSTORS', `${COMPACTED_3}\nxrstors [DATA]`],
      ['XSAVE that is not aligned', 'xsave [DATA + 8]'],
      ['XSAVE with CR0.TS', 'mov rax, cr0\nor eax, 8\nmov cr0, rax\nxsave [DATA]'],
      ['XSAVE into a read-only page', 'xsave [READONLY]'],
      ['XSAVE across into an absent page', 'xsave [ABSENT - 512]'],
      ['XGETBV of register 1', `pcmpeqd xmm1, xmm1\nmov ecx, 1\nxgetbv`],
      ['FXSAVE that is not aligned', 'fxsave [DATA + 8]'],
      ['FXRSTOR with a reserved bit of MXCSR', `${header(24, '0x10000')}\nfxrstor [DATA]`],
      ['LDMXCSR of a reserved bit', `${header(24, '0x10000')}\nldmxcsr [DATA + 24]`],
    ] as const
  ).map(([name, code]) => kernel(name, xsaving(code))),
  kernel('XSAVES at CPL 3', userAfter(`${xsetbv('0', '3', '0')}\nmov edi, DATA`, '2fc70f')),
  // lengths
  kernel('15 bytes', 'times 14 db 0x66\nnop'),
  kernel('16 bytes', 'times 15 db 0x66\nnop'),
  kernel(
    'prefixes to the end of a page',
    'mov edi, ABSENT - 10\nmov al, 0x66\nmov ecx, 10\nrep stosb\nmov edi, ABSENT - 10\njmp rdi',
  ),
  kernel(
    '15 prefixes to the end of a page',
    'mov edi, ABSENT - 15\nmov al, 0x66\nmov ecx, 15\nrep stosb\nmov edi, ABSENT - 15\njmp rdi',
  ),
  user(
    'REP MOVSB into an absent page',
    'mov esi, DATA\nmov edi, ABSENT - 3\nmov ecx, 8\nrep movsb',
  ),
  user(
    'REP MOVSQ across into an absent page',
    'mov esi, DATA\nmov edi, ABSENT - 12\nmov ecx, 4\nrep movsq',
  ),
  user(
    'REP CMPSB into an absent page',
    'mov esi, DATA\nmov edi, ABSENT - 3\nmov ecx, 8\nrepe cmpsb',
  ),
  user('REP INSB at CPL 3', 'mov edi, DATA\nmov ecx, 2\nmov dx, 0x80\nrep insb'),
  kernel('REP OUTSB from an absent page', 'mov esi, ABSENT\nmov ecx, 2\nmov dx, 0x80\nrep outsb'),
  kernel('PUSH of memory that is absent', 'push qword [ABSENT]'),
  kernel('POP into memory that is absent', 'push 5\npop qword [ABSENT]'),
  kernel(
    'POP into memory by RSP',
    'mov eax, DATA + 0x100\nmov rsp, rax\npush 5\npop qword [rsp]\nmov rcx, rsp\nmov rbx, [rsp]\nmov esp, STACK',
  ),
  kernel('ENTER onto an absent page', 'mov esp, ABSENT + 0x1008\nenter 0x10, 2'),
  kernel('XCHG with a read-only page', 'xchg [READONLY], eax'),
  kernel('CMPXCHG that fails with a read-only page', 'mov eax, 5\ncmpxchg [READONLY], ecx'),
  kernel('BTS far outside', 'mov rax, 0x8000 * 8\nbts [DATA], rax\nmov cl, [DATA + 0x8000]'),
  kernel('CMPXCHG16B that is not aligned', 'cmpxchg16b [DATA + 8]'),
  kernel('VERW of memory', 'mov word [DATA], 0x2b\nverw [DATA]'),
];

/** 32-bit tables at DATA: 4 MiB one to one at 0; the second 4 MiB as told. */
const paged = (second: string, cr4: string, then: string): string =>
  `mov dword [DATA], 0x87\nmov dword [DATA + 4], ${second}\nmov eax, ${cr4}\nmov cr4, eax\nmov eax, DATA\nmov cr3, eax\nmov eax, 0x80010031\nmov cr0, eax\nmov eax, 0x11111111\n${then}`;
/** PAE tables: PDPTEs at DATA, a directory at DATA + 1000H whose first entry is 2 MiB one to one. */
const pae = (second: string, high: string, then: string, pdpte = 'DATA + 0x1001'): string =>
  `mov dword [DATA], ${pdpte}\nmov dword [DATA + 4], 0\nmov dword [DATA + 0x1000], 0x87\nmov dword [DATA + 0x1004], 0\nmov dword [DATA + 0x1008], ${second}\nmov dword [DATA + 0x100c], ${high}\nmov eax, 0x20\nmov cr4, eax\nmov ecx, 0xc0000080\nmov eax, 0x800\nxor edx, edx\nwrmsr\nmov eax, DATA\nmov cr3, eax\nmov eax, 0x80010031\nmov cr0, eax\nmov eax, 0x11111111\n${then}`;

/** Outside IA-32e mode. */
export const PROTECTED_EDGE_CASES: readonly SystemCase[] = [
  kernel('paging of 32 bits: absent', paged('0', '0x10', 'mov al, [0x400000]')),
  kernel('paging of 32 bits: read-only', paged('0x85', '0x10', 'mov [0x400000], al')),
  kernel('paging of 32 bits: bit 21', paged('0x200087', '0x10', 'mov al, [0x400000]')),
  kernel(
    'paging of 32 bits: accessed and dirty',
    paged('0x87', '0x10', 'mov [0x400800], al\nmov eax, [DATA + 4]'),
  ),
  kernel('paging of 32 bits: write across its end', paged('0', '0x10', 'mov dword [0x3ffffe], 5')),
  kernel('PAE: absent', pae('0', '0', 'mov al, [0x200000]')),
  kernel('PAE: no execution', pae('0x87', '0x80000000', 'mov eax, 0x200000\njmp eax')),
  kernel('PAE: bit 52', pae('0x87', '0x100000', 'mov al, [0x200000]')),
  kernel('PAE: bit 13 of 2 MiB', pae('0x2087', '0', 'mov al, [0x200000]')),
  kernel('PAE: a PDPTE with a reserved bit', pae('0', '0', 'nop', 'DATA + 0x1003')),
  kernel('PAE: an absent PDPTE', pae('0', '0', 'mov al, [0x40000000]')),
  kernel(
    'PAE: a PDPTE is read again by MOV to CR3 only',
    pae('0x87', '0', 'mov dword [DATA], 0\nmov al, [DATA + 0x1000]\nxor eax, eax'),
  ),
  kernel(
    'IRETD to virtual-8086 mode beyond 64 KiB',
    'push 0\npush 0\npush 0\npush 0\npush 0x7000\npush 0x6000\npush 0x23002\npush 0x7000\npush 0x10000\niretd',
  ),
  kernel(
    'TF and IRETD to virtual-8086 mode',
    'push 0\npush 0\npush 0\npush 0\npush 0x7000\npush 0x6000\npush 0x23102\npush 0x7000\npush 0\nmov dword [UCODE], 0x20cd90\niretd',
  ),
  kernel(
    'SYSENTER',
    'mov ecx, 0x174\nmov eax, 8\nxor edx, edx\nwrmsr\nmov ecx, 0x175\nmov eax, STACK\nwrmsr\nmov ecx, 0x176\nmov eax, KCODE\nwrmsr\nsysenter',
  ),
  kernel(
    'SYSEXIT with a null selector',
    'mov ecx, 0x174\nxor eax, eax\nxor edx, edx\nwrmsr\nsysexit',
  ),
  user('SYSEXIT at CPL 3', 'sysexit'),
  kernel('SYSCALL outside IA-32e mode', 'syscall'),
  user('INT3 at a gate of DPL 0', 'int3'),
  kernel(
    'POP SS and a breakpoint',
    'mov eax, .here\nmov dr0, eax\nmov eax, 0x401\nmov dr7, eax\npush ss\npop ss\n.here: nop\nnop\nxor eax, eax\nmov dr7, eax',
  ),
  kernel(
    'LSS holds nothing back',
    'mov dword [DATA], STACK\nmov word [DATA + 4], 0x10\nmov eax, .here\nmov dr0, eax\nmov eax, 0x401\nmov dr7, eax\nlss esp, [DATA]\n.here: nop\nnop',
  ),
  code16('16-bit CALL at SP 0', 'mov esp, 0\ncall .next\n.next: mov ax, sp\nmov sp, 0x6000'),
  code16('16-bit RET at SP FFFFH', 'mov sp, 0xffff\nret'),
  code16('16-bit ENTER', 'mov bp, 0x5000\nenter 8, 3\nmov ax, bp\nmov bx, sp\nmov sp, 0x6000'),
  code16(
    '16-bit LEAVE with a wide EBP',
    'mov ebp, 0x15000\nleave\nmov eax, esp\nmov ebx, ebp\nmov sp, 0x6000',
  ),
  code16(
    '16-bit REP MOVSB wraps',
    'mov esi, 0x1fffe\nmov edi, 0x25000\nmov ecx, 0x30004\na16 rep movsb\nmov eax, esi\nmov ebx, edi',
  ),
  code16('16-bit STOSW at FFFFH', 'mov edi, 0xffff\nmov ecx, 2\na16 rep stosw'),
  code16('16-bit word at FFFFH', 'mov bx, 0xffff\nmov ax, [cs:bx]'),
  code16('16-bit jump out of the segment', 'mov ebx, 0x10000\ndb 0x66\njmp bx'),
  code16('16-bit far JMP of 32 bits beyond the limit', 'jmp dword 0x18:0x12345'),
  code16('16-bit XLAT wraps', 'mov ebx, 0x1ffff\nmov al, 3\na16 cs xlatb\nmov bl, al'),
  v86('V86 CLI and STI', 'cli\npushf\npop ax\nsti\npushf\npop bx\ncli'),
  v86('V86 INT n through an absent gate', 'int 0x90'),
  v86('V86 UD2', 'ud2'),
  v86('V86 far CALL and RETF', '.here: call 0x7000:(.sub - .here)\njmp .end\n.sub: retf\n.end:'),
  v86('V86 PUSHFD', 'pushfd\npop eax'),
  v86('V86 ARPL', 'arpl ax, bx'),
  v86('V86 LLDT', 'lldt ax'),
  v86('V86 SGDT', 'sgdt [bx]'),
  v86('V86 INVD', 'invd'),
  v86('V86 MOV DR', 'mov eax, dr0'),
  v86('V86 RDMSR', 'rdmsr'),
  v86('V86 MOV SS and INT3', 'mov ax, ss\nmov ss, ax\nint3'),
  v86('V86 VEX', 'db 0xc4, 0xe2, 0x78, 0xf7, 0xc0'),
  v86('V86 LOCK MOV', 'db 0xf0\nmov [bx], ax'),
];
