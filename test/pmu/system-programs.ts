import type { Program } from './counted-program.ts';

/** The same for code that needs what `SystemProcessor` has: R14 is how much a fault's handler skips, R13 where SYSCALL goes on. */
// biome-ignore format: a table
export const SYSTEM_PROGRAMS: readonly Program[] = [
  // System instructions.
  ['CPUID', `
    31 c0  ; xor eax,eax
    0f a2  ; cpuid`,
    { inst: 2 }],
  ['RDTSC and RDTSCP', `
    0f 31     ; rdtsc
    0f 01 f9  ; rdtscp`,
    { inst: 2 }],
  ['RDMSR and WRMSR', `
    b9 03 01 00 c0  ; mov ecx,0xc0000103
    0f 32           ; rdmsr
    0f 30           ; wrmsr`,
    { inst: 3 }],
  ['RDPMC', `
    31 c9  ; xor ecx,ecx
    0f 33  ; rdpmc`,
    { inst: 2 }],
  ['IN and OUT', `
    e6 80  ; out 0x80,al
    e4 80  ; in al,0x80`,
    { inst: 2 }],
  ['INSB and OUTSB', `
    57              ; push rdi
    56              ; push rsi
    ba 80 00 00 00  ; mov edx,0x80
    6c              ; insb
    6e              ; outsb
    5e              ; pop rsi
    5f              ; pop rdi`,
    { inst: 7, ld: 3, st: 3 }],
  ['REP OUTSB of three', `
    56              ; push rsi
    ba 80 00 00 00  ; mov edx,0x80
    b9 03 00 00 00  ; mov ecx,3
    f3 6e           ; rep outsb
    5e              ; pop rsi`,
    { inst: 5, rep: 2, ld: 2, st: 1 }],
  ['MOV from and to CR3', `
    0f 20 d8  ; mov rax,cr3
    0f 22 d8  ; mov cr3,rax`,
    { inst: 2 }],
  ['MOV from and to a debug register', `
    0f 21 f8  ; mov rax,dr7
    0f 23 f8  ; mov dr7,rax`,
    { inst: 2 }],
  ['INVLPG and WBINVD', `
    0f 01 3e  ; invlpg [rsi]
    0f 09     ; wbinvd`,
    { inst: 2 }],
  ['SGDT and LGDT', `
    0f 01 06  ; sgdt [rsi]
    0f 01 16  ; lgdt [rsi]`,
    { inst: 2, ld: 1, st: 1 }],
  ['SLDT, LAR, LSL and VERR: descriptors are no data', `
    0f 00 c0        ; sldt eax
    b9 10 00 00 00  ; mov ecx,0x10
    0f 02 c1        ; lar eax,ecx
    0f 03 c1        ; lsl eax,ecx
    0f 00 e1        ; verr cx`,
    { inst: 5 }],
  ['MOV of a segment register from memory', `
    66 c7 06 18 00  ; mov word [rsi],0x18
    8e 1e           ; mov ds,[rsi]`,
    { inst: 2, ld: 1, st: 1 }],
  ['SWAPGS, there and back', `
    0f 01 f8  ; swapgs
    0f 01 f8  ; swapgs`,
    { inst: 2 }],
  ['STI, then CLI', `
    fb  ; sti
    fa  ; cli`,
    { inst: 2 }],
  // Far transfers.
  ['far CALL through memory and RETF', `
    48 8d 05 0e 00 00 00  ; lea rax,[rel f]
    48 89 06              ; mov [rsi],rax
    66 c7 46 08 10 00     ; mov word [rsi+8],0x10
    48 ff 1e              ; o64 call far [rsi]
    eb 02                 ; jmp e
    48 cb                 ; f: o64 retf
                          ; e:`,
    { inst: 6, br: 3, far: 2, near: 1, ld: 2, st: 3 }],
  ['far JMP through memory', `
    48 8d 05 0c 00 00 00  ; lea rax,[rel e]
    48 89 06              ; mov [rsi],rax
    66 c7 46 08 10 00     ; mov word [rsi+8],0x10
    48 ff 2e              ; o64 jmp far [rsi]
                          ; e:`,
    { inst: 4, br: 1, far: 1, ld: 1, st: 2 }],
  ['RETF to what was pushed', `
    6a 10                 ; push 0x10
    48 8d 05 03 00 00 00  ; lea rax,[rel e]
    50                    ; push rax
    48 cb                 ; o64 retf
                          ; e:`,
    { inst: 4, br: 1, far: 1, ld: 1, st: 2 }],
  ['IRET at one level', `
    48 89 e0              ; mov rax,rsp
    6a 18                 ; push 0x18
    50                    ; push rax
    9c                    ; pushfq
    6a 10                 ; push 0x10
    48 8d 05 03 00 00 00  ; lea rax,[rel e]
    50                    ; push rax
    48 cf                 ; iretq
                          ; e:`,
    { inst: 8, br: 1, far: 1, ld: 1, st: 5 }],
  ['into compatibility mode and back', `
    48 8d 05 0a 00 00 00  ; lea rax,[rel f]
    89 06                 ; mov [rsi],eax
    66 c7 46 04 48 00     ; mov word [rsi+4],0x48
    ff 2e                 ; jmp far dword [rsi]
                          ; bits 32
    40                    ; f: inc eax
    ea 1f 00 01 00 10 00  ; jmp 0x10:e
                          ; bits 64
                          ; e:`,
    { inst: 6, br: 2, far: 2, ld: 1, st: 2 }],
  ['INT n', `
    cd 30  ; int 0x30`,
    { inst: 2, br: 2, far: 2, ld: 1, st: 1 }],
  ['INT3', `
    cc  ; int3`,
    { inst: 2, br: 2, far: 2, ld: 1, st: 1 }],
  ['INT1', `
    f1  ; int1`,
    { inst: 3, br: 2, far: 2, ld: 2, st: 2 }],
  // Faults.
  ['#UD', `
    41 be 02 00 00 00  ; mov r14d,2
    0f 0b              ; ud2`,
    { inst: 3, br: 1, far: 1, ld: 2, st: 1 }],
  ['#DE', `
    31 c9              ; xor ecx,ecx
    41 be 02 00 00 00  ; mov r14d,2
    f7 f1              ; div ecx`,
    { inst: 4, br: 1, far: 1, ld: 2, st: 1 }],
  ['#GP of an address that is not canonical', `
    41 be 03 00 00 00              ; mov r14d,3
    48 b8 00 00 00 00 00 00 00 80  ; mov rax,0x8000000000000000
    48 8b 00                       ; mov rax,[rax]`,
    { inst: 5, br: 1, far: 1, ld: 2, st: 1 }],
  ['#SS of such an address', `
    41 be 04 00 00 00              ; mov r14d,4
    48 bd 00 00 00 00 00 00 00 80  ; mov rbp,0x8000000000000000
    48 8b 45 00                    ; mov rax,[rbp]`,
    { inst: 5, br: 1, far: 1, ld: 2, st: 1 }],
  ['#GP of WRMSR', `
    b9 8e 03 00 00     ; mov ecx,0x38e
    41 be 02 00 00 00  ; mov r14d,2
    0f 30              ; wrmsr`,
    { inst: 5, br: 1, far: 1, ld: 2, st: 1 }],
  ['#NM, and the x87 instruction never happened', `
    0f 20 c0           ; mov rax,cr0
    0c 08              ; or al,8
    0f 22 c0           ; mov cr0,rax
    41 be 02 00 00 00  ; mov r14d,2
    d9 e8              ; fld1
    0f 06              ; clts`,
    { inst: 7, br: 1, far: 1, ld: 2, st: 1 }],
  ['#XM, and the division never happened', `
    c7 06 80 1d 00 00  ; mov dword [rsi],0x1d80
    0f ae 16           ; ldmxcsr [rsi]
    66 0f ef c9        ; pxor xmm1,xmm1
    41 be 04 00 00 00  ; mov r14d,4
    b8 00 00 80 3f     ; mov eax,0x3f800000
    66 0f 6e c0        ; movd xmm0,eax
    f3 0f 5e c1        ; divss xmm0,xmm1
    c7 06 80 1f 00 00  ; mov dword [rsi],0x1f80
    0f ae 16           ; ldmxcsr [rsi]`,
    { inst: 10, br: 1, far: 1, ld: 4, st: 3 }],
  ['#DB of a single step', `
    9c                    ; pushfq
    81 0c 24 00 01 00 00  ; or dword [rsp],0x100
    9d                    ; popfq
    90                    ; nop`,
    { inst: 6, br: 1, far: 1, ld: 4, st: 3, nop: 1 }],
  ['#PF of a load', `
    41 be 03 00 00 00  ; mov r14d,3
    b8 00 00 00 04     ; mov eax,0x4000000
    48 8b 00           ; mov rax,[rax]`,
    { inst: 6, br: 1, far: 1, ld: 2, st: 2 }],
  ['#PF of a store', `
    41 be 03 00 00 00  ; mov r14d,3
    b8 00 00 00 04     ; mov eax,0x4000000
    48 89 00           ; mov [rax],rax`,
    { inst: 6, br: 1, far: 1, ld: 2, st: 2 }],
  ['#PF of an increment', `
    41 be 03 00 00 00  ; mov r14d,3
    b8 00 00 00 04     ; mov eax,0x4000000
    48 ff 00           ; inc qword [rax]`,
    { inst: 6, br: 1, far: 1, ld: 2, st: 2 }],
  ['#PF of a PUSH from memory', `
    41 be 02 00 00 00  ; mov r14d,2
    b8 00 00 00 04     ; mov eax,0x4000000
    ff 30              ; push qword [rax]`,
    { inst: 6, br: 1, far: 1, ld: 2, st: 2 }],
  ['#PF of a CALL through memory', `
    41 be 02 00 00 00  ; mov r14d,2
    b8 00 00 00 04     ; mov eax,0x4000000
    ff 10              ; call [rax]`,
    { inst: 6, br: 1, far: 1, ld: 2, st: 2 }],
  ['#PF that is mended: the load restarts', `
    45 31 f6                 ; xor r14d,r14d
    41 bd 00 31 00 00        ; mov r13d,0x3100
    41 bc 87 00 00 00        ; mov r12d,0x87
    b8 00 00 00 04           ; mov eax,0x4000000
    48 8b 00                 ; mov rax,[rax]
    49 c7 45 00 00 00 00 00  ; mov qword [r13],0
    b8 00 00 00 04           ; mov eax,0x4000000
    0f 01 38                 ; invlpg [rax]
    45 31 ed                 ; xor r13d,r13d`,
    { inst: 13, br: 1, far: 1, ld: 3, st: 3 }],
  ['#PF after three bytes of REP STOSB', `
    57                 ; push rdi
    bf fd ff ff 01     ; mov edi,0x1fffffd
    b9 09 00 00 00     ; mov ecx,9
    41 be 02 00 00 00  ; mov r14d,2
    f3 aa              ; rep stosb
    5f                 ; pop rdi`,
    { inst: 9, br: 1, far: 1, rep: 3, ld: 3, st: 3 }],
  // Interrupts.
  ['an IPI to itself, taken after STI', `
    b9 3f 08 00 00  ; mov ecx,0x83f
    b8 41 00 00 00  ; mov eax,0x41
    31 d2           ; xor edx,edx
    0f 30           ; wrmsr
    fb              ; sti
    90              ; nop
    fa              ; cli`,
    { inst: 18, br: 1, far: 1, ld: 4, st: 3, nop: 1, hw: 1 }],
  ['two of them, one after the other', `
    b9 3f 08 00 00  ; mov ecx,0x83f
    b8 41 00 00 00  ; mov eax,0x41
    31 d2           ; xor edx,edx
    0f 30           ; wrmsr
    b8 42 00 00 00  ; mov eax,0x42
    0f 30           ; wrmsr
    fb              ; sti
    90              ; nop
    fa              ; cli`,
    { inst: 31, br: 2, far: 2, ld: 8, st: 6, nop: 1, hw: 2 }],
  ['an interrupt ends a HLT', `
    b9 3f 08 00 00  ; mov ecx,0x83f
    b8 41 00 00 00  ; mov eax,0x41
    31 d2           ; xor edx,edx
    0f 30           ; wrmsr
    fb              ; sti
    f4              ; hlt
    fa              ; cli`,
    { inst: 18, br: 1, far: 1, ld: 4, st: 3, hw: 1 }],
  ['an NMI', `
    b9 30 08 00 00  ; mov ecx,0x830
    b8 00 04 00 00  ; mov eax,0x400
    31 d2           ; xor edx,edx
    0f 30           ; wrmsr`,
    { inst: 5, br: 1, far: 1, ld: 1, hw: 1 }],
  // Changes of privilege level.
  ['SYSRET and SYSCALL', `
    48 8d 0d 10 00 00 00  ; lea rcx,[rel u]
    41 bb 02 00 00 00     ; mov r11d,2
    4c 8d 2d 06 00 00 00  ; lea r13,[rel e]
    48 0f 07              ; o64 sysret
    90                    ; u: nop
    0f 05                 ; syscall
                          ; e:`,
    { inst: 7, br: 3, far: 2, near: 1, ind: 1, nop: 1, usr: 2, usrBr: 1, ring0: 1 }],
  ['SYSEXIT and SYSENTER', `
    48 8d 15 0d 00 00 00  ; lea rdx,[rel u]
    48 89 e1              ; mov rcx,rsp
    4c 8d 2d 06 00 00 00  ; lea r13,[rel e]
    48 0f 35              ; o64 sysexit
    90                    ; u: nop
    0f 34                 ; sysenter
                          ; e:`,
    { inst: 7, br: 3, far: 2, near: 1, ind: 1, nop: 1, usr: 2, usrBr: 1, ring0: 1 }],
  ['IRET to user code and INT n out of it', `
    48 89 e0              ; mov rax,rsp
    6a 2b                 ; push 0x2b
    50                    ; push rax
    6a 02                 ; push 2
    6a 33                 ; push 0x33
    48 8d 05 0a 00 00 00  ; lea rax,[rel u]
    50                    ; push rax
    4c 8d 2d 05 00 00 00  ; lea r13,[rel e]
    48 cf                 ; iretq
    90                    ; u: nop
    cd 31                 ; int 0x31
                          ; e:`,
    { inst: 13, br: 3, far: 2, near: 1, ind: 1, ld: 2, st: 6, nop: 1, usr: 2, usrBr: 1, ring0: 1 }],
  ['the same in compatibility mode', `
    48 89 e0              ; mov rax,rsp
    6a 2b                 ; push 0x2b
    50                    ; push rax
    6a 02                 ; push 2
    6a 23                 ; push 0x23
    48 8d 05 0a 00 00 00  ; lea rax,[rel u]
    50                    ; push rax
    4c 8d 2d 05 00 00 00  ; lea r13,[rel e]
    48 cf                 ; iretq
                          ; bits 32
    40                    ; u: inc eax
    cd 31                 ; int 0x31
                          ; bits 64
                          ; e:`,
    { inst: 13, br: 3, far: 2, near: 1, ind: 1, ld: 2, st: 6, usr: 2, usrBr: 1, ring0: 1 }],
  ['user code that loads, stores and branches', `
    48 8d 0d 10 00 00 00  ; lea rcx,[rel u]
    41 bb 02 00 00 00     ; mov r11d,2
    4c 8d 2d 0f 00 00 00  ; lea r13,[rel e]
    48 0f 07              ; o64 sysret
    48 8b 06              ; u: mov rax,[rsi]
    48 89 06              ; mov [rsi],rax
    31 c0                 ; xor eax,eax
    74 00                 ; jz $+2
    0f 05                 ; syscall
                          ; e:`,
    { inst: 10, br: 4, cond: 1, taken: 1, far: 2, near: 2, ind: 1, ld: 1, st: 1, usr: 5, usrBr: 2, ring0: 1 }],
  ['#UD in user code, and back into it', `
    48 8d 0d 16 00 00 00  ; lea rcx,[rel u]
    41 bb 02 00 00 00     ; mov r11d,2
    4c 8d 2d 0d 00 00 00  ; lea r13,[rel e]
    41 be 02 00 00 00     ; mov r14d,2
    48 0f 07              ; o64 sysret
    0f 0b                 ; u: ud2
    0f 05                 ; syscall
                          ; e:`,
    { inst: 9, br: 4, far: 3, near: 1, ind: 1, ld: 2, st: 1, usr: 2, usrBr: 2, ring0: 2 }],
  ['#GP of HLT in user code', `
    48 8d 0d 16 00 00 00  ; lea rcx,[rel u]
    41 bb 02 00 00 00     ; mov r11d,2
    4c 8d 2d 0c 00 00 00  ; lea r13,[rel e]
    41 be 01 00 00 00     ; mov r14d,1
    48 0f 07              ; o64 sysret
    f4                    ; u: hlt
    0f 05                 ; syscall
                          ; e:`,
    { inst: 10, br: 4, far: 3, near: 1, ind: 1, ld: 2, st: 1, usr: 2, usrBr: 2, ring0: 2 }],
  ['#PF of user code, mended', `
    48 8d 0d 1d 00 00 00                 ; lea rcx,[rel u]
    41 bb 02 00 00 00                    ; mov r11d,2
    41 bc 87 00 00 00                    ; mov r12d,0x87
    41 bd 00 31 00 00                    ; mov r13d,0x3100
    45 31 f6                             ; xor r14d,r14d
    b8 00 00 00 04                       ; mov eax,0x4000000
    48 0f 07                             ; o64 sysret
    48 8b 00                             ; u: mov rax,[rax]
    4c 8d 2d 02 00 00 00                 ; lea r13,[rel e]
    0f 05                                ; syscall
    48 c7 04 25 00 31 00 00 00 00 00 00  ; e: mov qword [0x3100],0
    b8 00 00 00 04                       ; mov eax,0x4000000
    0f 01 38                             ; invlpg [rax]`,
    { inst: 18, br: 4, far: 3, near: 1, ind: 1, ld: 3, st: 3, usr: 4, usrBr: 2, ring0: 2 }],
  ['a call gate out of user code, RETF into it', `
    66 c7 46 04 53 00     ; mov word [rsi+4],0x53
    48 8d 0d 10 00 00 00  ; lea rcx,[rel u]
    41 bb 02 00 00 00     ; mov r11d,2
    4c 8d 2d 07 00 00 00  ; lea r13,[rel e]
    48 0f 07              ; o64 sysret
    ff 1e                 ; u: call far dword [rsi]
    0f 05                 ; syscall
                          ; e:`,
    { inst: 9, br: 5, far: 4, near: 1, ind: 1, ld: 2, st: 2, usr: 2, usrBr: 2, ring0: 2 }],
  ['an interrupt taken by user code', `
    b9 3f 08 00 00        ; mov ecx,0x83f
    b8 41 00 00 00        ; mov eax,0x41
    31 d2                 ; xor edx,edx
    0f 30                 ; wrmsr
    48 8d 0d 10 00 00 00  ; lea rcx,[rel u]
    41 bb 02 02 00 00     ; mov r11d,0x202
    4c 8d 2d 06 00 00 00  ; lea r13,[rel e]
    48 0f 07              ; o64 sysret
    90                    ; u: nop
    0f 05                 ; syscall
    fa                    ; e: cli`,
    { inst: 23, br: 4, far: 3, near: 1, ind: 1, ld: 4, st: 3, nop: 1, hw: 1, usr: 3, usrBr: 2, ring0: 2 }],
];
