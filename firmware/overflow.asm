; overflow: a counter preset to -n, its interrupt through LVTPC, a handler that counts, clears, unmasks and re-arms.
;
; Expected totals.
;
;   region     what happens                                                     PMIs
;   period     100,000 turns of DEC, JNZ; GP 0 counts branches from -1,000. The handler stops counting before its first
;              branch and restarts before IRETQ, which is counted: the first period is 1,000 turns, each further one 999.
;              1 + floor((100,000 - 1,000) / 999)                               = 100
;              turns left: 100,000 - 1,000 - 99 × 999 = 99, and one IRETQ: the counter ends 900 short of wrapping.
;   exact      GP 0 counts instructions from -100. The enabling WRMSR is the first, then 99 NOPs of one byte; the
;              interrupt comes before the NOP at offset 99.                       1
;   nmi        the same through LVTPC in NMI mode                                 1
;   fixed      the same by fixed counter 0 with its PMI bit                       1
;   silent     the same without INT: status bit, no interrupt                     0
;   masked     the same with LVTPC masked: status bit, no interrupt, none when unmasked   0
;   together   GP 0 and GP 1 both from -100 instructions: two status bits         1

%include "image.inc"
%include "registers.inc"
%include "runtime.inc"
%include "pmu.inc"

PMI_VECTOR equ 0x40
TURNS equ 100000
PERIOD equ 1000
SLED equ 200
SLED_PERIOD equ 100

main:
    PRINT "counterpoint guest: overflow", 10
    call find_pmu
    call enable_x2apic
    HANDLE PMI_VECTOR, pmi_rearm
    call periods

    HANDLE PMI_VECTOR, pmi_once
    HANDLE 2, nmi_once
    call exact
    call by_nmi
    call fixed
    call silent
    call masked
    call together
    ret

; Handler of `period`: counts, clears, re-arms, unmasks, restarts. No branch before the stop.
pmi_rearm:
    push rax
    push rcx
    push rdx
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    inc qword [pmis]
    mov ecx, X2APIC_LVT_PMI
    rdmsr
    and eax, LVT_MASKED
    cmp eax, 1                          ; CF if the mask was found clear
    adc qword [unmasked_at_delivery], 0
    mov ecx, IA32_PERF_GLOBAL_STATUS
    call read_msr
    or [status_seen], rax
    WRITE_MSR IA32_PERF_GLOBAL_OVF_CTRL, 1
    WRITE_MSR IA32_PMC0, -PERIOD
    WRITE_MSR X2APIC_LVT_PMI, PMI_VECTOR
    WRITE_MSR X2APIC_EOI, 0
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 1
    pop rdx
    pop rcx
    pop rax
    iretq

; Handlers of the sled: stop, remember where and what.
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
    mov ecx, X2APIC_LVT_PMI
    call read_msr
    mov [lvtpc_seen], rax
    WRITE_MSR X2APIC_EOI, 0
    pop rdx
    pop rcx
    pop rax
    iretq

nmi_once:
    push rax
    push rcx
    push rdx
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    mov rax, [rsp + 24]
    mov [interrupted], rax
    inc qword [nmis]
    pop rdx
    pop rcx
    pop rax
    iretq

; Counters, status and what the handlers saw, cleared; LVTPC = EAX.
prepare:
    push rax
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    WRITE_MSR IA32_PERFEVTSEL0, 0
    WRITE_MSR IA32_PERFEVTSEL0 + 1, 0
    WRITE_MSR IA32_FIXED_CTR_CTRL, 0
    WRITE_MSR IA32_PERF_GLOBAL_OVF_CTRL, 3, 1
    pop rax
    mov ecx, X2APIC_LVT_PMI
    xor edx, edx
    wrmsr
    mov qword [pmis], 0
    mov qword [nmis], 0
    mov qword [status_seen], 0
    mov qword [lvtpc_seen], 0
    mov qword [interrupted], 0
    mov qword [unmasked_at_delivery], 0
    ret

periods:
    mov eax, PMI_VECTOR
    call prepare
    WRITE_MSR IA32_PERFEVTSEL0, BR_INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_INT | EVTSEL_EN
    WRITE_MSR IA32_PMC0, -PERIOD
    mov ebx, TURNS
    sti
    COUNT_BEGIN period_begin, 1
.next:
    dec ebx
    jnz .next
    COUNT_END period_end
    cli
    xor ecx, ecx
    call read_pmc
    mov r12, rax
    READ "pmis", [pmis]
    CHECK "100,000 branches, 1,000 a period: 100 interrupts", [pmis], 1 + (TURNS - PERIOD) / (PERIOD - 1)
    CHECK "each found the overflow bit of GP 0", [status_seen], 1
    CHECK "each found LVTPC masked by its own delivery", [unmasked_at_delivery], 0
    neg r12
    and r12, [pmu_value_mask]
    CHECK "and the counter ends 900 branches short of the next", r12, 900
    ret

; Runs the sled with GLOBAL_CTRL = EDX:EAX, interrupts on. The PMI handler stops the counters.
run_sled:
    sti
    mov ecx, IA32_PERF_GLOBAL_CTRL
sled_begin:
    wrmsr
sled:
    times SLED nop
    COUNT_END sled_end
    cli
    ret

%macro CHECK_EXACT_PLACE 0
    mov rbx, [interrupted]
    lea rax, [sled + SLED_PERIOD - 1]
    sub rbx, rax
    READ "skid", rbx
    CHECK "before the instruction after the hundredth", rbx, 0
%endmacro

program_sled_counter:
    WRITE_MSR IA32_PERFEVTSEL0, INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_INT | EVTSEL_EN
    WRITE_MSR IA32_PMC0, -SLED_PERIOD
    ret

exact:
    mov eax, PMI_VECTOR
    call prepare
    call program_sled_counter
    mov eax, 1
    mov edx, 0
    call run_sled
    CHECK "fixed delivery: one interrupt", [pmis], 1
    CHECK_EXACT_PLACE
    CHECK "LVTPC is masked in the handler", [lvtpc_seen], LVT_MASKED | PMI_VECTOR
    xor ecx, ecx
    call read_pmc
    CHECK "the counter went on to 6 in the handler before it stopped", rax, 6
    ret

by_nmi:
    mov eax, LVT_NMI
    call prepare
    call program_sled_counter
    mov eax, 1
    mov edx, 0
    call run_sled
    CHECK "NMI delivery: one NMI", [nmis], 1
    CHECK "and no interrupt", [pmis], 0
    CHECK_EXACT_PLACE
    mov ecx, X2APIC_LVT_PMI
    call read_msr
    CHECK "LVTPC is masked after it", rax, LVT_MASKED | LVT_NMI
    ret

fixed:
    mov eax, PMI_VECTOR
    call prepare
    WRITE_MSR IA32_FIXED_CTR_CTRL, FIXED_USR | FIXED_OS | FIXED_PMI
    mov rax, -SLED_PERIOD
    and rax, [pmu_value_mask]
    mov rdx, rax
    shr rdx, 32
    mov ecx, IA32_FIXED_CTR0
    wrmsr
    mov eax, 0
    mov edx, 1
    call run_sled
    CHECK "fixed counter 0: one interrupt", [pmis], 1
    mov rbx, 1 << 32
    CHECK "with status bit 32", [status_seen], rbx
    CHECK_EXACT_PLACE
    ret

silent:
    mov eax, PMI_VECTOR
    call prepare
    call program_sled_counter
    WRITE_MSR IA32_PERFEVTSEL0, INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_EN
    mov eax, 1
    mov edx, 0
    call run_sled
    CHECK "without INT an overflow does not interrupt", [pmis], 0
    mov ecx, IA32_PERF_GLOBAL_STATUS
    call read_msr
    CHECK "but sets its status bit", rax, 1
    xor ecx, ecx
    call read_pmc
    CHECK "and the counter goes on: 200 NOPs and the frame, less 100", rax, SLED + COUNTED_FRAME - SLED_PERIOD
    ret

masked:
    mov eax, PMI_VECTOR | LVT_MASKED
    call prepare
    call program_sled_counter
    mov eax, 1
    mov edx, 0
    call run_sled
    CHECK "a masked LVTPC delivers nothing", [pmis], 0
    mov ecx, IA32_PERF_GLOBAL_STATUS
    call read_msr
    CHECK "the status bit is set all the same", rax, 1
    WRITE_MSR X2APIC_LVT_PMI, PMI_VECTOR
    sti
    nop
    nop
    cli
    CHECK "and unmasking replays nothing", [pmis], 0
    ret

together:
    mov eax, PMI_VECTOR
    call prepare
    call program_sled_counter
    WRITE_MSR IA32_PERFEVTSEL0 + 1, INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_INT | EVTSEL_EN
    WRITE_MSR IA32_PMC0 + 1, -SLED_PERIOD
    mov eax, 3
    mov edx, 0
    call run_sled
    CHECK "two counters overflow together: one interrupt", [pmis], 1
    CHECK "two status bits", [status_seen], 3
    CHECK_EXACT_PLACE
    WRITE_MSR IA32_PERF_GLOBAL_OVF_CTRL, 1
    mov ecx, IA32_PERF_GLOBAL_STATUS
    call read_msr
    CHECK "and each is cleared by itself", rax, 2
    ret

    REGION_TABLE
    REGION "period", period_begin, period_end
    REGION "sled", sled_begin, sled_end
    END_REGION_TABLE

    IMAGE_BSS
    RUNTIME_BSS
pmis:                 resq 1
nmis:                 resq 1
status_seen:          resq 1
lvtpc_seen:           resq 1
interrupted:          resq 1
unmasked_at_delivery: resq 1
    IMAGE_END
