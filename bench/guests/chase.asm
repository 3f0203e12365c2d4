; Pointer chase: one cycle through 131072 pointers in 1 MiB, a stride that misses small caches.
%include "guest.inc"
COUNT equ 131072
        mov esi, DATA
        xor ecx, ecx
.init:  lea eax, [rcx + 40961]
        and eax, COUNT - 1
        lea rax, [rsi + rax*8]
        mov [rsi + rcx*8], rax
        inc ecx
        cmp ecx, COUNT
        jb .init
        mov rax, rsi
        mov ecx, 20000000
.loop:  mov rax, [rax]
        dec ecx
        jnz .loop
        ret
