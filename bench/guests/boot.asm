; Boot sector for other emulators: enters 64-bit mode as the bench machine is (64 MiB mapped one to one by 2-MiB
; pages), calls the guest that stands in the sectors behind, and marks start and end on port E9H.
        org 0x7c00
        bits 16
GUEST equ 0x200000
SECTORS equ 8
BUFFER equ 0x8000
PML4 equ 0x1000
PDPT equ 0x2000
DIRECTORY equ 0x3000

        cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        mov ah, 0x42            ; extended read, from the disk in DL
        mov si, packet
        int 0x13
        jc $
        in al, 0x92             ; A20
        or al, 2
        out 0x92, al
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 0x08:protected

        align 4
packet: db 16, 0
        dw SECTORS
        dw BUFFER, 0
        dq 1

        bits 32
protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esi, BUFFER
        mov edi, GUEST
        mov ecx, SECTORS * 512 / 4
        rep movsd
        xor eax, eax
        mov edi, PML4
        mov ecx, 3 * 4096 / 4
        rep stosd
        mov dword [PML4], PDPT | 3
        mov dword [PDPT], DIRECTORY | 3
        mov edi, DIRECTORY
        mov eax, 0x83
        mov ecx, 32
.page:  mov [edi], eax
        add eax, 0x200000
        add edi, 8
        loop .page
        mov eax, PML4
        mov cr3, eax
        mov eax, 0x20           ; PAE
        mov cr4, eax
        mov ecx, 0xc0000080
        rdmsr
        or ah, 1                ; LME
        wrmsr
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        jmp 0x18:long64

        bits 64
long64: mov esp, 0x1f0000
        mov al, '{'
        out 0xe9, al
        mov eax, GUEST
        call rax
        mov al, '}'
        out 0xe9, al
        hlt
        jmp $

        align 8
gdt:    dq 0
        dq 0x00cf9b000000ffff
        dq 0x00cf93000000ffff
        dq 0x00af9b000000ffff
gdtr:   dw $ - gdt - 1
        dd gdt
        times 510 - ($ - $$) db 0
        dw 0xaa55
