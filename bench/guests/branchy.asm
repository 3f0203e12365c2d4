; Branchy: conditional branches on pseudo-random bits; EBX, EDX, EDI count the ways taken.
%include "guest.inc"
        mov ecx, 4000000
        mov eax, 0x12345678
        xor ebx, ebx
        xor edx, edx
        xor edi, edi
.loop:  mov esi, eax
        shl esi, 13
        xor eax, esi
        mov esi, eax
        shr esi, 17
        xor eax, esi
        mov esi, eax
        shl esi, 5
        xor eax, esi
        test al, 1
        jz .even
        inc ebx
        test al, 6
        jz .rare
        jmp .third
.even:  inc edx
        test eax, eax
        js .third
.rare:  inc edi
.third: cmp eax, 0x40000000
        ja .next
        test ah, 8
        jnz .next
        inc edi
.next:  dec ecx
        jnz .loop
        ret
