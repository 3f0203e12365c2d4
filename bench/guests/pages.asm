; Page touch: one store to each of 4096 pages, 1000 times.
%include "guest.inc"
        mov r8d, 1000
.again: mov edi, DATA
        mov ecx, 4096
.touch: add qword [rdi], 1
        add rdi, 4096
        dec ecx
        jnz .touch
        dec r8d
        jnz .again
        ret
