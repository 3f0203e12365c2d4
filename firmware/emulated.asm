; emulated: instructions that leave the guest, or that the hypervisor carries out itself, inside counted regions.
; Each retires once, in every machine that has it, whoever carries it out.
;
; Expected totals. Each region counts COUNTED_FRAME = 4 instructions more than its body.
;
;   region       body                                                     instructions        branches   where
;   cpuid        MOV; 1,000 × (XOR, CPUID, DEC, JNZ)                      4,001 + 4 = 4,005   1,000      everywhere
;   rdmsr        2 MOV; 1,000 × (RDMSR, DEC, JNZ)                         3,002 + 4 = 3,006   1,000      everywhere
;   in           2 MOV; 1,000 × (IN, DEC, JNZ)                            3,002 + 4 = 3,006   1,000      everywhere
;   vmcall       MOV; 1,000 × (MOV, VMCALL, DEC, JNZ)                     4,001 + 4 = 4,005   1,000      under a hypervisor
;   forced       see the columns at the region                            18 + 4 = 22         8          with forced emulation
;   forced-loop  MOV; 200 × (DEC, JNZ), both forced                       401 + 4 = 405       200        with forced emulation
;   at-cpuid     GP 0 from -10: WRMSR, 8 NOP, CPUID overflows             PMI before the NOP behind CPUID
;   at-forced    GP 0 from -10: WRMSR, 9 forced NOP                       PMI before the tenth
;   at-branch    GP 1 from -3 branches: 3 forced JMP                      PMI before the fourth
;
; Forced emulation: UD2 and the bytes of "kvm" before an instruction ask KVM (force_emulation_prefix=1) to emulate it.

%include "image.inc"
%include "registers.inc"
%include "runtime.inc"
%include "pmu.inc"

PMI_VECTOR equ 0x40
TURNS equ 1000
FORCED_TURNS equ 200

%macro FORCED 1+
    ud2
    db "kvm"
    %1
%endmacro
FORCED_NOP_SIZE equ 6
FORCED_JMP_SIZE equ 7

main:
    PRINT "counterpoint guest: emulated", 10
    call find_pmu
    call enable_x2apic
    HANDLE PMI_VECTOR, pmi_once
    call by_cpuid
    call by_rdmsr
    call by_in
    call overflow_at_cpuid

    AWAIT
    mov eax, 1
    vmcall
    END_AWAIT
    cmp qword [caught], -1
    jne .no_hypervisor
    call by_vmcall
    jmp .vmcall_done
.no_hypervisor:
    SKIP "VMCALL: no hypervisor answers"
.vmcall_done:

    AWAIT
    FORCED nop
    END_AWAIT
    cmp qword [caught], -1
    jne .no_forced
    call forced_each
    call forced_loop
    call overflow_at_forced
    call overflow_at_branch
    ret
.no_forced:
    SKIP "forced emulation: the prefix is an undefined instruction here"
    ret

; Prints and checks GP 0 and GP 1. RSI = region's name, R12 = instructions, R13 = branches, both expected.
check_region:
    mov r14, rsi
    PRINT "read "
    mov rsi, r14
    call print_text
    PRINT "-instructions "
    xor ecx, ecx
    call read_pmc
    mov rbx, rax
    call print_decimal
    PRINT 10, "read "
    mov rsi, r14
    call print_text
    PRINT "-branches "
    mov ecx, 1
    call read_pmc
    mov r15, rax
    call print_decimal
    PRINT 10
    CHECK "instructions", rbx, r12
    CHECK "branches", r15, r13
    mov ecx, RDPMC_FIXED
    call read_pmc
    CHECK "fixed counter 0 agrees", rax, r12
    ret

%macro CHECK_REGION 3                   ; name, instructions of the body, branches
    lea rsi, [%%name]
    mov r12d, %2 + COUNTED_FRAME
    mov r13d, %3
    call check_region
    jmp %%over
%%name:
    db %1, 0
%%over:
%endmacro

by_cpuid:
    call program_instructions_and_branches
    COUNT_BEGIN cpuid_begin, INSTRUCTIONS_AND_BRANCHES
    mov esi, TURNS
.next:
    xor eax, eax
    cpuid
    dec esi
    jnz .next
    COUNT_END cpuid_end
    CHECK_REGION "cpuid", 1 + 4 * TURNS, TURNS
    ret

by_rdmsr:
    call program_instructions_and_branches
    COUNT_BEGIN rdmsr_begin, INSTRUCTIONS_AND_BRANCHES
    mov esi, TURNS
    mov ecx, IA32_APIC_BASE
.next:
    rdmsr
    dec esi
    jnz .next
    COUNT_END rdmsr_end
    CHECK_REGION "rdmsr", 2 + 3 * TURNS, TURNS
    ret

by_in:
    call program_instructions_and_branches
    COUNT_BEGIN in_begin, INSTRUCTIONS_AND_BRANCHES
    mov esi, TURNS
    mov edx, COM1 + 5
.next:
    in al, dx
    dec esi
    jnz .next
    COUNT_END in_end
    CHECK_REGION "in", 2 + 3 * TURNS, TURNS
    ret

by_vmcall:
    call program_instructions_and_branches
    COUNT_BEGIN vmcall_begin, INSTRUCTIONS_AND_BRANCHES
    mov esi, TURNS
.next:
    mov eax, 1
    vmcall
    dec esi
    jnz .next
    COUNT_END vmcall_end
    CHECK_REGION "vmcall", 1 + 4 * TURNS, TURNS
    ret

; Columns: instructions, branches.
forced_each:
    call program_instructions_and_branches
    COUNT_BEGIN forced_begin, INSTRUCTIONS_AND_BRANCHES
    FORCED nop                          ; 1
    FORCED mov eax, 5                   ; 1
    FORCED add eax, eax                 ; 1
    FORCED cmp eax, 10                  ; 1
    FORCED jne .never                   ; 1  1  not taken
    FORCED je .taken                    ; 1  1  taken
    nop
.taken:
    FORCED call .sub                    ; 1  1
    FORCED jmp .over                    ; 1  1
.sub:
    FORCED ret                          ; 1  1
.over:
    FORCED push rax                     ; 1
    FORCED pop rdx                      ; 1
    FORCED mov [scratch], rdx           ; 1
    FORCED inc dword [scratch]          ; 1
    FORCED lea rdi, [scratch]           ; 1
    mov ecx, 3                          ; 1
.loop:
    FORCED loop .loop                   ; 3  3
.never:                                 ; -----
    COUNT_END forced_end                ; 18 8
    CHECK_REGION "forced", 18, 8
    CHECK "and they did what they say", [scratch], 11
    ret

forced_loop:
    call program_instructions_and_branches
    COUNT_BEGIN forced_loop_begin, INSTRUCTIONS_AND_BRANCHES
    mov ecx, FORCED_TURNS
.next:
    FORCED dec ecx
    FORCED jnz .next
    COUNT_END forced_loop_end
    CHECK_REGION "forced-loop", 1 + 2 * FORCED_TURNS, FORCED_TURNS
    ret

; The handler of the overflows: stop, remember where.
pmi_once:
    push rax
    push rcx
    push rdx
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    mov rax, [rsp + 24]
    mov [interrupted], rax
    inc qword [pmis]
    mov ecx, IA32_PERF_GLOBAL_STATUS
    call read_msr
    mov [status_seen], rax
    WRITE_MSR X2APIC_EOI, 0
    pop rdx
    pop rcx
    pop rax
    iretq

; Counter 0 instructions and counter 1 branches, both with PMI, from -EAX and -EDX; LVTPC open.
prepare_overflow:
    mov r12d, eax
    mov r13d, edx
    call program_instructions_and_branches
    WRITE_MSR IA32_PERFEVTSEL0, INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_INT | EVTSEL_EN
    WRITE_MSR IA32_PERFEVTSEL0 + 1, BR_INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_INT | EVTSEL_EN
    neg r12d
    neg r13d
    WRITE_MSR IA32_PMC0, r12d
    WRITE_MSR IA32_PMC0 + 1, r13d
    WRITE_MSR X2APIC_LVT_PMI, PMI_VECTOR
    mov qword [pmis], 0
    mov qword [interrupted], 0
    mov qword [status_seen], 0
    ret

overflow_at_cpuid:
    mov eax, 10
    mov edx, 1000
    call prepare_overflow
    sti
    COUNT_BEGIN at_cpuid_begin, 1
    times 8 nop
    cpuid
.behind:
    times 8 nop
    COUNT_END at_cpuid_end
    cli
    CHECK "CPUID overflows the counter: one interrupt", [pmis], 1
    lea rbx, [at_cpuid_begin.behind]
    CHECK "before the instruction behind it", [interrupted], rbx
    ret

overflow_at_forced:
    mov eax, 10
    mov edx, 1000
    call prepare_overflow
    sti
    COUNT_BEGIN at_forced_begin, 1
.sled:
%rep 20
    FORCED nop
%endrep
    COUNT_END at_forced_end
    cli
    CHECK "an emulated instruction overflows the counter: one interrupt", [pmis], 1
    lea rbx, [at_forced_begin.sled + 9 * FORCED_NOP_SIZE]
    CHECK "before the instruction behind it", [interrupted], rbx
    ret

overflow_at_branch:
    mov eax, 1000
    mov edx, 3
    call prepare_overflow
    sti
    COUNT_BEGIN at_branch_begin, 2
.sled:
%rep 6
    FORCED jmp short $ + 2
%endrep
    COUNT_END at_branch_end
    cli
    CHECK "an emulated branch overflows the counter: one interrupt", [pmis], 1
    CHECK "with the status bit of GP 1", [status_seen], 2
    lea rbx, [at_branch_begin.sled + 3 * FORCED_JMP_SIZE]
    CHECK "before the branch behind it", [interrupted], rbx
    ret

align 8
scratch:
    dq 0

    REGION_TABLE
    REGION "cpuid", cpuid_begin, cpuid_end
    REGION "rdmsr", rdmsr_begin, rdmsr_end
    REGION "in", in_begin, in_end
    REGION "vmcall", vmcall_begin, vmcall_end
    REGION "forced", forced_begin, forced_end
    REGION "forced-loop", forced_loop_begin, forced_loop_end
    REGION "at-cpuid", at_cpuid_begin, at_cpuid_end
    REGION "at-forced", at_forced_begin, at_forced_end
    REGION "at-branch", at_branch_begin, at_branch_end
    END_REGION_TABLE

    IMAGE_BSS
    RUNTIME_BSS
pmis:        resq 1
interrupted: resq 1
status_seen: resq 1
    IMAGE_END
