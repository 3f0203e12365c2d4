; ALU loop: twelve instructions, no memory.
%include "guest.inc"
        mov ecx, 8000000
        xor eax, eax
        mov ebx, 1
        mov rsi, 0x9e3779b97f4a7c15
.loop:  add rax, rbx
        xor rbx, rax
        lea rdx, [rax + rbx*2 + 5]
        shl rdx, 3
        sub rdx, rsi
        and rax, rdx
        or rbx, rsi
        imul rdx, rbx
        add eax, 7
        not rbx
        dec ecx
        jnz .loop
        ret
