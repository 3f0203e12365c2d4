; Recursive calls: Fibonacci of 31; EAX = 1346269.
%include "guest.inc"
        mov edi, 31
fib:    cmp edi, 2
        jb .leaf
        push rbx
        push rdi
        dec edi
        call fib
        mov ebx, eax
        pop rdi
        sub edi, 2
        call fib
        add eax, ebx
        pop rbx
        ret
.leaf:  mov eax, 1
        ret
