# Multiboot entry, the way into 64-bit mode, interrupt entries, and the start of application processors.

        .section .multiboot, "a"
        .balign 4
        .long 0x1badb002, 0, -0x1badb002

        .section .text
        .code32
        .globl _start
_start:
        cld
        cli
        movl    $boot_stack_top, %esp
        movl    %ebx, multiboot_information
        # The first 4 GiB one to one, with pages of 2 MiB.
        movl    $page_directories, %edi
        movl    $0x83, %eax
        movl    $2048, %ecx
1:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    1b
        call    enable_paging
        lgdt    gdt_pointer
        ljmp    $0x08, $start64

enable_paging:
        movl    %cr4, %eax
        orl     $0x620, %eax                    # PAE, OSFXSR, OSXMMEXCPT
        movl    %eax, %cr4
        movl    $page_map, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x900, %eax                    # LME, NXE
        wrmsr
        movl    $0x80010033, %eax               # PG, WP, NE, ET, MP, PE
        movl    %eax, %cr0
        ret

        .code64
start64:
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        leaq    boot_stack_top(%rip), %rsp
        xorl    %ebp, %ebp
        call    kernel_main
1:      cli
        hlt
        jmp     1b

# int attempt(void (*body)(void)): runs body; 1 if an exception ended it.
        .globl attempt, attempt_resume
attempt:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, attempt_stack(%rip)
        call    *%rdi
        xorl    %eax, %eax
        jmp     1f
attempt_resume:
        movq    attempt_stack(%rip), %rsp
        movl    $1, %eax
1:      movq    $0, attempt_stack(%rip)
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

# void enter_user(void (*body)(void), void *stack): body at CPL 3; it ends by INT 80H or an exception.
        .globl enter_user
enter_user:
        pushq   $0x23
        pushq   %rsi
        pushq   $0x2
        pushq   $0x2b
        pushq   %rdi
        iretq

# Every vector pushes an error code, if the CPU has not, and its number.
        .balign 16
        .globl interrupt_entries
interrupt_entries:
        .set    vector, 0
        .rept   256
        .balign 16
        .if     !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
        pushq   $0
        .endif
        pushq   $vector
        jmp     interrupt_common
        .set    vector, vector + 1
        .endr

interrupt_common:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, %rdi
        movq    %rsp, %rbp
        andq    $-16, %rsp
        cld
        call    dispatch
        movq    %rbp, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        popq    %rdx
        popq    %rcx
        popq    %rax
        addq    $16, %rsp
        iretq

# Copied to the page an application processor starts in.
        .code16
        .balign 16
        .globl trampoline, trampoline_end
trampoline:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   gdt_pointer32 - trampoline + 0x8000
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $0x18, $trampoline32
        .balign 4
gdt_pointer32:
        .word   gdt_end - gdt - 1
        .long   gdt
trampoline_end:

        .code32
trampoline32:
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $1, %eax
        lock xaddl %eax, next_processor
        movl    %eax, %esp
        shll    $14, %esp
        addl    $processor_stacks, %esp
        pushl   %eax
        call    enable_paging
        popl    %eax
        ljmp    $0x08, $1f
        .code64
1:      movl    %eax, %edi
        movl    %esp, %esp
        xorl    %ebp, %ebp
        call    processor_main
2:      cli
        hlt
        jmp     2b

        .section .data
        .balign 16
        .globl gdt
gdt:
        .quad   0
        .quad   0x00af9b000000ffff              # 08 code, 64-bit
        .quad   0x00cf93000000ffff              # 10 data
        .quad   0x00cf9b000000ffff              # 18 code, 32-bit
        .quad   0x00cff3000000ffff              # 20 data, CPL 3
        .quad   0x00affb000000ffff              # 28 code, CPL 3
        .quad   0x00cf13000000ffff              # 30 data, not present
        .quad   0                               # 38 spare
        .globl gdt_tss
gdt_tss:
        .quad   0, 0                            # 40 TSS
gdt_end:
        .globl gdt_pointer
gdt_pointer:
        .word   gdt_end - gdt - 1
        .quad   gdt

        .balign 4096
        .globl page_map, page_directories
page_map:
        .quad   page_pointers + 3
        .fill   511, 8, 0
page_pointers:
        .quad   page_directories + 0x0003
        .quad   page_directories + 0x1003
        .quad   page_directories + 0x2003
        .quad   page_directories + 0x3003
        .fill   508, 8, 0

        .section .bss
        .balign 4096
page_directories:
        .skip   4 * 4096
        .globl multiboot_information, next_processor, attempt_stack
attempt_stack:
        .skip   8
multiboot_information:
        .skip   4
next_processor:
        .skip   4
        .balign 16
        .skip   16384
boot_stack_top:
        .skip   16384
processor_stacks:                               # grows down from the end of each
        .skip   8 * 16384
        .section .note.GNU-stack, "", @progbits
