; Sector 0 of a disk: reads the program behind it to 7E00H and goes there.
bits 16
org 0x7c00
  cli
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  sti
  mov ah, 0x42
  mov si, packet
  int 0x13
  cli
  jmp 0:0x7e00
packet:
  db 16, 0
  dw 120
  dw 0, 0x07e0
  dq 1
times 510 - ($ - $$) db 0
dw 0xaa55
