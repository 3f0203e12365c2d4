; hypervisor: a guest that is itself a hypervisor. It tries one VM entry after the other, each differing a little from
; one that works, and prints what the VMCS says afterwards; then some hundreds of entries with random bits flipped.
; Its output is compared with that of another VMX implementation (test/judges/vmx). The nested guest's instructions
; stand under `g_…`; each ends in VMCALL.

%define WAIT_FOR_TRANSMITTER
%include "image.inc"
%include "registers.inc"
%include "runtime.inc"
%include "vmx.inc"

RANDOM_CASES equ 1500

main:
    PRINT "counterpoint guest: hypervisor", 10
    REQUIRE_VMX
    ; No interrupts from the PIC.
    mov al, 0xff
    out 0x21, al
    out 0xa1, al

    ALLOW_VMXON
    mov [host_cr0], rax
    mov rax, cr4
    mov [host_cr4], rax

    mov ecx, IA32_VMX_BASIC
    call read_msr
    and eax, 0x7fffffff
    mov [vmxon_region], eax
    mov [vmcs_region], eax
    mov [other_region], eax
    call instruction_failures
    call guest_tables
    call cases
    call random_cases
    vmxoff
    PRINT "done", 10
    ret

; The VMX instructions that fail without a VM entry.
instruction_failures:
    vmxon [pointer_bad]
    setc al
    movzx eax, al
    CHECK "VMXON of an unaligned region is VMfailInvalid", rax, 1
    vmxon [pointer_vmxon]
    setbe al
    movzx eax, al
    CHECK "VMXON succeeds", rax, 0
    vmptrst [pointer]
    CHECK "VMPTRST without a current VMCS stores all ones", [pointer], -1
    mov eax, GUEST_RIP
    vmread rax, rax
    setc al
    movzx eax, al
    CHECK "VMREAD without a current VMCS is VMfailInvalid", rax, 1
    vmclear [pointer_vmcs]
    vmptrld [pointer_vmcs]
    vmptrst [pointer]
    CHECK "VMPTRST stores the current VMCS", [pointer], vmcs_region
%macro FAILS 3+                         ; what, error number, instruction
    %3
    setz al
    movzx eax, al
    CHECK %1, rax, 1
    VMREAD_RAX INSTRUCTION_ERROR
    mov [pointer], rax
    CHECK "its error number", [pointer], %2
%endmacro
    FAILS "VMCLEAR of an unaligned pointer", 2, vmclear [pointer_bad]
    FAILS "VMCLEAR of the VMXON pointer", 3, vmclear [pointer_vmxon]
    FAILS "VMRESUME of a clear VMCS", 5, vmresume
    FAILS "VMPTRLD of an unaligned pointer", 9, vmptrld [pointer_bad]
    FAILS "VMPTRLD of the VMXON pointer", 10, vmptrld [pointer_vmxon]
    FAILS "VMPTRLD of a wrong revision", 11, vmptrld [pointer_wrong]
    mov eax, 0x0ffe
    FAILS "VMREAD of no field", 12, vmread rax, rax
    mov eax, 0x0ffe
    FAILS "VMWRITE of no field", 12, vmwrite rax, rax
    FAILS "VMXON in root operation", 15, vmxon [pointer_vmxon]
    mov ecx, IA32_VMX_PROCBASED_CTLS2
    rdmsr
    mov r13d, edx                       ; controls that may be 1
    test r13d, ENABLE_EPT
    jz .no_ept
    mov eax, 9
    FAILS "INVEPT of no type", 28, invept rax, [pointer_vmcs]
.no_ept:
    test r13d, ENABLE_VPID
    jz .no_vpid
    mov eax, 9
    FAILS "INVVPID of no type", 28, invvpid rax, [pointer_vmcs]
.no_vpid:
    ret

; IDT of the nested guest: handler v is VMCALL at guest_handlers + 16 v. EPT: 1 GiB one to one, its second 2 MiB by pages.
guest_tables:
    xor ecx, ecx
    lea rdi, [guest_idt]
.gate:
    mov rax, rcx
    shl rax, 4
    lea rdx, [guest_handlers]
    add rax, rdx
    INTERRUPT_GATE
    add rdi, 16
    inc ecx
    cmp ecx, 256
    jb .gate

    lea rax, [ept_pdpt]
    or eax, 7
    mov [ept_pml4], rax
    lea rax, [ept_pd]
    or eax, 7
    mov [ept_pdpt], rax
    xor ecx, ecx
.large:
    mov eax, ecx
    shl eax, 21
    or eax, 0xb7
    mov [ept_pd + rcx * 8], rax
    inc ecx
    cmp ecx, 512
    jb .large
    lea rax, [ept_pt]
    or eax, 7
    mov [ept_pd + 8], rax               ; 2 MiB to 4 MiB
    xor ecx, ecx
.small:
    mov eax, ecx
    shl eax, 12
    add eax, 0x200037
    mov [ept_pt + rcx * 8], rax
    inc ecx
    cmp ecx, 512
    jb .small
    ret

; RAX = value, RCX = field.

; A clear VMCS with every field at a value that enters.
defaults:
    vmclear [pointer_vmcs]
    vmptrld [pointer_vmcs]
    ; Zeros first: what VMCLEAR leaves in fresh regions is nobody's promise.
    lea rsi, [all_fields]
.zero:
    mov cx, [rsi]
    cmp cx, 0xffff
    je .zeroed
    movzx ecx, cx
    xor eax, eax
    vmwrite rcx, rax
    add rsi, 2
    jmp .zero
.zeroed:
    mov ecx, IA32_VMX_TRUE_PINBASED_CTLS
    rdmsr
    WRITE PIN_CONTROLS, rax
    mov ecx, IA32_VMX_TRUE_PROCBASED_CTLS
    rdmsr
    WRITE PRIMARY_CONTROLS, rax
    mov ecx, IA32_VMX_TRUE_EXIT_CTLS
    rdmsr
    or eax, HOST_64_BIT
    WRITE EXIT_CONTROLS, rax
    mov ecx, IA32_VMX_TRUE_ENTRY_CTLS
    rdmsr
    or eax, GUEST_IA32E
    WRITE ENTRY_CONTROLS, rax
    WRITE VMCS_LINK_POINTER, -1
    WRITE MSR_BITMAP, msr_bitmap
    WRITE IO_BITMAP_A, io_bitmap_a
    WRITE IO_BITMAP_B, io_bitmap_b
    WRITE VIRTUAL_APIC, virtual_apic
    WRITE EXIT_MSR_STORE_ADDRESS, msr_area
    WRITE EXIT_MSR_LOAD_ADDRESS, msr_area
    WRITE ENTRY_MSR_LOAD_ADDRESS, msr_area
    WRITE EPT_POINTER, ept_pml4 + 0x1e

    WRITE HOST_CR0, [host_cr0]
    WRITE GUEST_CR0, [host_cr0]
    mov rax, cr3
    WRITE HOST_CR3, rax
    WRITE GUEST_CR3, rax
    WRITE HOST_CR4, [host_cr4]
    WRITE GUEST_CR4, [host_cr4]
    WRITE HOST_CS_SELECTOR, CODE_SELECTOR
    WRITE HOST_TR_SELECTOR, 0x18
    WRITE HOST_GDTR_BASE, gdt
    WRITE HOST_IDTR_BASE, idt
    WRITE HOST_RSP, host_stack_top
    WRITE HOST_RIP, exited

    WRITE GUEST_CS_SELECTOR, CODE_SELECTOR
    WRITE GUEST_SS_SELECTOR, DATA_SELECTOR
    WRITE GUEST_DS_SELECTOR, DATA_SELECTOR
    WRITE GUEST_TR_SELECTOR, 0x18
    mov edx, GUEST_ES_LIMIT
    mov esi, 0xffffffff
.limit:
    vmwrite rdx, rsi
    add edx, 2
    cmp edx, GUEST_LDTR_LIMIT
    jb .limit
    WRITE GUEST_TR_LIMIT, 0x67
    WRITE GUEST_ES_RIGHTS, 0xc093
    WRITE GUEST_CS_RIGHTS, 0xa09b
    WRITE GUEST_SS_RIGHTS, 0xc093
    WRITE GUEST_DS_RIGHTS, 0xc093
    WRITE GUEST_FS_RIGHTS, 0xc093
    WRITE GUEST_GS_RIGHTS, 0xc093
    WRITE GUEST_LDTR_RIGHTS, 0x10000
    WRITE GUEST_TR_RIGHTS, 0x8b
    WRITE GUEST_TR_BASE, guest_tss
    WRITE GUEST_GDTR_BASE, gdt
    WRITE GUEST_GDTR_LIMIT, 0x17
    WRITE GUEST_IDTR_BASE, guest_idt
    WRITE GUEST_IDTR_LIMIT, 0xfff
    WRITE GUEST_DR7, 0x400
    WRITE GUEST_RSP, guest_stack_top
    WRITE GUEST_RFLAGS, 2
    lea rdi, [registers]
    xor eax, eax
    mov ecx, 8
    rep stosq
    ret

; VMLAUNCH. EAX = 0 after a VM exit, 1 after VMfailInvalid, 2 after VMfailValid.
launch:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [host_rsp], rsp
    mov rax, [registers]
    mov rcx, [registers + 8]
    mov rdx, [registers + 16]
    mov rbx, [registers + 24]
    mov rsi, [registers + 48]
    mov rdi, [registers + 56]
    vmlaunch
    mov eax, 1
    jc .failed
    mov eax, 2
.failed:
    jmp launched
exited:
    mov [registers], rax
    mov [registers + 8], rcx
    mov [registers + 16], rdx
    mov [registers + 24], rbx
    xor eax, eax
launched:
    mov rsp, [host_rsp]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    push rax
    lgdt [gdt_pointer]
    lidt [idt_pointer]
    mov rax, [host_cr4]
    mov cr4, rax
    mov rax, [host_cr0]
    mov cr0, rax
    pop rax
    ; IRET ends whatever blocking of NMIs the guest left.
    END_NMI_BLOCKING
    ret

; Prints a name and a field: "name 0x…".
%macro FIELD 2
    PRINT " ", %1, " "
    VMREAD_RAX %2
    call print_hex
%endmacro

; Does the cases one after the other. RBX walks the table.
cases:
    push rbx
    push r12
    push r13
    lea rbx, [case_table]
.case:
    mov rax, [rbx]
    test rax, rax
    jz .end
    lea r12, [rbx + 8]                  ; name
    lea rbx, [rbx + rax + 8]
    call defaults
    WRITE GUEST_RIP, [rbx]
    mov r13, [rbx + 8]                  ; what to show
    add rbx, 16
    call change
    mov rsi, r12
    call print_text
    PRINT ":"
    call launch
    call print_outcome
    PRINT 10
    jmp .case
.end:
    pop r13
    pop r12
    pop rbx
    ret

; Applies changes from RBX on.
change:
    mov rax, [rbx]
    mov rdi, [rbx + 8]
    mov rsi, [rbx + 16]
    cmp eax, CHANGE_END
    je .end
    add rbx, 24
    cmp eax, CHANGE_SET
    je .write
    cmp eax, CHANGE_OR
    je .or
    cmp eax, CHANGE_CLEAR
    je .clear
    cmp eax, CHANGE_POKE
    je .poke
    lea rdx, [registers]
    mov [rdx + rdi * 8], rsi
    jmp change
.poke:
    mov [rdi], rsi
    jmp change
.or:
    vmread rdx, rdi
    or rsi, rdx
    jmp .write
.clear:
    vmread rdx, rdi
    not rsi
    and rsi, rdx
.write:
    vmwrite rdi, rsi
    jmp change
.end:
    add rbx, 8
    ret

; EAX = what `launch` answered, R13 = what to show.
print_outcome:
    cmp eax, 1
    jb .exit
    ja .valid
    PRINT " VMfailInvalid"
    ret
.valid:
    PRINT " VMfailValid"
    VMREAD_RAX INSTRUCTION_ERROR
    push rax
    PRINT " "
    pop rax
    call print_decimal
    ret
.exit:
    FIELD "reason", EXIT_REASON
    test r13d, SHOW_QUALIFICATION
    jz .no_qualification
    FIELD "qualification", EXIT_QUALIFICATION
.no_qualification:
    ; A failed entry writes no other field.
    VMREAD_RAX EXIT_REASON
    bt eax, 31
    jc .end
    FIELD "interruption", EXIT_INTERRUPTION
    VMREAD_RAX EXIT_INTERRUPTION
    and eax, 0x80000800
    cmp eax, 0x80000800
    jne .no_code
    FIELD "code", EXIT_ERROR_CODE
.no_code:
    FIELD "vectoring", IDT_VECTORING
    VMREAD_RAX IDT_VECTORING
    and eax, 0x80000800
    cmp eax, 0x80000800
    jne .no_vectoring_code
    FIELD "code", IDT_VECTORING_ERROR
.no_vectoring_code:
    test r13d, SHOW_LENGTH
    jz .no_length
    FIELD "length", EXIT_LENGTH
.no_length:
    test r13d, SHOW_INFORMATION
    jz .no_information
    FIELD "information", EXIT_INFORMATION
.no_information:
    test r13d, SHOW_LINEAR
    jz .no_linear
    FIELD "linear", GUEST_LINEAR_ADDRESS
.no_linear:
    test r13d, SHOW_PHYSICAL
    jz .no_physical
    FIELD "physical", GUEST_PHYSICAL_ADDRESS
.no_physical:
    FIELD "rip", GUEST_RIP
    FIELD "rsp", GUEST_RSP
    FIELD "rflags", GUEST_RFLAGS
    FIELD "blocking", GUEST_INTERRUPTIBILITY
    FIELD "activity", GUEST_ACTIVITY
    FIELD "pending", GUEST_PENDING_DEBUG
    FIELD "injection", ENTRY_INTERRUPTION
    test r13d, SHOW_STACK
    jz .no_stack
    push rbx
    VMREAD_RAX GUEST_RSP
    mov rbx, rax
    PRINT " stack"
%rep 4
    PRINT " "
    mov rax, [rbx]
    call print_hex
    add rbx, 8
%endrep
    pop rbx
.no_stack:
    test r13d, SHOW_REGISTERS
    jz .end
    PRINT " rax "
    mov rax, [registers]
    call print_hex
    PRINT " rcx "
    mov rax, [registers + 8]
    call print_hex
    PRINT " rdx "
    mov rax, [registers + 16]
    call print_hex
    PRINT " rbx "
    mov rax, [registers + 24]
    call print_hex
.end:
    ret

; Random bits flipped in one or two fields of an entry whose preemption timer is 0: no instruction of the guest runs.
random_cases:
    push rbx
    push r12
    push r13
    push r14
    xor r12d, r12d
.next:
    call defaults
    WRITE GUEST_RIP, g_end
    mov ecx, IA32_VMX_TRUE_PINBASED_CTLS
    rdmsr
    or eax, PIN_TIMER
    WRITE PIN_CONTROLS, rax
    WRITE EXCEPTION_BITMAP, 0xffffffff
    PRINT "random "
    mov rax, r12
    call print_decimal
    call random
    and eax, 1
    lea r14d, [rax + 1]
.field:
    call random
    xor edx, edx
    mov ecx, random_fields_count
    div rcx
    imul edx, edx, 16
    lea rbx, [random_fields]
    add rbx, rdx
    PRINT " "
    mov rax, [rbx]
    call print_hex
    ; One or two bits of the mask, and now and then any of them.
    call random
    mov r13, rax
    mov ecx, eax
    mov eax, 1
    shl rax, cl
    mov rdx, r13
    shr rdx, 8
    mov ecx, edx
    mov edx, 1
    shl rdx, cl
    bt r13, 20
    jc .one
    or rax, rdx
.one:
    and rax, [rbx + 8]
    jnz .some
    mov rax, r13
    and rax, [rbx + 8]
.some:
    mov rcx, [rbx]
    vmread rdx, rcx
    xor rax, rdx
    vmwrite rcx, rax
    push rax
    PRINT "="
    pop rax
    call print_hex
    dec r14d
    jnz .field
    ; Not every implementation survives an injection of type 7.
    mov ecx, ENTRY_INTERRUPTION
    vmread rax, rcx
    mov edx, eax
    and edx, 0x700
    cmp edx, 0x700
    jne .type
    btr eax, 10
    vmwrite rcx, rax
.type:
    PRINT ":"
    call launch
    mov r13d, 0
    call print_random_outcome
    PRINT 10
    inc r12d
    cmp r12d, RANDOM_CASES
    jb .next
    pop r14
    pop r13
    pop r12
    pop rbx
    ret

print_random_outcome:
    test eax, eax
    jnz print_outcome
    FIELD "reason", EXIT_REASON
    VMREAD_RAX EXIT_REASON
    bt eax, 31
    jnc .exit
    FIELD "qualification", EXIT_QUALIFICATION
    ret
.exit:
    FIELD "interruption", EXIT_INTERRUPTION
    FIELD "vectoring", IDT_VECTORING
    FIELD "rip", GUEST_RIP
    FIELD "blocking", GUEST_INTERRUPTIBILITY
    FIELD "activity", GUEST_ACTIVITY
    ret

; RAX = the next number of an xorshift generator.
random:
    mov rax, [seed]
    mov rdx, rax
    shl rdx, 13
    xor rax, rdx
    mov rdx, rax
    shr rdx, 7
    xor rax, rdx
    mov rdx, rax
    shl rdx, 17
    xor rax, rdx
    mov [seed], rax
    ret

%include "vmx-guests.inc"
%include "vmx-cases.inc"

align 8
seed:           dq 0x9e3779b97f4a7c15
pointer_vmxon:  dq vmxon_region, 0
pointer_vmcs:   dq vmcs_region, 0
pointer_bad:    dq vmcs_region + 8
pointer_wrong:  dq msr_bitmap
pointer:        dq 0

    REGION_TABLE
    END_REGION_TABLE

    IMAGE_BSS
    RUNTIME_BSS
    resb 4096 - (($ - elf_header) & 0xfff)     ; to a page boundary
vmxon_region:   resb 4096
vmcs_region:    resb 4096
other_region:   resb 4096
msr_bitmap:     resb 4096
io_bitmap_a:    resb 4096
io_bitmap_b:    resb 4096
virtual_apic:   resb 4096
apic_access:    resb 4096
msr_area:       resb 4096
ept_pml4:       resb 4096
ept_pdpt:       resb 4096
ept_pd:         resb 4096
ept_pt:         resb 4096
guest_idt:      resb 4096
guest_tss:      resb 4096
scratch:        resb 4096
                resb 4096
guest_stack_top: resb 64
                resb 8192
host_stack_top: resb 8
registers:      resq 8
host_rsp:       resq 1
host_cr0:       resq 1
host_cr4:       resq 1
    IMAGE_END
