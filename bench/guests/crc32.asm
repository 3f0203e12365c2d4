; CRC-32 by table over 64 KiB, 128 times; EAX = the checksum.
%include "guest.inc"
TABLE equ DATA
BUFFER equ DATA + 0x1000
LENGTH equ 65536
        mov edi, TABLE
        xor ecx, ecx
.entry: mov eax, ecx
        mov edx, 8
.bit:   mov ebx, eax
        and ebx, 1
        neg ebx
        and ebx, 0xedb88320
        shr eax, 1
        xor eax, ebx
        dec edx
        jnz .bit
        mov [rdi + rcx*4], eax
        inc ecx
        cmp ecx, 256
        jb .entry
        mov esi, BUFFER
        xor ecx, ecx
        mov eax, 12345
.init:  imul eax, eax, 1103515245
        add eax, 12345
        mov edx, eax
        shr edx, 16
        mov [rsi + rcx], dl
        inc ecx
        cmp ecx, LENGTH
        jb .init
        mov r8d, 128
.again: mov esi, BUFFER
        mov ecx, LENGTH
        mov eax, -1
.byte:  movzx edx, byte [rsi]
        xor dl, al
        movzx edx, dl
        shr eax, 8
        xor eax, [rdi + rdx*4]
        inc rsi
        dec ecx
        jnz .byte
        not eax
        dec r8d
        jnz .again
        ret
