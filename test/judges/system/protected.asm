; Runs one case after the other outside IA-32e mode and says on port E9H what each came to. As long.asm, but for the
; modes: KERNEL, USER, CODE16 (16-bit code and stack at CPL 0) and V86.

%define GDT    0x30000
%define TSS    0x31000
%define IDT    0x32000
%define LDT    0x33000
%define TASK   0x34000          ; a second task
%define TASK16 0x35000          ; a third, of the 16-bit kind
%define FAULTS 0x36000          ; a task for faults in others
%define IDT_KEPT 0x38000
%define STACK  0x48000
%define STACK0 0x4a000
%define STACK1 0x4c000          ; of the second task
%define STACK2 0x4e000          ; of the task for faults
%define KCODE  0x3e000          ; INT 21H
%define OWN    0x4f000
%define DATA   0x50000
%define UCODE  0x70000
%define USTACK 0x7f000
%define UOTHER 0x78000          ; INT 21H, at CPL 3

; Sends an exception to the task for faults.
%macro BY_TASK 1
  mov dword [IDT + %1 * 8], 0x00e00000
  mov dword [IDT + %1 * 8 + 4], 0x0000e500
  mov dword [FAULTS + 0x20], stubs + %1 * 16
%endmacro

%define KERNEL 0
%define USER 1
%define CODE16 2
%define V86 3
%macro CASE 3
name_%1: db %2, 0
align 16
%if %3 >= CODE16
bits 16
%else
bits 32
%endif
code_%1:
%define case_flags_%1 %3
%endmacro
%macro END_CASE 1
  int 0x20
end_%1:
bits 32
%endmacro
%macro ENTRY 1
  dd name_%1, code_%1, end_%1 - code_%1, case_flags_%1
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
  jmp dword 0x08:protected

bits 32
protected:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, OWN
  mov al, 0xff
  out 0x21, al
  out 0xa1, al
  mov edi, IDT
  mov ebx, stubs
  xor ecx, ecx
.gate:
  mov eax, ebx
  and eax, 0xffff
  or eax, 0x80000
  mov [edi], eax
  mov eax, ebx
  and eax, 0xffff0000
  or eax, 0x8e00
  cmp ecx, 0x20
  jb .closed
  cmp ecx, 0x21
  ja .closed
  or eax, 0x6000
.closed:
  mov [edi + 4], eax
  add edi, 8
  add ebx, 16
  inc ecx
  cmp ecx, 256
  jb .gate
  mov dword [IDT + 0x22 * 8], 0x00700000        ; 22H: task gate to the second task
  mov dword [IDT + 0x22 * 8 + 4], 0x0000e500
  mov dword [IDT + 0x23 * 8], 0x0008e000        ; 23H: 16-bit interrupt gate to the low half of KCODE
  mov dword [IDT + 0x23 * 8 + 4], 0x0000e600
  mov esi, IDT
  mov edi, IDT_KEPT
  mov ecx, 0x800 / 4
  rep movsd
  mov dword [current], table

next:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, OWN
  mov ebx, [current]
  cmp ebx, table_end
  jae finished
  add dword [current], 16
  call reset
  mov esi, [ebx]
  call print
  mov esi, [ebx + 4]
  mov [base], esi
  mov edx, [ebx + 12]
  cmp edx, KERNEL
  jne .copied
  mov [target], esi
  call registers
  mov esp, STACK
  jmp [target]
.copied:
  mov edi, UCODE
  mov ecx, [ebx + 8]
  rep movsb
  mov dword [base], UCODE
  cmp edx, USER
  je .user
  mov dword [base], 0
  cmp edx, V86
  je .v86
  call registers
  mov ax, 0x20
  mov ss, ax
  mov esp, 0x6000
  mov eax, 0x11111111
  jmp 0x18:0
.user:
  mov ax, 0x33
  mov ds, ax
  mov es, ax
  call registers
  push 0x33
  push USTACK
  push 2
  push 0x2b
  push UCODE
  iretd
.v86:
  call registers
  push 0x5000                   ; GS, FS, DS, ES
  push 0x5000
  push 0x5000
  push 0x5000
  push 0x7000                   ; SS
  push 0xf000
  push 0x23002                  ; VM, IOPL 3
  push 0x7000
  push 0
  iretd

registers:
  mov eax, 0x11111111
  mov ecx, 0x22222222
  mov edx, 0x33333333
  mov ebx, 0x44444444
  mov esi, 0x55555555
  mov edi, 0x66666666
  mov ebp, 0x77777777
  push 2
  popfd
  ret

reset:
  cld
  push 2
  popfd
  mov eax, 0x00000031
  mov cr0, eax
  xor eax, eax
  mov cr4, eax
  mov edi, LDT
  mov ecx, 0x4000 / 4
  rep stosd
  mov edi, STACK2 - 0x100
  mov ecx, 0x100 / 4
  rep stosd
  mov esi, IDT_KEPT
  mov edi, IDT
  mov ecx, 0x800 / 4
  rep movsd
  xor eax, eax
  mov edi, TSS
  mov ecx, 0x100 / 4
  rep stosd
  mov edi, DATA
  mov ecx, 0x1000 / 4
  rep stosd
  mov esi, gdt_image
  mov edi, GDT
  mov ecx, gdt_end - gdt_image
  rep movsb
  mov dword [TSS + 4], STACK0
  mov word [TSS + 8], 0x10
  mov word [TSS + 0x66], 0x68
  mov dword [LDT + 8], 0x0000ffff               ; 0CH: data
  mov dword [LDT + 12], 0x00cf9200
  mov dword [TASK + 0x04], STACK0
  mov word [TASK + 0x08], 0x10
  mov dword [TASK + 0x20], KCODE
  mov dword [TASK + 0x24], 2
  mov dword [TASK + 0x28], 0x88888888
  mov dword [TASK + 0x38], STACK1
  mov word [TASK + 0x48], 0x10
  mov word [TASK + 0x4c], 0x08
  mov word [TASK + 0x50], 0x10
  mov word [TASK + 0x54], 0x10
  mov word [TASK + 0x66], 0x68
  mov word [TASK16 + 0x0e], 0xe000              ; KCODE in the 16-bit code segment's terms
  mov word [TASK16 + 0x10], 2
  mov word [TASK16 + 0x12], 0x8888
  mov word [TASK16 + 0x1a], 0x6000
  mov word [TASK16 + 0x22], 0x10
  mov word [TASK16 + 0x24], 0xb0
  mov word [TASK16 + 0x26], 0x20
  mov word [TASK16 + 0x28], 0x10
  mov dword [FAULTS + 0x24], 2
  mov dword [FAULTS + 0x38], STACK2 - 0x40
  mov word [FAULTS + 0x48], 0x10
  mov word [FAULTS + 0x4c], 0x08
  mov word [FAULTS + 0x50], 0x10
  mov word [FAULTS + 0x54], 0x10
  mov word [FAULTS + 0x66], 0x68
  mov dword [KCODE], 0x21cd
  mov dword [UCODE], 0x21cd
  mov dword [UOTHER], 0x21cd
  mov word [0xe000 + 0x30000], 0x21cd
  lgdt [gdtr]
  lidt [idtr]
  mov ax, 0x40
  lldt ax
  mov ax, 0x38
  ltr ax
  mov ax, 0x10
  mov fs, ax
  mov gs, ax
  xor eax, eax
  mov dr0, eax
  mov eax, 0xffff0ff0
  mov dr6, eax
  mov eax, 0x400
  mov dr7, eax
  ret

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

; Frame, from EBP: GS FS ES DS, EDI … EAX (PUSHAD), vector, error code, EIP, CS, EFLAGS, [ESP, SS]
%define F_VECTOR 48
arrive:
  pushad
  push ds
  push es
  push fs
  push gs
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ebp, esp
  mov [old_ss], ss
  cmp word [old_ss], 0x20       ; a 16-bit stack
  jne .wide
  movzx ebp, bp
.wide:
  mov ss, ax
  mov esp, OWN
  mov eax, 0x400
  mov dr7, eax
  cld
%macro SAY 2
  mov esi, %%label
  call print
  mov ecx, %2
  call hex
  jmp %%past
%%label: db %1, 0
%%past:
%endmacro
  mov ebx, [ebp + F_VECTOR]
  SAY ': v', 2
  mov ebx, [ebp + F_VECTOR + 4]
  SAY ' e', 4
  mov ebx, [ebp + F_VECTOR + 8]
  mov eax, ebx
  sub eax, [base]
  cmp eax, 0x400
  jae .far
  mov ebx, eax
  SAY ' +', 4
  jmp .where
.far:
  SAY ' @', 8
.where:
  mov ebx, [ebp + F_VECTOR + 12]
  SAY ' cs', 4
  mov ebx, [ebp + F_VECTOR + 16]
  SAY ' fl', 6
  mov eax, [ebp + F_VECTOR + 12]
  and eax, 3
  jnz .outer
  test dword [ebp + F_VECTOR + 16], 0x20000
  jz .inner
.outer:
  mov ebx, [ebp + F_VECTOR + 24]
  SAY ' ss', 4
  mov ebx, [ebp + F_VECTOR + 20]
  SAY ' sp', 8
  jmp .stacked
.inner:
  mov ebx, [old_ss]
  SAY ' ss', 4
.stacked:
  mov ebx, ebp
  SAY ' at', 8
  mov ebx, [ebp + 44]
  SAY ' ax', 8
  mov ebx, [ebp + 40]
  SAY ' cx', 8
  mov ebx, [ebp + 36]
  SAY ' dx', 8
  mov ebx, [ebp + 32]
  SAY ' bx', 8
  mov ebx, [ebp + 12]
  SAY ' ds', 4
  mov ebx, [ebp + 8]
  SAY ' es', 4
  mov ebx, [ebp + 4]
  SAY ' fs', 4
  str ebx
  SAY ' tr', 4
  mov ebx, dr6
  SAY ' dr6', 4
  mov ebx, [DATA]
  SAY ' m', 8
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

hex:
  push ecx
  mov eax, ecx
  shl eax, 2
  mov cl, 32
  sub cl, al
  shl ebx, cl
  pop ecx
.digit:
  rol ebx, 4
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
  dq 0x00cf9b000000ffff         ; 08 code
  dq 0x00cf93000000ffff         ; 10 data
  dq 0x00009b070000ffff         ; 18 16-bit code at 70000H
  dq 0x000093000000ffff         ; 20 16-bit data
  dq 0x00cffb000000ffff         ; 28 code, CPL 3
  dq 0x00cff3000000ffff         ; 30 data, CPL 3
  dq 0x0000890310000067         ; 38 TSS at 31000H
  dq 0x0000820330000fff         ; 40 LDT at 33000H
  dq 0x00cf91000000ffff         ; 48 read-only data
  dq 0x00cf99000000ffff         ; 50 execute-only code
  dq 0x00cf9f000000ffff         ; 58 conforming code
  dq 0x00cf13000000ffff         ; 60 data, absent
  dq 0x00cf1b000000ffff         ; 68 code, absent
  dq 0x0000890340000067         ; 70 TSS of the second task
  dq 0x0003ec020008e000         ; 78 call gate to KCODE, DPL 3, two parameters
  dq 0x0000e40000b0e000         ; 80 16-bit call gate
  dq 0x0000e50000700000         ; 88 task gate to the second task, DPL 3
  dq 0x00c0960000000004         ; 90 expand-down data: from 5000H up
  dq 0x00409300000000ff         ; 98 data of 256 bytes
  dq 0x00008b0340000067         ; a0 a busy TSS
  dq 0x000081035000002b         ; a8 the 16-bit TSS
  dq 0x00009b030000ffff         ; b0 16-bit code at 30000H
  dq 0x00008e0000080000         ; b8 interrupt gate
  dq 0x00038c000008e000         ; c0 call gate of DPL 0
  dq 0x00030c000008e000         ; c8 call gate, absent
  dq 0x0000090340000067         ; d0 TSS, absent
  dq 0x0000890340000066         ; d8 TSS, too short
  dq 0x0000890360000067         ; e0 TSS of the task for faults
gdt_end:
gdtr:
  dw gdt_end - gdt_image - 1
  dd GDT
idtr:
  dw 0x7ff
  dd IDT
boot_gdtr:
  dw gdt_end - gdt_image - 1
  dd gdt_image
align 4
current: dd 0
base: dd 0
target: dd 0
old_ss: dd 0

%include "cases.inc"
align 4
table:
CASE_TABLE
table_end:
