; nested: a guest hypervisor whose own guest (L2, `g_…`) meets the PMU: counters in flight across VM entries and VM exits,
; GLOBAL_CTRL switched by controls and by lists, bitmaps of all kinds, overflows while L2 runs. Each line is one case:
;
;   name: reason r at RIP offset, n exits, counts of GP 0 (instructions), GP 1 (branches) and fixed counter 0
;   (instructions), GLOBAL_STATUS, and GLOBAL_CTRL as the last exit left it; `value` is what L2 had in EDX:EAX.
;
; What it prints is the same on a processor and under a hypervisor that virtualises VMX and the PMU.

%include "image.inc"
%include "registers.inc"
%include "runtime.inc"
%include "pmu.inc"
%include "vmx.inc"

PMI_VECTOR                equ 0x40
SLED                      equ 200
PERIOD                    equ 150
REASON_INTERRUPT          equ 1
REASON_VMCALL             equ 18
EXIT_LOAD_GLOBAL_CTRL     equ 1 << 12
EXIT_ACKNOWLEDGE          equ 1 << 15
EXIT_SAVE_GLOBAL_CTRL     equ 1 << 30
ENTRY_LOAD_GLOBAL_CTRL    equ 1 << 13
GUEST_GLOBAL_CTRL         equ 0x2808
HOST_GLOBAL_CTRL          equ 0x2c04

main:
    PRINT "counterpoint guest: nested", 10
    REQUIRE_VMX
    call find_pmu
    call enable_x2apic
    HANDLE PMI_VECTOR, pmi
    call enter_vmx_operation
    call whole_runs
    call switched
    call lists
    call failing_lists
    call rdpmcs
    call bitmaps
    call overflows
    call sleep
    vmxoff
    inc dword [tests]
    ret

pmi:
    push rax
    push rcx
    push rdx
    inc qword [pmis]
    WRITE_MSR X2APIC_EOI, 0
    pop rdx
    pop rcx
    pop rax
    iretq

; VMX operation, and a VMCS whose guest runs in this program's own address space.
enter_vmx_operation:
    ALLOW_VMXON
    mov ecx, IA32_VMX_BASIC
    call read_msr
    and eax, 0x7fffffff
    mov [vmxon_region], eax
    mov [vmcs_region], eax
    vmxon [pointer_vmxon]
    vmclear [pointer_vmcs]
    vmptrld [pointer_vmcs]
    xor ecx, ecx
.gate:
    mov rax, rcx
    shl rax, 4
    lea rdi, [g_idt + rax]
    lea rdx, [g_handlers]
    add rax, rdx
    INTERRUPT_GATE
    inc ecx
    cmp ecx, 256
    jb .gate
    lea rsi, [fields]
.field:
    mov rcx, [rsi]
    cmp rcx, -1
    je .registers
    mov rax, [rsi + 8]
    vmwrite rcx, rax
    add rsi, 16
    jmp .field
.registers:
    mov rax, cr0
    mov ecx, HOST_CR0
    vmwrite rcx, rax
    mov ecx, GUEST_CR0
    vmwrite rcx, rax
    mov rax, cr3
    mov ecx, HOST_CR3
    vmwrite rcx, rax
    mov ecx, GUEST_CR3
    vmwrite rcx, rax
    mov rax, cr4
    mov ecx, HOST_CR4
    vmwrite rcx, rax
    mov ecx, GUEST_CR4
    vmwrite rcx, rax
    mov ecx, IA32_VMX_TRUE_EXIT_CTLS
    rdmsr
    mov [exit_may], edx
    or eax, HOST_64_BIT
    mov [exit_least], eax
    mov ecx, IA32_VMX_TRUE_ENTRY_CTLS
    rdmsr
    or eax, GUEST_IA32E
    mov [entry_least], eax
    mov ecx, IA32_VMX_TRUE_PINBASED_CTLS
    rdmsr
    mov [pin_least], eax
    mov ecx, IA32_VMX_TRUE_PROCBASED_CTLS
    rdmsr
    mov [primary_least], eax
    ret


; The least controls, no lists, L2 at RAX with registers of zero; the counters at 0 and stopped.
fresh:
    mov ecx, GUEST_RIP
    vmwrite rcx, rax
    mov eax, [pin_least]
    mov ecx, PIN_CONTROLS
    vmwrite rcx, rax
    mov eax, [primary_least]
    or eax, MSR_BITMAPS
    mov ecx, PRIMARY_CONTROLS
    vmwrite rcx, rax
    mov eax, [exit_least]
    mov ecx, EXIT_CONTROLS
    vmwrite rcx, rax
    mov eax, [entry_least]
    mov ecx, ENTRY_CONTROLS
    vmwrite rcx, rax
    WRITE EXCEPTION_BITMAP, 1 << 13
    WRITE ENTRY_MSR_LOAD_COUNT, 0
    WRITE EXIT_MSR_STORE_COUNT, 0
    WRITE EXIT_MSR_LOAD_COUNT, 0
    WRITE GUEST_RSP, g_stack_top
    WRITE GUEST_RFLAGS, 2
    WRITE GUEST_INTERRUPTIBILITY, 0
    lea rdi, [msr_bitmap]
    xor eax, eax
    mov ecx, 512
    rep stosq
    lea rdi, [registers]
    mov ecx, 4
    rep stosq
    mov qword [exits], 0
    mov qword [pmis], 0
    jmp program_instructions_and_branches

%macro FRESH 1                          ; where L2 starts
    lea rax, [%1]
    call fresh
%endmacro
%macro OR_FIELD 2                       ; field, bits
    mov ecx, %1
    vmread rax, rcx
    mov edx, %2
    or rax, rdx
    vmwrite rcx, rax
%endmacro

; VM entry. EAX = exit reason.
enter:
    push rbx
    push rbp
    mov ecx, HOST_RSP
    vmwrite rcx, rsp
    mov rax, [registers]
    mov rcx, [registers + 8]
    mov rdx, [registers + 16]
    mov rbx, [registers + 24]
    cmp byte [launched], 0
    jne .resume
    vmlaunch
    jmp .failed
.resume:
    vmresume
.failed:
    VMREAD_RAX INSTRUCTION_ERROR
    push rax
    PRINT "ABORT: VM entry fails with "
    pop rax
    call print_decimal
    PRINT 10
    mov eax, EXIT_ABORT
    jmp exit
exited:
    mov [registers], rax
    mov [registers + 8], rcx
    mov [registers + 16], rdx
    mov [registers + 24], rbx
    inc qword [exits]
    VMREAD_RAX EXIT_REASON
    bt eax, 31
    jc .end
    mov byte [launched], 1
.end:
    pop rbp
    pop rbx
    ret

; Runs L2 until it leaves for another reason than an instruction that L1 passes over: CPUID.
run:
    call enter
    cmp eax, 10
    jne .end
    mov dword [registers], 7
    VMREAD_RAX EXIT_LENGTH
    mov ecx, GUEST_RIP
    vmread rdx, rcx
    add rax, rdx
    vmwrite rcx, rax
    jmp run
.end:
    ret

; The same with all three counters on from here to its end. RBX = what is shown of GLOBAL_CTRL.
counted_run:
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, INSTRUCTIONS_AND_BRANCHES
    call run
stop:
    mov ecx, IA32_PERF_GLOBAL_CTRL
    call read_msr
    mov [global_ctrl], rax
    WRITE_MSR IA32_PERF_GLOBAL_CTRL, 0
    ret

; RSI = name of the case: the rest of its line.
report:
    call print_text
    PRINT ": reason "
    VMREAD_RAX EXIT_REASON
    call print_hex
    VMREAD_RAX EXIT_REASON
    bt eax, 31
    jc .failed
    PRINT " at "
    VMREAD_RAX GUEST_RIP
    lea rcx, [g_begin]
    sub rax, rcx
    call print_decimal
    jmp .counts
.failed:
    PRINT " qualification "
    VMREAD_RAX EXIT_QUALIFICATION
    call print_decimal
.counts:
    PRINT ", exits "
    mov rax, [exits]
    call print_decimal
    PRINT ", counts "
    xor ecx, ecx
    call read_pmc
    call print_decimal
    PRINT " "
    mov ecx, 1
    call read_pmc
    call print_decimal
    PRINT " "
    mov ecx, RDPMC_FIXED
    call read_pmc
    call print_decimal
    PRINT ", status "
    mov ecx, IA32_PERF_GLOBAL_STATUS
    call read_msr
    call print_hex
    PRINT " ctrl "
    mov rax, [global_ctrl]
    call print_hex
    PRINT " value "
    mov rax, [registers + 16]
    shl rax, 32
    mov ecx, [registers]
    or rax, rcx
    call print_hex
    PRINT 10
    ret

%macro REPORT 1+
    lea rsi, [%%text]
    call report
    jmp %%over
%%text:
    db %1, 0
%%over:
%endmacro

; Counters that L1 has turned on go on counting in L2, and the other way round.
whole_runs:
    FRESH g_end
    call counted_run
    REPORT "an entry and an exit"
    FRESH g_loop
    call counted_run
    REPORT "100 turns of a loop"
    FRESH g_cpuids
    call counted_run
    REPORT "5 exits of CPUID"
    FRESH g_msrs
    call counted_run
    REPORT "L2 stops and starts the counters"
    FRESH g_selector
    call counted_run
    REPORT "L2 selects branches for GP 0"
    FRESH g_port
    call counted_run
    REPORT "a port that does not exit"
    FRESH g_ud
    call counted_run
    REPORT "#UD to L2"
    FRESH g_loop
    OR_FIELD PRIMARY_CONTROLS, MONITOR_TRAP
    call counted_run
    REPORT "monitor trap"
    ret

; GLOBAL_CTRL switched by the controls: L1 counts nothing, L2 everything.
switched:
    FRESH g_loop
    OR_FIELD ENTRY_CONTROLS, ENTRY_LOAD_GLOBAL_CTRL
    OR_FIELD EXIT_CONTROLS, EXIT_LOAD_GLOBAL_CTRL
    WRITE GUEST_GLOBAL_CTRL, 3
    WRITE HOST_GLOBAL_CTRL, 0
    call run
    call stop
    REPORT "loaded by the entry, cleared by the exit"
    FRESH g_cpuids
    OR_FIELD ENTRY_CONTROLS, ENTRY_LOAD_GLOBAL_CTRL
    OR_FIELD EXIT_CONTROLS, EXIT_LOAD_GLOBAL_CTRL
    call run
    call stop
    REPORT "the same over 6 entries"
    FRESH g_loop
    OR_FIELD ENTRY_CONTROLS, ENTRY_LOAD_GLOBAL_CTRL
    OR_FIELD EXIT_CONTROLS, EXIT_LOAD_GLOBAL_CTRL
    WRITE GUEST_GLOBAL_CTRL, 0
    WRITE HOST_GLOBAL_CTRL, 2
    call counted_run
    REPORT "L2 not counted, GP 1 on after it"
    FRESH g_loop
    OR_FIELD ENTRY_CONTROLS, ENTRY_LOAD_GLOBAL_CTRL
    WRITE GUEST_GLOBAL_CTRL, 1
    call run
    call stop
    REPORT "loaded by the entry, left by the exit"
    test dword [exit_may], EXIT_SAVE_GLOBAL_CTRL
    jz .end
    FRESH g_msrs
    OR_FIELD ENTRY_CONTROLS, ENTRY_LOAD_GLOBAL_CTRL
    OR_FIELD EXIT_CONTROLS, EXIT_LOAD_GLOBAL_CTRL | EXIT_SAVE_GLOBAL_CTRL
    WRITE GUEST_GLOBAL_CTRL, 1
    WRITE HOST_GLOBAL_CTRL, 0
    call run
    call stop
    REPORT "saved by the exit"
    VMREAD_RAX GUEST_GLOBAL_CTRL
    READ "saved", rax
.end:
    FRESH g_loop
    OR_FIELD ENTRY_CONTROLS, ENTRY_LOAD_GLOBAL_CTRL
    mov rax, 1 << 60
    mov ecx, GUEST_GLOBAL_CTRL
    vmwrite rcx, rax
    call counted_run
    REPORT "a reserved bit of GLOBAL_CTRL"
    ret

%macro ENTRY_OF 3                       ; address in the list, MSR, value
    mov qword [%1], %2
    mov qword [%1 + 8], %3
%endmacro

; The same by lists of MSRs.
lists:
    FRESH g_loop
    ENTRY_OF entry_list, IA32_PERF_GLOBAL_CTRL, 3
    ENTRY_OF entry_list + 16, IA32_PMC0 + 1, 1000
    ENTRY_OF load_list, IA32_PERF_GLOBAL_CTRL, 0
    ENTRY_OF store_list, IA32_PMC0, 0
    ENTRY_OF store_list + 16, IA32_PERF_GLOBAL_CTRL, 0
    ENTRY_OF store_list + 32, IA32_PERFEVTSEL0, 0
    WRITE ENTRY_MSR_LOAD_COUNT, 2
    WRITE EXIT_MSR_LOAD_COUNT, 1
    WRITE EXIT_MSR_STORE_COUNT, 3
    call run
    call stop
    REPORT "loaded and cleared by lists"
    READ "stored GP 0", [store_list + 8]
    READ "stored GLOBAL_CTRL", [store_list + 24]
    READ "stored PERFEVTSEL0", [store_list + 40]
    FRESH g_loop
    ENTRY_OF entry_list, IA32_PERF_GLOBAL_CTRL, 0
    WRITE ENTRY_MSR_LOAD_COUNT, 1
    WRITE EXIT_MSR_LOAD_COUNT, 0
    WRITE EXIT_MSR_STORE_COUNT, 0
    call counted_run
    REPORT "stopped by the entry list"
    ret

%macro FAILING 4                        ; what, MSR with its reserved half, low half of the value, high half
    FRESH g_loop
    ENTRY_OF entry_list, IA32_PERF_GLOBAL_CTRL, 0
    mov rax, %2
    mov [entry_list + 16], rax
    mov dword [entry_list + 24], %3
    mov dword [entry_list + 28], %4
    WRITE ENTRY_MSR_LOAD_COUNT, 2
    call counted_run
    REPORT %1
%endmacro

; Lists whose second entry fails: the first has been loaded.
failing_lists:
    FAILING "an entry list with FS_BASE", 0xc0000100, 0, 0
    FAILING "with an x2APIC register", 0x808, 0, 0
    FAILING "with a reserved half", IA32_PMC0 + (1 << 32), 0, 0
    FAILING "with a reserved bit of GLOBAL_CTRL", IA32_PERF_GLOBAL_CTRL, 0, 1 << 29
    FAILING "with a reserved bit of PERFEVTSEL0", IA32_PERFEVTSEL0, 0, 1
    FAILING "with no register", 0x1ffe, 0, 0
    FAILING "with a SYSENTER_EIP that is not canonical", 0x176, 0, 0x8000
    ret

rdpmcs:
    FRESH g_rdpmc
    call counted_run
    REPORT "RDPMC"
    FRESH g_rdpmc
    OR_FIELD PRIMARY_CONTROLS, RDPMC_EXITING
    call counted_run
    REPORT "RDPMC with exiting"
    FRESH g_rdpmc
    mov dword [registers + 8], 0x3f
    call counted_run
    REPORT "RDPMC of no counter"
    FRESH g_rdpmc
    mov dword [registers + 8], 0x3f
    WRITE EXCEPTION_BITMAP, 0
    call counted_run
    REPORT "#GP of it to L2"
    ret

; Each register read and written under no bitmap, an open one, one that intercepts its reads, one its writes: the exit
; reasons of the eight, in decimal, 0 being #GP.
bitmaps:
    push rbx
    push r12
    push r13
    lea rbx, [bitmap_msrs]
.register:
    PRINT "msr "
    mov eax, [rbx]
    call print_hex
    xor r12d, r12d
.mode:
    xor r13d, r13d
.access:
    lea rax, [g_rdmsr]
    lea rcx, [g_wrmsr]
    test r13d, r13d
    cmovnz rax, rcx
    call fresh
    mov eax, [rbx]
    mov [registers + 8], eax
    test r12d, r12d
    jnz .bitmap
    mov ecx, PRIMARY_CONTROLS
    vmread rax, rcx
    btr eax, 28
    vmwrite rcx, rax
.bitmap:
    cmp r12d, 2
    jb .go
    mov eax, [rbx]
    mov ecx, eax
    and ecx, 0x1fff
    cmp eax, 0x2000
    jae .go
    cmp r12d, 3
    jne .set
    add ecx, 0x800 * 8
.set:
    bts [msr_bitmap], rcx
.go:
    call run
    call stop
    PRINT " "
    VMREAD_RAX EXIT_REASON
    call print_decimal
    inc r13d
    cmp r13d, 2
    jb .access
    inc r12d
    cmp r12d, 4
    jb .mode
    PRINT 10
    add rbx, 4
    cmp dword [rbx], -1
    jne .register
    pop r13
    pop r12
    pop rbx
    ret

%macro OVERFLOW 1                       ; LVTPC
    FRESH g_sled
    WRITE_MSR IA32_PERFEVTSEL0, INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_INT | EVTSEL_EN
    WRITE_MSR IA32_PMC0, -PERIOD
    WRITE_MSR X2APIC_LVT_PMI, %1
%endmacro

; GP 0 overflows while L2 is in its sled.
overflows:
    OVERFLOW LVT_NMI
    OR_FIELD PIN_CONTROLS, PIN_NMI
    call counted_run
    REPORT "overflow, an NMI that exits"
    call unblock
    OVERFLOW LVT_NMI
    OR_FIELD PIN_CONTROLS, PIN_NMI | PIN_VIRTUAL_NMIS
    call counted_run
    REPORT "the same with virtual NMIs"
    call unblock
    OVERFLOW LVT_NMI
    call counted_run
    REPORT "an NMI to L2"
    call unblock
    OVERFLOW PMI_VECTOR
    OR_FIELD PIN_CONTROLS, PIN_EXTERNAL
    call counted_run
    REPORT "an interrupt that exits"
    sti
    nop
    cli
    READ "then to L1", [pmis]
    OVERFLOW PMI_VECTOR
    OR_FIELD PIN_CONTROLS, PIN_EXTERNAL
    OR_FIELD EXIT_CONTROLS, EXIT_ACKNOWLEDGE
    call counted_run
    REPORT "acknowledged by the exit"
    VMREAD_RAX EXIT_INTERRUPTION
    READ "interruption", rax
    WRITE_MSR X2APIC_EOI, 0
    sti
    nop
    cli
    READ "then to L1", [pmis]
    OVERFLOW PMI_VECTOR
    WRITE GUEST_RFLAGS, 0x202
    call counted_run
    REPORT "an interrupt to L2"
    WRITE_MSR X2APIC_EOI, 0
    OVERFLOW PMI_VECTOR
    call counted_run
    REPORT "an interrupt that L2 holds back"
    sti
    nop
    cli
    READ "then to L1", [pmis]
    OVERFLOW PMI_VECTOR
    OR_FIELD PRIMARY_CONTROLS, INTERRUPT_WINDOW
    WRITE GUEST_RIP, g_sti_sled
    call counted_run
    REPORT "the interrupt window before it"
    OVERFLOW LVT_MASKED | PMI_VECTOR
    OR_FIELD PIN_CONTROLS, PIN_EXTERNAL | PIN_NMI
    call counted_run
    REPORT "a masked one"
    ret

%macro TIMER 0                          ; an interrupt some time after L2 has gone to sleep
    WRITE_MSR X2APIC_TIMER_DIVIDE, 3    ; 16
    WRITE_MSR X2APIC_LVT_TIMER, PMI_VECTOR
    WRITE_MSR X2APIC_TIMER_INITIAL, 100000
%endmacro

; HLT that does not exit, and an entry into HLT: what ends them.
sleep:
    WRITE_MSR X2APIC_LVT_PMI, LVT_MASKED
    FRESH g_hlt
    OR_FIELD PIN_CONTROLS, PIN_EXTERNAL
    TIMER
    call counted_run
    REPORT "HLT until an interrupt that exits"
    VMREAD_RAX GUEST_ACTIVITY
    READ "activity", rax
    sti
    nop
    cli
    READ "then to L1", [pmis]
    FRESH g_hlt
    WRITE GUEST_RFLAGS, 0x202
    TIMER
    call counted_run
    REPORT "HLT until an interrupt to L2"
    WRITE_MSR X2APIC_EOI, 0
    FRESH g_hlt
    OR_FIELD PIN_CONTROLS, PIN_EXTERNAL
    WRITE GUEST_ACTIVITY, 1
    TIMER
    call counted_run
    REPORT "asleep from the entry on"
    VMREAD_RAX GUEST_ACTIVITY
    READ "activity", rax
    sti
    nop
    cli
    FRESH g_hlt
    WRITE GUEST_ACTIVITY, 0
    OR_FIELD PRIMARY_CONTROLS, HLT_EXITING
    call counted_run
    REPORT "HLT that exits"
    ret

; NMIs are blocked behind an exit by one, and behind one that L2 took.
unblock:
    END_NMI_BLOCKING
    ret

; L2.
align 16
g_begin:
g_handlers:                             ; of vector v at 16 v
%rep 256
    vmcall
    times 13 nop
%endrep
g_end:
    vmcall
g_loop:
    mov ecx, 100
.next:
    dec ecx
    jnz .next
    vmcall
g_cpuids:
    mov ebx, 5
.next:
    cpuid
    dec ebx
    jnz .next
    vmcall
g_msrs:
    mov ecx, IA32_PERF_GLOBAL_CTRL
    xor eax, eax
    xor edx, edx
    wrmsr
    times 20 nop
    mov eax, 2
    wrmsr
    times 10 nop
    rdmsr
    vmcall
g_selector:
    mov ecx, IA32_PERFEVTSEL0
    mov eax, BR_INST_RETIRED | EVTSEL_USR | EVTSEL_OS | EVTSEL_EN
    xor edx, edx
    wrmsr
    mov ebx, 10
.next:
    dec ebx
    jnz .next
    rdmsr
    vmcall
g_port:
    mov edx, 0x2f8
    in al, dx
    xor edx, edx
    xor eax, eax
    vmcall
g_ud:
    nop
    ud2
g_rdpmc:
    nop
    rdpmc
    vmcall
g_rdmsr:
    rdmsr
    vmcall
g_wrmsr:
    wrmsr
    vmcall
g_hlt:
    nop
    hlt
    nop
    vmcall
g_sti_sled:
    sti
g_sled:
    times SLED nop
    vmcall

bitmap_msrs: dd IA32_PMC0, IA32_PERFEVTSEL0, IA32_FIXED_CTR0, IA32_FIXED_CTR_CTRL, IA32_PERF_GLOBAL_CTRL
             dd IA32_PERF_GLOBAL_OVF_CTRL, IA32_A_PMC0, 0x174, 0x1ffe, 0x40000000, -1

align 8
fields:
    dq VMCS_LINK_POINTER, -1
    dq MSR_BITMAP, msr_bitmap
    dq EXIT_MSR_STORE_ADDRESS, store_list
    dq EXIT_MSR_LOAD_ADDRESS, load_list
    dq ENTRY_MSR_LOAD_ADDRESS, entry_list
    dq ENTRY_INTERRUPTION, 0
    dq PF_MASK, 0
    dq PF_MATCH, 0
    dq CR3_TARGET_COUNT, 0
    dq CR0_MASK, 0
    dq CR4_MASK, 0
    dq HOST_CS_SELECTOR, CODE_SELECTOR
    dq HOST_TR_SELECTOR, 0x18
    dq HOST_SS_SELECTOR, DATA_SELECTOR
    dq HOST_TR_BASE, tss
    dq HOST_GDTR_BASE, gdt
    dq HOST_IDTR_BASE, idt
    dq HOST_RIP, exited
    dq GUEST_CS_SELECTOR, CODE_SELECTOR
    dq GUEST_SS_SELECTOR, DATA_SELECTOR
    dq GUEST_DS_SELECTOR, DATA_SELECTOR
    dq GUEST_TR_SELECTOR, 0x18
    dq GUEST_ES_LIMIT, 0xffffffff
    dq GUEST_CS_LIMIT, 0xffffffff
    dq GUEST_SS_LIMIT, 0xffffffff
    dq 0x4806, 0xffffffff               ; DS, FS, GS limits
    dq 0x4808, 0xffffffff
    dq 0x480a, 0xffffffff
    dq GUEST_TR_LIMIT, 0x67
    dq GUEST_ES_RIGHTS, 0xc093
    dq GUEST_CS_RIGHTS, 0xa09b
    dq GUEST_SS_RIGHTS, 0xc093
    dq GUEST_DS_RIGHTS, 0xc093
    dq GUEST_FS_RIGHTS, 0xc093
    dq GUEST_GS_RIGHTS, 0xc093
    dq GUEST_LDTR_RIGHTS, 0x10000
    dq GUEST_TR_RIGHTS, 0x8b
    dq GUEST_TR_BASE, tss
    dq GUEST_GDTR_BASE, gdt
    dq GUEST_GDTR_LIMIT, 0x17
    dq GUEST_IDTR_BASE, g_idt
    dq GUEST_IDTR_LIMIT, 0xfff
    dq GUEST_ACTIVITY, 0
    dq GUEST_PENDING_DEBUG, 0
    dq GUEST_DR7, 0x400
    dq -1

pointer_vmxon:  dq vmxon_region
pointer_vmcs:   dq vmcs_region

    REGION_TABLE
    END_REGION_TABLE

    IMAGE_BSS
    RUNTIME_BSS
    resb 4096 - (($ - elf_header) & 0xfff)     ; to a page boundary
vmxon_region:   resb 4096
vmcs_region:    resb 4096
msr_bitmap:     resb 4096
g_idt:          resb 4096
tss:            resb 4096
entry_list:     resb 64
load_list:      resb 64
store_list:     resb 64
                resb 4096
g_stack_top:    resb 64
registers:      resq 4
exits:          resq 1
pmis:           resq 1
global_ctrl:    resq 1
pin_least:      resd 1
primary_least:  resd 1
exit_least:     resd 1
exit_may:       resd 1
entry_least:    resd 1
launched:       resb 8
    IMAGE_END
