; String moves: REP STOSQ, REP MOVSQ and REP MOVSB over 64 KiB, 200 times.
%include "guest.inc"
        mov r8d, 200
.again: mov edi, DATA
        mov eax, r8d
        mov ecx, 8192
        rep stosq
        mov esi, DATA
        mov edi, DATA + 0x20000
        mov ecx, 8192
        rep movsq
        mov esi, DATA + 3
        mov edi, DATA + 0x40001
        mov ecx, 65536
        rep movsb
        dec r8d
        jnz .again
        ret
