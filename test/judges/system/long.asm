; Runs one case after the other in 64-bit mode and says on port E9H what each came to.
; cases.inc: CASE index, 'name', KERNEL or USER; its code; END_CASE index. Then CASE_TABLE lists them.

%define PML4   0x20000
%define PDPT   0x21000
%define PD     0x22000
%define PT     0x23000
%define GDT    0x30000
%define TSS    0x31000
%define IDT    0x32000
%define LDT    0x33000
%define PT_KEPT 0x34000
%define SAVED  0x36000
%define STACK  0x48000          ; of a case at CPL 0
%define STACK0 0x4a000          ; RSP0
%define IST1   0x4c000
%define KCODE  0x3e000          ; INT 21H, at CPL 0
%define OWN    0x4f000          ; of the runner
%define DATA   0x50000          ; user data, zero when a case begins
%define ABSENT 0x60000          ; pages of every kind
%define READONLY 0x61000
%define SUPERVISOR 0x62000
%define NOEXECUTE 0x63000
%define RESERVED 0x64000
%define KEYED 0x66000           ; protection key 1
%define UCODE  0x70000          ; where code of a case at CPL 3 goes
%define USTACK 0x7f000

%define KERNEL 0
%define USER 1
%macro CASE 3
name_%1: db %2, 0
align 16
code_%1:
%define case_flags_%1 %3
%endmacro
%macro END_CASE 1
  int 0x20
end_%1:
%endmacro
%macro ENTRY 1
  dq name_%1, code_%1, end_%1 - code_%1, case_flags_%1
%endmacro

bits 16
org 0x7e00
start:
  cli
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  o32 lgdt [boot_gdtr]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword 0x18:protected

bits 32
protected:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, OWN
  cld
  mov edi, PML4
  mov ecx, 0x4000 / 4
  xor eax, eax
  rep stosd
  mov dword [PML4], PDPT + 7
  mov dword [PDPT], PD + 7
  mov dword [PD], PT + 7
  mov edi, PT
  mov eax, 0x63                 ; present, writable, accessed, dirty; supervisor
.fill:
  mov [edi], eax
  mov dword [edi + 4], 0
  add eax, 0x1000
  add edi, 8
  cmp eax, 0x200000
  jb .fill
%macro PAGE 3                   ; linear page, low bits, high bits
  mov dword [PT + (%1 >> 12) * 8], %1 + %2
  mov dword [PT + (%1 >> 12) * 8 + 4], %3
%endmacro
%assign page DATA
%rep 16
  PAGE page, 0x67, 0
%assign page page + 0x1000
%endrep
%assign page UCODE
%rep 16
  PAGE page, 0x67, 0
%assign page page + 0x1000
%endrep
  PAGE ABSENT, 0x66, 0
  PAGE READONLY, 0x65, 0
  PAGE SUPERVISOR, 0x63, 0
  PAGE NOEXECUTE, 0x67, 0x80000000
  PAGE RESERVED, 0x67, 0x00080000
  PAGE KEYED, 0x67, 0x08000000
  mov esi, PT
  mov edi, PT_KEPT
  mov ecx, 1024
  rep movsd
  mov eax, cr4
  or eax, 0x20
  mov cr4, eax
  mov eax, PML4
  mov cr3, eax
  mov ecx, 0xc0000080
  mov eax, 0x901                ; SCE, LME, NXE
  xor edx, edx
  wrmsr
  mov eax, 0x80010033
  mov cr0, eax
  jmp dword 0x08:wide

bits 64
wide:
  mov esp, OWN
  mov al, 0xff                  ; no interrupts of the machine's own
  out 0x21, al
  out 0xa1, al
  ; IDT: 256 stubs of 16 bytes; all for CPL 0 but 20H and 21H, double faults on an interrupt stack
  mov edi, IDT
  mov ebx, stubs
  xor ecx, ecx
.gate:
  mov eax, ebx
  and eax, 0xffff
  or eax, 0x80000
  mov [rdi], eax
  mov eax, ebx
  and eax, 0xffff0000
  or eax, 0x8e00
  cmp ecx, 0x20
  jb .closed
  cmp ecx, 0x21
  ja .closed
  or eax, 0x6000
.closed:
  cmp ecx, 8
  jne .nostack
  or eax, 1
.nostack:
  mov [rdi + 4], eax
  mov qword [rdi + 8], 0
  add edi, 16
  add ebx, 16
  inc ecx
  cmp ecx, 256
  jb .gate
  mov qword [rel current], table

next:
  mov esp, OWN
  mov rbx, [rel current]
  cmp rbx, table_end
  jae finished
  add qword [rel current], 32
  mov [rel running], rbx
  call reset
  mov rsi, [rbx]
  call print
  mov rsi, [rbx + 8]
  mov [rel base], rsi
  test dword [rbx + 24], USER
  jnz .user
  mov r15, rsi
  call registers
  mov esp, STACK
  jmp r15
.user:
  mov edi, UCODE
  mov rcx, [rbx + 16]
  rep movsb
  mov qword [rel base], UCODE
  call registers
  push 0x2b
  push USTACK
  push 2
  push 0x33
  push UCODE
  iretq

; What every case finds in the registers.
registers:
  mov eax, 0x11111111
  mov ecx, 0x22222222
  mov edx, 0x33333333
  mov ebx, 0x44444444
  mov esi, 0x55555555
  mov edi, 0x66666666
  mov ebp, 0x77777777
  push 2
  popfq
  ret

reset:
  cld
  mov eax, 0x80010033
  mov cr0, rax
  mov esi, PT_KEPT
  mov edi, PT
  mov ecx, 512
  rep movsq
  mov qword [PML4], PDPT + 7
  mov qword [PDPT], PD + 7
  mov qword [PD], PT + 7
  mov eax, 0x620
  mov cr4, rax
  mov eax, PML4
  mov cr3, rax
  mov esi, gdt_image
  mov edi, GDT
  mov ecx, gdt_end - gdt_image
  rep movsb
  mov edi, TSS
  mov ecx, 0x80
  xor eax, eax
  rep stosb
  mov qword [TSS + 4], STACK0
  mov qword [TSS + 0x24], IST1
  mov word [TSS + 0x66], 0x68
  mov edi, DATA
  mov ecx, 0x1000
  rep stosb
  mov dword [KCODE], 0x21cd
  mov dword [UCODE], 0x21cd
  lgdt [rel gdtr]
  lidt [rel idtr]
  xor eax, eax
  lldt ax
  mov eax, 0x38
  ltr ax
  mov eax, 0x10
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov gs, eax
  xor eax, eax
  mov dr0, rax
  mov dr1, rax
  mov dr2, rax
  mov dr3, rax
  mov eax, 0xffff0ff0
  mov dr6, rax
  mov eax, 0x400
  mov dr7, rax
  mov ecx, 0xc0000080
  mov eax, 0xd01
  xor edx, edx
  wrmsr
  mov ecx, 0xc0000081
  xor eax, eax
  mov edx, 0x00230008           ; SYSCALL: 08H, 10H; SYSRET: 33H or 23H, 2BH
  wrmsr
  mov ecx, 0xc0000082
  mov eax, syscall_entry
  xor edx, edx
  wrmsr
  mov ecx, 0xc0000084
  mov eax, 0x700
  wrmsr
  mov ecx, 0x174
  xor eax, eax
  wrmsr
  mov ecx, 0xc0000100
  wrmsr
  mov ecx, 0xc0000101
  wrmsr
  mov ecx, 0xc0000102
  wrmsr
  ret

syscall_entry:
  int 0x21

align 16
stubs:
%assign vector 0
%rep 256
  align 16
  %if vector = 8 || (vector >= 10 && vector <= 14) || vector = 17 || vector = 21
  %else
    push 0x7eee
  %endif
  push vector
  jmp near arrive
%assign vector vector + 1
%endrep
align 16

; The frame: vector, error code, RIP, CS, RFLAGS, RSP, SS
arrive:
  mov [SAVED], rax
  mov [SAVED + 8], rcx
  mov [SAVED + 16], rdx
  mov [SAVED + 24], rbx
  mov eax, 0x400
  mov dr7, rax
  mov rax, cr4
  and eax, ~0x300000
  mov cr4, rax
  mov rbp, rsp
  mov esp, OWN
  cld
%macro SAY 2                    ; label, digits; value in RBX
  mov esi, %%label
  call print
  mov ecx, %2
  call hex
  jmp %%past
%%label: db %1, 0
%%past:
%endmacro
  mov rbx, [rbp]
  SAY ': v', 2
  mov rbx, [rbp + 8]
  SAY ' e', 4
  mov rbx, [rbp + 16]
  mov rax, rbx
  sub rax, [rel base]
  cmp rax, 0x400
  jae .far
  mov rbx, rax
  SAY ' +', 4
  jmp .where
.far:
  cmp rbx, syscall_entry + 2
  jne .absolute
  xor ebx, ebx
  SAY ' syscall', 1
  jmp .where
.absolute:
  SAY ' @', 16
.where:
  mov rbx, [rbp + 24]
  SAY ' cs', 4
  mov rbx, [rbp + 32]
  SAY ' fl', 6
  mov rbx, [rbp + 48]
  SAY ' ss', 4
  mov rbx, [rbp + 40]
  SAY ' sp', 16
  cmp dword [rbp], 14
  jne .nocr2
  mov rbx, cr2
  SAY ' cr2', 16
.nocr2:
  mov rbx, rbp
  SAY ' at', 8
  mov rbx, [SAVED]
  SAY ' ax', 16
  mov rbx, [SAVED + 8]
  SAY ' cx', 16
  mov rbx, [SAVED + 16]
  SAY ' dx', 16
  mov rbx, [SAVED + 24]
  SAY ' bx', 16
  mov rbx, dr6
  SAY ' dr6', 4
  mov rbx, [DATA]
  SAY ' m', 16
  mov al, 10
  out 0xe9, al
  jmp next

print:
  lodsb
  test al, al
  jz .end
  out 0xe9, al
  jmp print
.end:
  ret

; ECX digits of RBX
hex:
  push rcx
  mov eax, ecx
  shl eax, 2
  mov cl, 64
  sub cl, al
  shl rbx, cl
  pop rcx
.digit:
  rol rbx, 4
  mov eax, ebx
  and eax, 15
  cmp al, 10
  jb .decimal
  add al, 'a' - '0' - 10
.decimal:
  add al, '0'
  out 0xe9, al
  dec ecx
  jnz .digit
  ret

finished:
  mov esi, bye
  call print
  mov al, 0
  out 0xf4, al
  mov esi, shutdown
  mov dx, 0x8900
.letter:
  lodsb
  test al, al
  jz .stop
  out dx, al
  jmp .letter
.stop:
  cli
  hlt
  jmp .stop
bye: db 'END', 10, 0
shutdown: db 'Shutdown', 0

align 16
gdt_image:
  dq 0
  dq 0x00af9b000000ffff         ; 08 64-bit code
  dq 0x00cf93000000ffff         ; 10 data
  dq 0x00cf9b000000ffff         ; 18 32-bit code
  dq 0x00cffb000000ffff         ; 20 32-bit code, CPL 3
  dq 0x00cff3000000ffff         ; 28 data, CPL 3
  dq 0x00affb000000ffff         ; 30 64-bit code, CPL 3
  dq 0x0000890310000067, 0      ; 38 TSS at 31000H
  dq 0x0000820330000fff, 0      ; 48 LDT at 33000H
  dq 0x00cf91000000ffff         ; 58 read-only data
  dq 0x00cf99000000ffff         ; 60 execute-only code
  dq 0x00af9f000000ffff         ; 68 conforming 64-bit code
  dq 0x00cf13000000ffff         ; 70 data, absent
  dq 0x00af1b000000ffff         ; 78 64-bit code, absent
  dq 0x00ef9b000000ffff         ; 80 code with L and D
  dq 0x0000810310000067, 0      ; 88 16-bit TSS
  dq 0x00038c000008e000, 0      ; 98 call gate to 08:3E000H, DPL 0
  dq 0x0003ec000008e000, 0      ; a8 the same, DPL 3
  dq 0x0000850000380000         ; b8 task gate
  dq 0x00008e0000080000         ; c0 interrupt gate
  dq 0x00409b0000000fff         ; c8 32-bit code of 4 KiB
gdt_end:
gdtr:
  dw gdt_end - gdt_image - 1
  dq GDT
idtr:
  dw 0xfff
  dq IDT
boot_gdtr:
  dw gdt_end - gdt_image - 1
  dd gdt_image
align 8
current: dq 0
running: dq 0
base: dq 0

%include "cases.inc"
align 8
table:
CASE_TABLE
table_end:
