; Heap sort of 65536 pseudo-random doublewords, four times; EAX = 1 if the last came out in order.
%include "guest.inc"
COUNT equ 65536
        mov r9d, 4
.again: mov esi, DATA
        xor ecx, ecx
        mov eax, r9d
.init:  imul eax, eax, 1664525
        add eax, 1013904223
        mov [rsi + rcx*4], eax
        inc ecx
        cmp ecx, COUNT
        jb .init
        mov r8d, COUNT / 2
.build: dec r8d
        mov edi, r8d
        mov edx, COUNT
        call sift
        test r8d, r8d
        jnz .build
        mov r8d, COUNT - 1
.take:  mov eax, [rsi]
        mov ebx, [rsi + r8*4]
        mov [rsi], ebx
        mov [rsi + r8*4], eax
        xor edi, edi
        mov edx, r8d
        call sift
        dec r8d
        jnz .take
        dec r9d
        jnz .again
        xor eax, eax
        mov ecx, COUNT - 1
.check: mov ebx, [rsi + rcx*4]
        cmp ebx, [rsi + rcx*4 - 4]
        jb .done
        dec ecx
        jnz .check
        inc eax
.done:  ret
; Sifts element EDI down in the heap of EDX elements at RSI.
sift:   mov ebx, [rsi + rdi*4]
.down:  lea ecx, [rdi + rdi + 1]
        cmp ecx, edx
        jae .place
        mov eax, [rsi + rcx*4]
        lea r10d, [rcx + 1]
        cmp r10d, edx
        jae .compare
        mov r11d, [rsi + r10*4]
        cmp r11d, eax
        jbe .compare
        mov eax, r11d
        mov ecx, r10d
.compare:
        cmp eax, ebx
        jbe .place
        mov [rsi + rdi*4], eax
        mov edi, ecx
        jmp .down
.place: mov [rsi + rdi*4], ebx
        ret
