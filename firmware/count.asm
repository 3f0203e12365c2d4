; count: regions whose instructions and branches are known by hand, read every way there is.
;
; Expected totals. Each region counts COUNTED_FRAME = 4 instructions more than its body (include/pmu.inc).
;
;   region   body                                                      instructions          branches
;   loop     1 MOV; 500,000 × (DEC, JNZ)                               1 + 1,000,000 = 1,000,001   500,000
;            with the frame                                            1,000,005                   500,000
;   mixed    see the columns at the region                             30 + 4 = 34                 13
;   half     twice (1 MOV; 1,000 × (DEC, JNZ)) in two regions          2 × (2,001 + 4) = 4,010     2,000
;   user     the loop of `half`, counters for CPL 3 only               0                           0
;   fault    UD2 and its handler, see there                            14 + 4 = 18                 3

%include "image.inc"
%include "registers.inc"
%include "runtime.inc"
%include "pmu.inc"

LOOPS equ 500000
HALF_LOOPS equ 1000

main:
    PRINT "counterpoint guest: count", 10
    call find_pmu
    call whole_loop
    call mixed
    call halves
    call user_only
    call faulting
    call write_paths
    ret

; Reads the three counters: instructions R12 (GP 0), branches R13 (GP 1), instructions R14 (fixed 0).
read_counters:
    xor ecx, ecx
    call read_pmc
    mov r12, rax
    mov ecx, 1
    call read_pmc
    mov r13, rax
    mov ecx, RDPMC_FIXED
    call read_pmc
    mov r14, rax
    ret

whole_loop:
    call program_instructions_and_branches
    COUNT_BEGIN loop_begin, INSTRUCTIONS_AND_BRANCHES
    mov ecx, LOOPS
.next:
    dec ecx
    jnz .next
    COUNT_END loop_end

    call read_counters
    READ "instructions", r12
    READ "branches", r13
    CHECK "RDPMC 0: 500,000 turns of a loop are 1,000,005 instructions", r12, 2 * LOOPS + 5
    CHECK "RDPMC 1: and 500,000 branches", r13, LOOPS
    CHECK "RDPMC 40000000H: fixed counter 0 agrees", r14, 2 * LOOPS + 5
    mov ecx, IA32_PMC0
    call read_msr
    CHECK "RDMSR IA32_PMC0 reads the same counter", rax, 2 * LOOPS + 5
    mov ecx, IA32_PMC0 + 1
    call read_msr
    CHECK "RDMSR IA32_PMC1 reads the same counter", rax, LOOPS
    mov ecx, IA32_FIXED_CTR0
    call read_msr
    CHECK "RDMSR IA32_FIXED_CTR0 reads the same counter", rax, 2 * LOOPS + 5
    cmp dword [pmu_full_write], 0
    je .no_full_width
    mov ecx, IA32_A_PMC0
    call read_msr
    CHECK "RDMSR IA32_A_PMC0 reads the same counter", rax, 2 * LOOPS + 5
    ret
.no_full_width:
    SKIP "RDMSR IA32_A_PMC0: no full-width writes"
    ret

; One of each kind. Columns: instructions, branches.
mixed:
    call program_instructions_and_branches
    COUNT_BEGIN mixed_begin, INSTRUCTIONS_AND_BRANCHES
    mov ecx, 3                          ; 1
.loop:
    loop .loop                          ; 3  3  taken, taken, not taken
    jrcxz .zero                         ; 1  1  taken
    nop
.zero:
    cmp ecx, 0                          ; 1
    jne .never                          ; 1  1  not taken
    je .taken                           ; 1  1  taken
    nop
.taken:
    call .sub                           ; 1  1
    lea rax, [.sub]                     ; 1
    call rax                            ; 1  1
    jmp .over                           ; 1  1
.sub:
    ret                                 ; 2  2  called twice
.over:
    lea rax, [.indirect]                ; 1
    jmp rax                             ; 1  1
.indirect:
    nop                                 ; 1
    pause                               ; 1
    db 0x0f, 0x1f, 0x80, 0, 0, 0, 0     ; 1     NOP of seven bytes
    push rax                            ; 1
    pop rax                             ; 1
    lea rdi, [scratch]                  ; 1
    mov ecx, 100                        ; 1
    xor eax, eax                        ; 1
    rep stosb                           ; 1     one instruction, however often it repeats
    lock inc dword [scratch]            ; 1
    push CODE_SELECTOR                  ; 1
    lea rax, [.far]                     ; 1
    push rax                            ; 1
    o64 retf                            ; 1  1
.far:
.never:                                 ; ------
    COUNT_END mixed_end                 ; 30 13
    call read_counters
    READ "mixed-instructions", r12
    READ "mixed-branches", r13
    CHECK "one of each kind: 34 instructions", r12, 30 + COUNTED_FRAME
    CHECK "one of each kind: 13 branches", r13, 13
    ret

; A region measured in two pieces equals the sum, plus one frame for the second piece.
halves:
    call program_instructions_and_branches
    mov ebx, 2
.piece:
    COUNT_BEGIN half_begin, INSTRUCTIONS_AND_BRANCHES
    mov ecx, HALF_LOOPS
.next:
    dec ecx
    jnz .next
    COUNT_END half_end
    dec ebx
    jnz halves.piece
    call read_counters
    READ "half-instructions", r12
    CHECK "a stopped counter keeps its value and goes on: 4,010 instructions", r12, 2 * (2 * HALF_LOOPS + 5)
    CHECK "a stopped counter keeps its value and goes on: 2,000 branches", r13, 2 * HALF_LOOPS
    ret

user_only:
    call program_instructions_and_branches
    WRITE_MSR IA32_PERFEVTSEL0, INST_RETIRED | EVTSEL_USR | EVTSEL_EN
    WRITE_MSR IA32_PERFEVTSEL0 + 1, BR_INST_RETIRED | EVTSEL_USR | EVTSEL_EN
    WRITE_MSR IA32_FIXED_CTR_CTRL, FIXED_USR
    COUNT_BEGIN user_begin, INSTRUCTIONS_AND_BRANCHES
    mov ecx, HALF_LOOPS
.next:
    dec ecx
    jnz .next
    COUNT_END user_end
    call read_counters
    CHECK "a counter for CPL 3 does not move at CPL 0 (GP 0)", r12, 0
    CHECK "a counter for CPL 3 does not move at CPL 0 (GP 1)", r13, 0
    CHECK "a counter for CPL 3 does not move at CPL 0 (fixed 0)", r14, 0
    ret

; A faulting instruction is not counted, its delivery is not counted, its handler is.
faulting:
    call program_instructions_and_branches
    AWAIT
    COUNT_BEGIN fault_begin, INSTRUCTIONS_AND_BRANCHES
    ud2                                 ; 0
                                        ; 3  1  stub: PUSH, PUSH, JMP
                                        ; 11 2  handler: PUSH, MOV, TEST, JZ, 4 × MOV, POP, ADD, IRETQ
    END_AWAIT_INSIDE                    ; 0     nothing: the handler has disarmed itself
    COUNT_END fault_end
    call read_counters
    READ "fault-instructions", r12
    READ "fault-branches", r13
    CHECK "#UD was raised", [caught], 6
    CHECK "a fault counts only its handler: instructions", r12, 14 + COUNTED_FRAME
    CHECK "a fault counts only its handler: branches", r13, 3
    ret

; Writes through the two addresses of one counter.
write_paths:
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    WRITE_MSR IA32_PMC0, 5, 0x19000
    mov ecx, IA32_PMC0
    call read_msr
    CHECK "IA32_PMC0 takes 32 bits: positive", rax, 5
    WRITE_MSR IA32_PMC0, 0x90000005, 1
    mov ecx, IA32_PMC0
    call read_msr
    mov rbx, 0xffffffff90000005
    and rbx, [pmu_value_mask]
    CHECK "IA32_PMC0 takes 32 bits and extends their sign", rax, rbx

    cmp dword [pmu_full_write], 0
    je .no_full_width
    WRITE_MSR IA32_A_PMC0, 0x90000005, 1
    mov ecx, IA32_A_PMC0
    call read_msr
    mov rbx, 0x190000005
    CHECK "IA32_A_PMC0 takes all bits", rax, rbx
    xor ecx, ecx
    call read_pmc
    CHECK "RDPMC sees what IA32_A_PMC0 was given", rax, rbx

    AWAIT
    mov rdx, [pmu_value_mask]
    inc rdx                             ; the lowest bit that the counter does not have
    shr rdx, 32
    xor eax, eax
    mov ecx, IA32_A_PMC0
    wrmsr
    END_AWAIT
    CHECK "a bit beyond the counter's width is #GP at IA32_A_PMC0", [caught], 13
    mov ecx, IA32_A_PMC0
    call read_msr
    CHECK "and the counter is as it was", rax, rbx
    jmp .select
.no_full_width:
    SKIP "IA32_A_PMC0: no full-width writes"
.select:
    AWAIT
    mov ecx, 0x3fff                     ; no such counter
    rdpmc
    END_AWAIT
    CHECK "RDPMC of a counter that does not exist is #GP", [caught], 13
    AWAIT
    WRITE_MSR IA32_PERF_GLOBAL_STATUS, 0
    END_AWAIT
    CHECK "IA32_PERF_GLOBAL_STATUS is read-only", [caught], 13
    ret

align 64
scratch:
    times 128 db 0

    REGION_TABLE
    REGION "loop", loop_begin, loop_end
    REGION "mixed", mixed_begin, mixed_end
    REGION "half", half_begin, half_end
    REGION "user", user_begin, user_end
    REGION "fault", fault_begin, fault_end
    END_REGION_TABLE

    IMAGE_BSS
    RUNTIME_BSS
    IMAGE_END
