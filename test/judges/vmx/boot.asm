; Boot sector for a judge that starts from a disk: reads the guest image behind it, enters 64-bit mode as our machine
; enters such an image (first 4 GiB mapped one to one, flat segments, interrupts off), and jumps to its entry point.
;   nasm -D SECTORS=n

org 0x7c00
bits 16

BUFFER equ 0x10000
IMAGE_BASE equ 0x100000
PML4 equ 0x2000

start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov ah, 0x42
    mov si, packet
    int 0x13
    cli
    in al, 0x92
    or al, 2
    out 0x92, al

    ; COM1: 115200 baud, 8 bits, one stop bit.
    mov dx, 0x3fb
    mov al, 0x83
    out dx, al
    mov dx, 0x3f8
    mov al, 1
    out dx, al
    inc dx
    xor al, al
    out dx, al
    mov dx, 0x3fb
    mov al, 3
    out dx, al

    ; PML4 at 2000H, PDPT at 3000H, page directories from 4000H on, 2-MByte pages.
    mov edi, PML4
    xor eax, eax
    mov ecx, 0x6000 / 4
    a32 rep stosd
    mov dword [PML4], 0x3007
    mov dword [0x3000], 0x4007
    mov dword [0x3008], 0x5007
    mov dword [0x3010], 0x6007
    mov dword [0x3018], 0x7007
    mov edi, 0x4000
    mov eax, 0x87
    mov ecx, 2048
.page:
    mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop .page

    mov eax, PML4
    mov cr3, eax
    mov eax, 0x20                       ; PAE
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    lgdt [gdt_pointer]
    mov eax, 0x80000011                 ; PG, ET, PE
    mov cr0, eax
    jmp 8:wide

bits 64
wide:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    mov esi, BUFFER
    mov edi, IMAGE_BASE
    mov ecx, SECTORS * 512
    rep movsb
    xor eax, eax
    mov ecx, 0x100000
    rep stosb
    mov esp, 0x7c00
    jmp [IMAGE_BASE + 24]               ; e_entry

align 8
gdt:
    dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    dw $ - gdt - 1
    dd gdt
align 4
packet:
    db 16, 0
    dw SECTORS
    dw 0, BUFFER >> 4
    dq 1

times 510 - ($ - $$) db 0
dw 0xaa55
