; Sieve of Eratosthenes over 1 MiB of bytes, four times; EAX = the number of primes.
%include "guest.inc"
SIZE equ 1 << 20
        mov r8d, 4
.again: mov edi, DATA
        mov rax, 0x0101010101010101
        mov ecx, SIZE / 8
.fill:  mov [rdi], rax
        add rdi, 8
        dec ecx
        jnz .fill
        mov edi, DATA
        mov ecx, 2
.outer: cmp byte [rdi + rcx], 0
        je .next
        mov edx, ecx
        imul edx, ecx
.strike:
        cmp edx, SIZE
        jae .next
        mov byte [rdi + rdx], 0
        add edx, ecx
        jmp .strike
.next:  inc ecx
        cmp ecx, 1024
        jb .outer
        xor eax, eax
        mov ecx, 2
.count: movzx edx, byte [rdi + rcx]
        add eax, edx
        inc ecx
        cmp ecx, SIZE
        jb .count
        dec r8d
        jnz .again
        ret
