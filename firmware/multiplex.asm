; multiplex: twelve events on however many counters there are, rotated by the APIC timer, scaled by time.
;
; Expected totals of the workload itself. Per round:
;
;   phase    turns     per turn: instr  branches  near taken  calls  loads  stores  locked    once per call
;   alu      130,000             10     1         1           0      0      0       0         1 MOV
;   copy     350,000             6      1         1           0      2      2       0         2 LEA, 1 MOV
;   calls    140,000             5      3         3           1      1      1       0         1 MOV
;   locks    190,000             10     1         1           0      2      2       2         1 MOV
;   branchy  110,000             10     5         2           0      0      0       0         1 MOV
;
;   The last turn of each phase does not take its JNZ. A round adds 5 CALL, 5 RET, DEC, JNZ.
;   A CALL stores its return address and a RET loads it; a locked instruction is one load and one store.
;
;   instructions  1,300,001 + 2,100,003 + 700,001 + 1,900,001 + 1,100,001 + 12       =  7,100,019
;   branches      130,000 + 350,000 + 420,000 + 190,000 + 550,000 + 11               =  1,640,011
;   not taken     3 × 110,000 in branchy, 5 last turns                               =    330,005
;                 (and the last round's JNZ once)
;   near taken    branches - not taken                                               =  1,310,006
;   calls         140,000 + 5                                                        =    140,005
;   returns       the same                                                           =    140,005
;   loads         700,000 + 140,000 + 380,000 + 5                                    =  1,220,005
;   stores        the same                                                           =  1,220,005
;   locked loads  380,000
;
;   Five rounds, MOV before, CLI behind, the frame of 4: 35,500,101 instructions and 8,200,055 branches. What a counter should
;   have seen beyond that is the handler's: its part outside GLOBAL_CTRL = 0, with one far branch, IRETQ, per rotation.

%include "image.inc"
%include "registers.inc"
%include "runtime.inc"
%include "pmu.inc"

%ifndef PERIOD
%define PERIOD 3000000                  ; TSC ticks between rotations: 1 ms at 3 GHz
%endif
%ifndef ROUNDS
%define ROUNDS 5
%endif

TIMER_VECTOR equ 0x50

ALU_TURNS     equ 130000
COPY_TURNS    equ 350000
CALLS_TURNS   equ 140000
LOCKS_TURNS   equ 190000
BRANCHY_TURNS equ 110000

ROUND_INSTRUCTIONS equ 10*ALU_TURNS + 6*COPY_TURNS + 5*CALLS_TURNS + 10*LOCKS_TURNS + 10*BRANCHY_TURNS + 7 + 12
ROUND_BRANCHES     equ ALU_TURNS + COPY_TURNS + 3*CALLS_TURNS + LOCKS_TURNS + 5*BRANCHY_TURNS + 11
ROUND_NOT_TAKEN    equ 3*BRANCHY_TURNS + 5
ROUND_CALLS        equ CALLS_TURNS + 5
ROUND_LOADS        equ 2*COPY_TURNS + CALLS_TURNS + 2*LOCKS_TURNS + 5

; Encodings that mean the same on every Intel core since Skylake.
%macro EVENTS_TABLE 1
    %1 "instructions",     0x00c0, ROUNDS * ROUND_INSTRUCTIONS + 2 + COUNTED_FRAME
    %1 "branches",         0x00c4, ROUNDS * ROUND_BRANCHES
    %1 "near-calls",       0x02c4, ROUNDS * ROUND_CALLS
    %1 "near-returns",     0x08c4, ROUNDS * ROUND_CALLS
    %1 "not-taken",        0x10c4, ROUNDS * ROUND_NOT_TAKEN + 1
    %1 "near-taken",       0x20c4, ROUNDS * (ROUND_BRANCHES - ROUND_NOT_TAKEN) - 1
    %1 "far-branches",     0x40c4, 0
    %1 "loads",            0x81d0, ROUNDS * ROUND_LOADS
    %1 "stores",           0x82d0, ROUNDS * ROUND_LOADS
    %1 "locked-loads",     0x21d0, ROUNDS * 2 * LOCKS_TURNS
    %1 "cycles",           0x003c, -1   ; no number by hand
    %1 "ref-cycles",       0x013c, -1
%endmacro
EVENTS equ 12
NAME_SIZE equ 16

main:
    PRINT "counterpoint guest: multiplex", 10
    call find_pmu
    call enable_x2apic
    HANDLE TIMER_VECTOR, rotate
    call choose_slots

    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    WRITE_MSR IA32_PERF_GLOBAL_OVF_CTRL, [slot_mask]
    call schedule_in
    call start_timer
    call read_tsc
    mov [updated], rax
    sti
    COUNT_BEGIN workload_begin, [slot_mask]
    mov r15d, ROUNDS                    ; 1
.round:
    call alu
    call copy
    call calls
    call locks
    call branchy
    dec r15d
    jnz .round
    cli                                 ; 1     or a late interrupt would start the counters again
    COUNT_END workload_end
    call schedule_out
    call stop_timer
    call report
    ret

; Every counter up to EVENTS takes part.
choose_slots:
    mov ecx, [pmu_gp]
    cmp ecx, EVENTS
    jbe .enough
    mov ecx, EVENTS
.enough:
    mov [slots], ecx
    mov eax, 1
    shl eax, cl
    dec eax
    mov [slot_mask], eax
    ret

; RAX = the time-stamp counter.
read_tsc:
    rdtsc
    shl rdx, 32
    or rax, rdx
    ret

; The timer: TSC-deadline mode where CPUID.1:ECX[24] shows it, else periodic at the undivided APIC clock.
start_timer:
    push rbx
    mov eax, 1
    xor ecx, ecx
    cpuid
    shr ecx, 24
    and ecx, 1
    mov [tsc_deadline], ecx
    jz .periodic
    WRITE_MSR X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | TIMER_VECTOR
    call read_tsc
    mov [deadline], rax
    call next_deadline
    pop rbx
    ret
.periodic:
    WRITE_MSR X2APIC_TIMER_DIVIDE, 0x0b
    WRITE_MSR X2APIC_LVT_TIMER, LVT_PERIODIC | TIMER_VECTOR
    WRITE_MSR X2APIC_TIMER_INITIAL, PERIOD
    pop rbx
    ret

stop_timer:
    WRITE_MSR X2APIC_LVT_TIMER, LVT_MASKED | TIMER_VECTOR
    WRITE_MSR X2APIC_TIMER_INITIAL, 0
    ret

; The first deadline ahead of now on the grid of periods.
next_deadline:
    call read_tsc
    mov rcx, [deadline]
.ahead:
    add rcx, PERIOD
    cmp rcx, rax
    jbe .ahead
    mov [deadline], rcx
    mov eax, ecx
    shr rcx, 32
    mov edx, ecx
    mov ecx, IA32_TSC_DEADLINE
    wrmsr
    ret

; The timer's handler: take the events off, turn the list by one, put the first of it on.
rotate:
    push rax
    push rcx
    push rdx
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    push rbx
    push rsi
    push rdi
    push r8
    inc qword [rotations]
    call schedule_out
    mov eax, [first]
    inc eax
    cmp eax, EVENTS
    jb .turned
    xor eax, eax
.turned:
    mov [first], eax
    call schedule_in
    WRITE_MSR X2APIC_EOI, 0
    cmp dword [tsc_deadline], 0
    je .armed
    call next_deadline
.armed:
    pop r8
    pop rdi
    pop rsi
    pop rbx
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, [slot_mask]
    pop rdx
    pop rcx
    pop rax
rotate_end:
    iretq

; Stops each scheduled event, adds what its counter holds and the time it ran.
schedule_out:
    call read_tsc
    mov r8, rax
    sub r8, [updated]
    mov [updated], rax
    add [enabled], r8
    xor ebx, ebx                        ; slot = counter
    mov esi, [first]                    ; event
.next:
    lea rdi, [event_select]
    lea ecx, [rbx + IA32_PERFEVTSEL0]
    mov eax, [rdi + rsi * 4]
    xor edx, edx
    wrmsr
    mov ecx, ebx
    rdpmc
    shl rdx, 32
    or rax, rdx
    lea rdi, [event_count]
    add [rdi + rsi * 8], rax
    lea rdi, [event_running]
    add [rdi + rsi * 8], r8
    inc esi
    cmp esi, EVENTS
    jb .same_turn
    xor esi, esi
.same_turn:
    inc ebx
    cmp ebx, [slots]
    jb .next
    ret

; Gives the first events of the list a counter from 0 and starts them.
schedule_in:
    xor ebx, ebx
    mov esi, [first]
.next:
    mov ecx, [pmc_base]
    add ecx, ebx
    xor eax, eax
    xor edx, edx
    wrmsr
    lea rdi, [event_select]
    lea ecx, [rbx + IA32_PERFEVTSEL0]
    mov eax, [rdi + rsi * 4]
    or eax, EVTSEL_EN
    xor edx, edx
    wrmsr
    inc esi
    cmp esi, EVENTS
    jb .same_turn
    xor esi, esi
.same_turn:
    inc ebx
    cmp ebx, [slots]
    jb .next
    ret

; The phases.
alu:
    mov ecx, ALU_TURNS
.next:
    lea rax, [rax + rcx * 4 + 7]
    imul rax, rax, 0x41
    xor rax, rcx
    rol rax, 7
    add rdx, rax
    shr rax, 3
    sub rdx, rcx
    or rax, 1
    dec ecx
    jnz .next
    ret

copy:
    lea rsi, [source]
    lea rdi, [target]
    mov ecx, COPY_TURNS
.next:
    mov rax, [rsi]
    mov rdx, [rsi + 8]
    mov [rdi], rdx
    mov [rdi + 8], rax
    dec ecx
    jnz .next
    ret

calls:
    mov ecx, CALLS_TURNS
.next:
    call .leaf
    dec ecx
    jnz .next
    ret
.leaf:
    nop
    ret

locks:
    mov ecx, LOCKS_TURNS
.next:
    lock inc dword [source]
    lock xadd [target], rax
    add rax, rcx
    add rdx, rax
    xor rax, rdx
    add rax, rcx
    add rdx, rax
    xor rax, rdx
    dec ecx
    jnz .next
    ret

branchy:
    mov ecx, BRANCHY_TURNS
.next:
    test ecx, ecx
    jz .never
    test rsp, rsp
    jz .never
    test ecx, ecx
    js .never
    add rax, rcx
    jmp .end
.never:
    ud2
.end:
    dec ecx
    jnz .next
    ret

; What was counted, what it is scaled by time, what the workload by hand has.
report:
    mov eax, [slots]
    mov r12, rax
    READ "slots", r12
    READ "rotations", [rotations]
    READ "period", PERIOD
    READ "enabled", [enabled]
    xor ebx, ebx
.next:
    PRINT "raw "
    call print_name
    lea rdi, [event_count]
    mov rax, [rdi + rbx * 8]
    call print_decimal
    PRINT 10, "scaled "
    call print_name
    lea rdi, [event_running]
    mov rcx, [rdi + rbx * 8]
    add [running_sum], rcx
    test rcx, rcx
    jz .not_counted
    lea rdi, [event_count]
    mov rax, [rdi + rbx * 8]
    mul qword [enabled]
    div rcx
    call print_decimal
    jmp .scaled
.not_counted:
    inc qword [never_ran]
    PRINT "not-counted"
.scaled:
    PRINT " running "
    lea rdi, [event_running]
    mov rax, [rdi + rbx * 8]
    call print_decimal
    PRINT " enabled "
    mov rax, [enabled]
    call print_decimal
    lea rdi, [event_by_hand]
    mov rax, [rdi + rbx * 8]
    cmp rax, -1
    je .no_hand
    PRINT 10, "by-hand "
    call print_name
    lea rdi, [event_by_hand]
    mov rax, [rdi + rbx * 8]
    call print_decimal
.no_hand:
    PRINT 10
    inc ebx
    cmp ebx, EVENTS
    jb .next

    mov rax, [enabled]
    mul r12
    mov rbx, rax
    CHECK "the events ran for as long as the counters were given out", [running_sum], rbx
    CHECK "every event ran at some time", [never_ran], 0
    xor ebx, ebx
    cmp qword [rotations], 2
    adc ebx, 0                          ; 1 below two rotations
    CHECK "the timer turned the list", rbx, 0
    ret

; The name of event EBX and a blank.
print_name:
    mov eax, ebx
    shl eax, 4
    lea rsi, [event_name]
    add rsi, rax
    call print_text
    PRINT " "
    ret

%macro SELECT_ROW 3
    dd %2 | EVTSEL_USR | EVTSEL_OS
%endmacro
%macro BY_HAND_ROW 3
    dq %3
%endmacro
%macro NAME_ROW 3                       ; names are padded to NAME_SIZE
%%text:
    db %1, 0
    times NAME_SIZE - ($ - %%text) db 0
%endmacro

align 8
event_select:
    EVENTS_TABLE SELECT_ROW
event_by_hand:
    EVENTS_TABLE BY_HAND_ROW
event_name:
    EVENTS_TABLE NAME_ROW
align 16
source:
    dq 0x0123456789abcdef, 0xfedcba9876543210
target:
    dq 0, 0

    REGION_TABLE
    REGION "workload", workload_begin, workload_end
    REGION "rotate", rotate, rotate_end
    END_REGION_TABLE

    IMAGE_BSS
    RUNTIME_BSS
event_count:   resq EVENTS
event_running: resq EVENTS
enabled:       resq 1
updated:       resq 1                   ; TSC of the last update
deadline:      resq 1
rotations:     resq 1
running_sum:   resq 1
never_ran:     resq 1
first:         resd 1                   ; event at the head of the list
slots:         resd 1
slot_mask:     resd 1
tsc_deadline:  resd 1
    IMAGE_END
