; perf-count: a Linux program that counts a loop of its own with perf_event_open, as a static ELF64 file of its own.
;
; For each event, exclude_kernel set, in its own user space, between the two ioctls:
;
;   instructions   SYSRET, MOV, 1,000,000 × (DEC, JNZ), four to set up the second ioctl          = 2,000,006
;   branches       SYSRET, 1,000,000 × JNZ                                                        = 1,000,001
;
; and one more of each for every interrupt on the way, whose IRETQ retires in user space.
; nasm -f bin perf-count.asm -o perf-count.elf

bits 64
org 0x400000

SYS_WRITE equ 1
SYS_IOCTL equ 16
SYS_READ equ 0
SYS_CLOSE equ 3
SYS_EXIT equ 60
SYS_PERF_EVENT_OPEN equ 298
PERF_EVENT_IOC_ENABLE equ 0x2400
PERF_EVENT_IOC_DISABLE equ 0x2401
PERF_COUNT_HW_INSTRUCTIONS equ 1
PERF_COUNT_HW_BRANCH_INSTRUCTIONS equ 4
ATTR_SIZE equ 64
; disabled, exclude_kernel, exclude_hv
ATTR_FLAGS equ 1 | 1 << 5 | 1 << 6
TURNS equ 1000000

elf_header:
    db 0x7f, "ELF", 2, 1, 1, 0
    dq 0
    dw 2, 62
    dd 1
    dq start
    dq program_header - $$
    dq 0
    dd 0
    dw 64, 56, 1, 0, 0, 0
program_header:
    dd 1, 7
    dq 0, $$, $$, file_end - $$, memory_end - $$, 0x1000

start:
    mov qword [attr + 8], PERF_COUNT_HW_INSTRUCTIONS
    lea r12, [instructions_text]
    call count
    mov qword [attr + 8], PERF_COUNT_HW_BRANCH_INSTRUCTIONS
    lea r12, [branches_text]
    call count
    xor edi, edi
    mov eax, SYS_EXIT
    syscall

; Counts the loop with the event in `attr` and prints the text at R12 and the count, or its error.
count:
    lea rdi, [attr]
    xor esi, esi
    mov rdx, -1
    mov r10, -1
    xor r8d, r8d
    mov eax, SYS_PERF_EVENT_OPEN
    syscall
    mov rbx, rax
    test rax, rax
    js .print
    mov edi, ebx
    mov esi, PERF_EVENT_IOC_ENABLE
    xor edx, edx
    mov eax, SYS_IOCTL
    syscall
    mov ecx, TURNS
.turn:
    dec ecx
    jnz .turn
    mov edi, ebx
    mov esi, PERF_EVENT_IOC_DISABLE
    xor edx, edx
    mov eax, SYS_IOCTL
    syscall
    mov edi, ebx
    lea rsi, [value]
    mov edx, 8
    mov eax, SYS_READ
    syscall
    mov edi, ebx
    mov eax, SYS_CLOSE
    syscall
    mov rax, [value]
.print:
    lea rsi, [digits_end]
    mov byte [rsi - 1], 10
    dec rsi
    xor r9d, r9d
    test rax, rax
    jns .digit
    neg rax
    inc r9d
.digit:
    xor edx, edx
    mov ecx, 10
    div rcx
    add dl, '0'
    dec rsi
    mov [rsi], dl
    test rax, rax
    jnz .digit
    test r9d, r9d
    jz .write
    dec rsi
    mov byte [rsi], '-'
.write:
    push rsi
    mov rsi, r12
    movzx edx, byte [rsi]
    inc rsi
    mov edi, 1
    mov eax, SYS_WRITE
    syscall
    pop rsi
    lea rdx, [digits_end]
    sub rdx, rsi
    mov edi, 1
    mov eax, SYS_WRITE
    syscall
    ret

instructions_text:
    db 20, "perf instructions:u "
branches_text:
    db 16, "perf branches:u "

align 8
; type PERF_TYPE_HARDWARE, size, config, sample period, sample type, read format, flags
attr:
    dd 0, ATTR_SIZE
    dq 0, 0, 0, 0, ATTR_FLAGS, 0, 0
file_end:

absolute file_end
value: resq 1
digits: resb 32
digits_end:
memory_end:
