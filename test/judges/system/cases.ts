/** A few instructions in a mode; what they come to is compared between machines. */
export interface SystemCase {
  readonly name: string;
  readonly mode: 'KERNEL' | 'USER' | 'CODE16' | 'V86' | 'REAL';
  readonly code: string;
}

export const inMode =
  (mode: SystemCase['mode']) =>
  (name: string, code: string): SystemCase => ({ name, mode, code });
const kernel = inMode('KERNEL');
const user = inMode('USER');

const PRIVILEGED: readonly (readonly [string, string])[] = [
  ['HLT', 'hlt'],
  ['CLI', 'cli'],
  ['STI', 'sti'],
  ['IN', 'in al, 0x80'],
  ['OUT', 'out 0x80, al'],
  ['MOV to CR0', 'mov cr0, rax'],
  ['MOV from CR3', 'mov rax, cr3'],
  ['MOV to CR8', 'mov cr8, rax'],
  ['MOV from DR0', 'mov rax, dr0'],
  ['LGDT', 'lgdt [DATA]'],
  ['LIDT', 'lidt [DATA]'],
  ['LLDT', 'lldt ax'],
  ['LTR', 'ltr ax'],
  ['LMSW', 'lmsw ax'],
  ['CLTS', 'clts'],
  ['INVLPG', 'invlpg [DATA]'],
  ['WBINVD', 'wbinvd'],
  ['RDMSR', 'rdmsr'],
  ['WRMSR', 'wrmsr'],
  ['SWAPGS', 'swapgs'],
  ['SYSRET', 'o64 sysret'],
];

const enable = (bits: string): string =>
  `mov rax, cr4\nor rax, ${bits}\nmov cr4, rax\nmov eax, 0x11111111`;
const SMEP = enable('0x100000');
const SMAP = enable('0x200000');
const wrmsr = (address: string, low: string, high: string): string =>
  `mov ecx, ${address}\nmov eax, ${low}\nmov edx, ${high}\nwrmsr\nxor eax, eax\nxor edx, edx\nrdmsr`;

/** IRETQ of a frame. */
const iretq = (rip: string, cs: string, flags: string, rsp: string, ss: string): string =>
  `mov rax, ${ss}\npush rax\nmov rax, ${rsp}\npush rax\nmov rax, ${flags}\npush rax\nmov rax, ${cs}\npush rax\nmov rax, ${rip}\npush rax\nmov eax, 0x11111111\niretq`;

/** Far transfers through a pointer in memory. */
const far = (instruction: string, selector: string, offset: string): string =>
  `mov rax, ${offset}\nmov [DATA], rax\nmov word [DATA + 8], ${selector}\nmov eax, 0x11111111\n${instruction} far [DATA]`;

const page = (kind: string): readonly SystemCase[] => {
  const name = kind.toLowerCase();
  return [
    kernel(`kernel reads ${name}`, `mov al, [${kind} + 4]`),
    kernel(`kernel writes ${name}`, `mov [${kind} + 4], al`),
    user(`user reads ${name}`, `mov al, [${kind} + 4]`),
    user(`user writes ${name}`, `mov [${kind} + 4], al`),
    user(`user modifies ${name}`, `inc byte [${kind} + 4]`),
    user(`user runs ${name}`, `mov eax, ${kind} + 4\njmp rax`),
  ];
};

const selectors = [
  '0',
  '3',
  '0x08',
  '0x10',
  '0x13',
  '0x28',
  '0x2b',
  '0x38',
  '0x48',
  '0x58',
  '0x60',
  '0x68',
  '0x6b',
  '0x70',
  '0x73',
  '0x0c',
  '0x1f8',
];
const inspected = [
  '0',
  '0x08',
  '0x10',
  '0x13',
  '0x2b',
  '0x38',
  '0x48',
  '0x58',
  '0x60',
  '0x68',
  '0x6b',
  '0x70',
  '0x88',
  '0x98',
  '0xa8',
  '0xb8',
  '0xc0',
  '0x1f8',
];

export const CASES: readonly SystemCase[] = [
  // exceptions and their frames
  kernel('INT 20H', 'nop'),
  user('INT 20H from CPL 3', 'nop'),
  kernel('INT3', 'int3'),
  user('INT3 at CPL 3, gate of DPL 0', 'int3'),
  user('INT n at CPL 3, gate of DPL 0', 'int 0x80'),
  kernel('INT1', 'db 0xf1'),
  kernel('UD2', 'ud2'),
  user('UD2 at CPL 3', 'ud2'),
  kernel('DIV by zero', 'xor ecx, ecx\ndiv ecx'),
  kernel('IDIV overflow', 'mov eax, 0x80000000\ncdq\nmov ecx, -1\nidiv ecx'),
  kernel('TF', 'pushfq\nor dword [rsp], 0x100\npopfq\nnop\nnop'),
  kernel('TF before INT n', 'pushfq\nor dword [rsp], 0x100\npopfq\nint 0x21'),
  kernel(
    'TF and REP',
    'mov edi, DATA\nmov ecx, 3\npushfq\nor dword [rsp], 0x100\npopfq\nrep stosb',
  ),
  kernel(
    'TF and MOV SS',
    'mov ecx, 0x10\npushfq\nor dword [rsp], 0x100\npopfq\nmov ss, ecx\nnop\nnop',
  ),
  user('TF at CPL 3', 'pushfq\nor dword [rsp], 0x100\npopfq\nnop\nnop'),
  kernel('FPU with CR0.TS', 'mov rax, cr0\nor eax, 8\nmov cr0, rax\nfninit'),
  kernel('SSE with CR0.EM', 'mov rax, cr0\nor eax, 4\nmov cr0, rax\nxorps xmm0, xmm0'),
  kernel('SSE without CR4.OSFXSR', 'mov rax, cr4\nand eax, ~0x200\nmov cr4, rax\nxorps xmm0, xmm0'),
  kernel('not canonical, DS', 'mov rbx, 1 << 47\nmov al, [rbx]'),
  kernel('not canonical, SS', 'mov rbp, 1 << 47\nmov al, [rbp]'),
  kernel('not canonical push', 'mov rsp, 1 << 47\nadd rsp, 8\npush rax'),
  kernel('jump that is not canonical', 'mov rbx, 1 << 47\njmp rbx'),
  kernel('return that is not canonical', 'mov rbx, 1 << 47\npush rbx\nret'),
  user('alignment check', `pushfq\nor dword [rsp], 0x40000\npopfq\nmov eax, [DATA + 1]`),
  kernel(
    'alignment check with CR0.AM',
    `mov rax, 0xcd0005000125048b\nmov [UCODE], rax\nmov byte [UCODE + 8], 0x21\nmov rax, cr0\nor eax, 0x40000\nmov cr0, rax\n${iretq('UCODE', '0x33', '0x40002', 'USTACK', '0x2b')}`,
  ),
  user('LOCK that is not allowed', 'db 0xf0\nmov eax, [DATA]'),
  user('RDPMC', 'rdpmc'),
  // paging
  ...['ABSENT', 'READONLY', 'SUPERVISOR', 'NOEXECUTE', 'RESERVED'].flatMap(page),
  kernel(
    'kernel writes read-only without WP',
    'mov rax, cr0\nand eax, ~0x10000\nmov cr0, rax\nmov dword [READONLY], 1',
  ),
  kernel('SMEP', `${SMEP}\nmov byte [UCODE], 0xc3\nmov eax, UCODE\ncall rax`),
  kernel('SMAP read', `${SMAP}\nmov al, [DATA]`),
  kernel('SMAP write with AC', `${SMAP}\nstac\nmov byte [DATA], 5\nclac`),
  kernel('write across into an absent page', 'mov qword [ABSENT - 4], 5'),
  user('call with an absent stack', 'mov esp, ABSENT + 0x100\ncall $ + 5'),
  user('push onto a read-only page', 'mov esp, READONLY + 0x100\npush rax'),
  kernel('handler with a stack that is not mapped: double fault', 'mov esp, ABSENT + 0x100\nud2'),
  // privilege
  ...PRIVILEGED.map(([name, code]) => user(`${name} at CPL 3`, code)),
  ...['sgdt [DATA]', 'sidt [DATA]', 'sldt ax', 'str ax', 'smsw ax'].map((code) => user(code, code)),
  // control registers
  kernel('CR0 without PE', 'mov rax, 0x80010032\nmov cr0, rax'),
  kernel('CR0 without PG', 'mov rax, 0x00010033\nmov cr0, rax'),
  kernel('CR0 with NW', 'mov rax, 0xa0010033\nmov cr0, rax'),
  kernel('CR0 with bit 32', 'mov rax, 0x180010033\nmov cr0, rax'),
  kernel('CR4 without PAE', 'mov eax, 0x600\nmov cr4, rax'),
  kernel('CR4 with LA57 changed', 'mov eax, 0x1620\nmov cr4, rax'),
  kernel('CR4 with a reserved bit', 'mov eax, 0x80000620\nmov cr4, rax'),
  kernel('CR8', 'mov eax, 9\nmov cr8, rax\nmov rcx, cr8\nxor eax, eax\nmov cr8, rax'),
  kernel('CR8 above 15', 'mov eax, 16\nmov cr8, rax'),
  kernel('CR1', 'db 0x0f, 0x20, 0xc8'),
  kernel('LMSW', 'mov eax, 0xfff8\nlmsw ax\nmov rcx, cr0'),
  kernel('CLTS', 'mov rax, cr0\nor eax, 8\nmov cr0, rax\nclts\nmov rcx, cr0'),
  kernel('SMSW', 'smsw rax\nsmsw ecx\nsmsw [DATA]'),
  kernel('DR4 without CR4.DE', 'mov rax, dr4'),
  kernel('DR4 with CR4.DE', `${enable('8')}\nmov rax, dr4`),
  kernel('DR6 with bit 32', 'mov rax, 1 << 32\nmov dr6, rax'),
  kernel('DR7 reads back', 'mov eax, 0xffff07ff & ~0x20ff\nmov dr7, rax\nmov rcx, dr7'),
  kernel('DR7.GD', 'mov eax, 0x2400\nmov dr7, rax\nmov rcx, dr0'),
  kernel(
    'instruction breakpoint',
    'lea rax, [rel .here]\nmov dr0, rax\nmov eax, 0x401\nmov dr7, rax\nnop\n.here:\nnop',
  ),
  kernel(
    'data breakpoint',
    'mov eax, DATA\nmov dr1, rax\nmov eax, 0xd00404\nmov dr7, rax\nmov eax, [DATA]\nmov dword [DATA], 7\nnop',
  ),
  kernel('XGETBV without OSXSAVE', 'xgetbv'),
  // MSRs
  kernel('EFER with a reserved bit', wrmsr('0xc0000080', '0xd03', '0')),
  kernel('EFER without LME', wrmsr('0xc0000080', '0xc01', '0')),
  kernel('LSTAR not canonical', wrmsr('0xc0000082', '0', '0x8000')),
  kernel('FS_BASE', wrmsr('0xc0000100', '0x1234', '0xffff8000')),
  kernel('FS_BASE not canonical', wrmsr('0xc0000100', '0', '0x8000')),
  kernel(
    'KERNEL_GS_BASE and SWAPGS',
    `${wrmsr('0xc0000102', 'DATA', '0')}\nswapgs\nmov rax, gs:[0]\nmov ecx, 0xc0000101\nrdmsr`,
  ),
  kernel('PAT with type 2', wrmsr('0x277', '0x00070402', '0x00070406')),
  kernel('SYSENTER_EIP', wrmsr('0x176', '0x1234', '0xffff8000')),
  kernel('an MSR that does not exist', 'mov ecx, 0x12345678\nrdmsr'),
  // segments
  ...selectors.flatMap((selector) => [
    kernel(`DS = ${selector}`, `mov ecx, ${selector}\nmov ds, ecx\nmov eax, ds`),
    kernel(`SS = ${selector}`, `mov ecx, ${selector}\nmov ss, ecx\nmov eax, ss`),
    user(`DS = ${selector} at CPL 3`, `mov ecx, ${selector}\nmov ds, ecx\nmov eax, ds`),
    user(`SS = ${selector} at CPL 3`, `mov ecx, ${selector}\nmov ss, ecx\nmov eax, ss`),
  ]),
  ...inspected.flatMap((selector) => [
    kernel(`LAR ${selector}`, `mov ecx, ${selector}\nlar eax, ecx`),
    kernel(`LSL ${selector}`, `mov ecx, ${selector}\nlsl eax, ecx`),
    kernel(`VERR ${selector}`, `mov ecx, ${selector}\nverr cx`),
    kernel(`VERW ${selector}`, `mov ecx, ${selector}\nverw cx`),
    user(`LAR ${selector} at CPL 3`, `mov ecx, ${selector}\nlar eax, ecx`),
    user(`VERW ${selector} at CPL 3`, `mov ecx, ${selector}\nverw cx`),
  ]),
  ...['0', '0x10', '0x38', '0x3b', '0x0c', '0x48', '0x88', '0x1f8'].flatMap((selector) => [
    kernel(`LTR ${selector}`, `mov ecx, ${selector}\nltr cx\nstr eax`),
    kernel(`LLDT ${selector}`, `mov ecx, ${selector}\nlldt cx\nsldt eax`),
  ]),
  kernel(
    'LTR marks busy',
    'mov byte [GDT + 0x3d], 0x89\nmov ecx, 0x38\nltr cx\nmov al, [GDT + 0x3d]',
  ),
  kernel(
    'accessed bit',
    'mov byte [GDT + 0x15], 0x92\nmov ecx, 0x10\nmov ds, ecx\nmov al, [GDT + 0x15]',
  ),
  kernel('LGDT not canonical', 'mov rax, 1 << 47\nmov [DATA + 2], rax\nlgdt [DATA]'),
  // far transfers
  ...[
    '0',
    '0x08',
    '0x0b',
    '0x10',
    '0x18',
    '0x30',
    '0x33',
    '0x38',
    '0x48',
    '0x68',
    '0x78',
    '0x80',
    '0x98',
    '0xa8',
    '0xb8',
    '0xc0',
    '0xc8',
    '0x1f8',
  ].flatMap((selector) => [
    kernel(`JMP ${selector}`, far('jmp', selector, 'KCODE')),
    kernel(`CALL ${selector}`, far('o64 call', selector, '(1 << 47) + KCODE')),
    user(`JMP ${selector} at CPL 3`, far('jmp', selector, 'ABSENT')),
    user(`CALL ${selector} at CPL 3`, far('call', selector, 'ABSENT')),
  ]),
  kernel(
    'RETFQ to 64-bit code',
    'push 0x68\nlea rax, [rel .there]\npush rax\no64 retf\nud2\n.there:\nmov eax, cs',
  ),
  kernel('RETFQ to data', 'push 0x10\npush 0\no64 retf'),
  kernel('RETFQ to an outer level', 'push 0x2b\npush USTACK\npush 0x33\npush UCODE\no64 retf'),
  user('RETFQ to an inner level', 'push 0x08\npush ABSENT\no64 retf'),
  // IRETQ
  kernel('IRETQ to the same level', iretq('UCODE', '0x08', '2', 'STACK - 0x100', '0x10')),
  kernel('IRETQ with SS null', `${iretq('KCODE', '0x08', '2', 'STACK - 0x101', '0')}`),
  kernel('IRETQ with SS null and RPL 3', iretq('UCODE', '0x33', '2', 'STACK', '3')),
  kernel('IRETQ to CPL 3', `${iretq('UCODE', '0x33', '0x3202', 'USTACK', '0x2b')}`),
  kernel('IRETQ to 32-bit code', `${iretq('UCODE', '0x23', '2', '0x123456789', '0x2b')}`),
  kernel('IRETQ to data', iretq('UCODE', '0x10', '2', 'STACK', '0x10')),
  kernel('IRETQ to an absent segment', iretq('UCODE', '0x78', '2', 'STACK', '0x10')),
  kernel('IRETQ to a null selector', iretq('UCODE', '0', '2', 'STACK', '0x10')),
  kernel('IRETQ not canonical', iretq('1 << 47', '0x08', '2', 'STACK', '0x10')),
  kernel(
    'IRETQ with NT',
    iretq('UCODE', '0x08', '2', 'STACK', '0x10').replace(
      'iretq',
      'pushfq\nor dword [rsp], 0x4000\npopfq\niretq',
    ),
  ),
  kernel('IRETQ with a wrong SS', iretq('UCODE', '0x33', '2', 'STACK', '0x10')),
  kernel('IRETQ loads flags', `${iretq('KCODE', '0x08', '0x24_7ad7', 'STACK', '0x10')}`),
  user('POPF at CPL 3', 'push 0x247ad7\npopfq\npushfq\npop rcx'),
  kernel('POPF at CPL 0', 'push 0x2472d7 & ~0x200\npopfq\npushfq\npop rcx'),
  // fast calls
  user('SYSCALL', 'syscall'),
  user('SYSCALL masks', 'std\nsyscall'),
  kernel('SYSCALL without SCE', `${wrmsr('0xc0000080', '0xd00', '0')}\nsyscall`),
  kernel('SYSRET', 'mov ecx, UCODE\nmov r11d, 0x3202\no64 sysret'),
  kernel('SYSRET to 32-bit code', 'mov ecx, UCODE\nmov r11d, 0x2\nsysret'),
  kernel('SYSRET not canonical', 'mov rcx, 1 << 47\nmov r11d, 2\no64 sysret'),
  user('SYSENTER with a null selector', 'sysenter'),
  // I/O bitmap
  user('IN with the bitmap open', 'in al, 0x80'),
  // stack and call across levels
  user('CALL through a gate', far('call', '0xab', '0')),
];
