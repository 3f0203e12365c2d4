; RDMSR loop: IA32_EFER, 2000000 times.
%include "guest.inc"
        mov ebx, 2000000
        mov ecx, 0xc0000080
.loop:  rdmsr
        dec ebx
        jnz .loop
        ret
