; Runs one case after the other in real-address mode and says on port E9H what each came to.
; cases.inc: CASE index, 'name', REAL; its code; END_CASE index. Then CASE_TABLE lists them.

%define CODE  0x2000            ; segments of a case
%define STACK 0x3000
%define DATA  0x4000
%define SP0   0xf000

%define REAL 4
%macro CASE 3
name_%1: db %2, 0
code_%1:
%endmacro
%macro END_CASE 1
  int 0x20
end_%1:
%endmacro
%macro ENTRY 1
  dw name_%1, code_%1, end_%1 - code_%1
%endmacro

bits 16
org 0x7e00
start:
  cli
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  dec ax                        ; no interrupts of the machine's own
  out 0x21, al
  out 0xa1, al
  mov word [current], table

next:
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  mov bx, [current]
  cmp bx, table_end
  jae finished
  add word [current], 6
  ; the interrupt vector table
  lidt [idtr]
  mov es, ax
  xor di, di
  mov dx, stubs
  mov cx, 256
  cld
.vector:
  mov ax, dx
  stosw
  xor ax, ax
  stosw
  add dx, 8
  loop .vector
  mov si, [bx]
  call print
  mov si, [bx + 2]
  mov cx, [bx + 4]
  mov ax, CODE
  mov es, ax
  xor di, di
  rep movsb
  mov ax, DATA
  mov es, ax
  xor di, di
  xor ax, ax
  mov cx, 0x8000
  rep stosw
  mov ax, STACK
  mov es, ax
  mov di, SP0 - 0x100
  xor ax, ax
  mov cx, 0x100
  rep stosw
  mov fs, ax
  mov gs, ax
  mov eax, 0x10
  mov cr0, eax
  xor eax, eax
  mov cr4, eax
  mov dr0, eax
  mov dr1, eax
  mov eax, 0xffff0ff0
  mov dr6, eax
  mov eax, 0x400
  mov dr7, eax
  mov ax, STACK
  mov ss, ax
  mov esp, SP0
  mov ax, DATA
  mov ds, ax
  mov es, ax
  mov eax, 0x11111111
  mov ecx, 0x22222222
  mov edx, 0x33333333
  mov ebx, 0x44444444
  mov esi, 0x55555555
  mov edi, 0x66666666
  mov ebp, 0x77777777
  push dword 2
  popfd
  jmp CODE:0

align 8
stubs:
%assign vector 0
%rep 256
  align 8
  push strict word vector
  jmp near arrive
%assign vector vector + 1
%endrep

; On the case's stack: vector, IP, CS, FLAGS
arrive:
%macro KEEP 2
  mov [cs:kept + %1 * 4], %2
%endmacro
  KEEP 0, eax
  KEEP 1, ecx
  KEEP 2, edx
  KEEP 3, ebx
  KEEP 4, esi
  KEEP 5, edi
  KEEP 6, ebp
  xor eax, eax
  mov ax, sp
  mov ebp, eax
  add ax, 8
  KEEP 7, eax
  mov ax, ss
  KEEP 8, eax
  mov ax, ds
  KEEP 9, eax
  mov ax, es
  KEEP 10, eax
  mov ax, [bp]
  KEEP 11, eax
  mov ax, [bp + 2]
  KEEP 12, eax
  mov ax, [bp + 4]
  KEEP 13, eax
  mov ax, [bp + 6]
  KEEP 14, eax
  mov eax, dr6
  KEEP 15, eax
  mov ax, DATA
  mov ds, ax
  mov eax, [0]
  KEEP 16, eax
  mov eax, 0x400
  mov dr7, eax
  xor eax, eax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  cld
%macro SAY 3                    ; label, digits, which
  mov si, %%label
  call print
  mov cx, %2
  mov ebx, [kept + %3 * 4]
  call hex
  jmp %%past
%%label: db %1, 0
%%past:
%endmacro
  SAY ': v', 2, 11
  SAY ' +', 4, 12
  SAY ' cs', 4, 13
  SAY ' fl', 4, 14
  SAY ' ss', 4, 8
  SAY ' sp', 4, 7
  SAY ' ax', 8, 0
  SAY ' cx', 8, 1
  SAY ' dx', 8, 2
  SAY ' bx', 8, 3
  SAY ' si', 8, 4
  SAY ' di', 8, 5
  SAY ' bp', 8, 6
  SAY ' ds', 4, 9
  SAY ' es', 4, 10
  SAY ' dr6', 4, 15
  SAY ' m', 8, 16
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

; CX digits of EBX
hex:
  mov dx, cx
  mov cl, 8
  sub cl, dl
  shl cl, 2
  shl ebx, cl
.digit:
  rol ebx, 4
  mov al, bl
  and al, 15
  cmp al, 10
  jb .decimal
  add al, 'a' - '0' - 10
.decimal:
  add al, '0'
  out 0xe9, al
  dec dx
  jnz .digit
  ret

finished:
  mov si, bye
  call print
  mov al, 0
  out 0xf4, al
  mov si, shutdown
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

bye: db 'END', 10, 0
shutdown: db 'Shutdown', 0
align 4
kept: times 17 dd 0
idtr:
  dw 0x3ff
  dd 0
current: dw 0

%include "cases.inc"
align 2
table:
CASE_TABLE
table_end:
