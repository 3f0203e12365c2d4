/* Every exception a 64-bit kernel can raise without special hardware: vector, error code, where RIP points, CR2. */
#include "kernel.h"

static const char *name;
static const u8 *place;

/* One instruction (or more) at a label, so that RIP can be told relative to it. */
#define RAISES(function, text, code)                                      \
    extern const u8 at_##function[];                                      \
    static void function(void)                                            \
    {                                                                     \
        name = text;                                                      \
        place = at_##function;                                            \
        __asm__ volatile(code ::: "rax", "rbx", "rcx", "rdx", "memory", "cc"); \
    }
#define AT(function) "at_" #function ": "

RAISES(divide, "DIV by zero", "xor %%ecx, %%ecx; mov $1, %%eax; xor %%edx, %%edx; " AT(divide) "div %%ecx")
RAISES(divide_overflow, "DIV overflow", "mov $1, %%ecx; mov $2, %%edx; " AT(divide_overflow) "div %%ecx")
RAISES(idiv_overflow, "IDIV of the lowest number by -1", "mov $0x80000000, %%eax; cdq; mov $-1, %%ecx; " AT(idiv_overflow) "idiv %%ecx")
RAISES(breakpoint, "INT3", AT(breakpoint) "int3")
RAISES(icebp, "INT1", AT(icebp) ".byte 0xf1")
RAISES(undefined, "UD2", AT(undefined) "ud2")
RAISES(undefined_lock, "LOCK on a register", AT(undefined_lock) ".byte 0xf0, 0x01, 0xc0")
RAISES(undefined_push, "PUSH ES in 64-bit mode", AT(undefined_push) ".byte 0x06")
RAISES(undefined_daa, "DAA in 64-bit mode", AT(undefined_daa) ".byte 0x27")
RAISES(undefined_movcr, "MOV from CR1", AT(undefined_movcr) ".byte 0x0f, 0x20, 0xc8")
RAISES(software, "INT 41H through a gate that is not present", AT(software) "int $0x41")
RAISES(noncanonical, "load from a non-canonical address", "mov $0x800000000000, %%rax; " AT(noncanonical) "mov (%%rax), %%rbx")
RAISES(noncanonical_stack, "load from a non-canonical address by the stack segment", "mov $0x800000000000, %%rax; mov %%rbp, %%rbx; mov %%rax, %%rbp; " AT(noncanonical_stack) "mov (%%rbp), %%rax; mov %%rbx, %%rbp")
RAISES(noncanonical_jump, "JMP to a non-canonical address", "mov $0x800000000000, %%rax; " AT(noncanonical_jump) "jmp *%%rax")
RAISES(selector, "MOV DS beyond the GDT", "mov $0x1000, %%eax; " AT(selector) "mov %%eax, %%ds")
RAISES(selector_null_ss, "MOV SS of null at CPL 0", "xor %%eax, %%eax; mov %%ss, %%ebx; mov %%eax, %%ss; " AT(selector_null_ss) "mov %%ebx, %%ss")
RAISES(selector_rpl, "MOV SS with RPL 3 at CPL 0", "mov $0x23, %%eax; " AT(selector_rpl) "mov %%eax, %%ss")
RAISES(not_present, "MOV DS of a segment not present", "mov $0x30, %%eax; " AT(not_present) "mov %%eax, %%ds")
RAISES(not_present_ss, "MOV SS of a segment not present", "mov $0x30, %%eax; " AT(not_present_ss) "mov %%eax, %%ss")
RAISES(selector_system, "MOV DS of a TSS", "mov $0x40, %%eax; " AT(selector_system) "mov %%eax, %%ds")
RAISES(selector_local, "MOV DS of an LDT that is not there", "mov $0x0c, %%eax; " AT(selector_local) "mov %%eax, %%ds")
RAISES(ltr_busy, "LTR of a busy TSS", "mov $0x40, %%eax; " AT(ltr_busy) "ltr %%ax")
RAISES(ltr_data, "LTR of a data segment", "mov $0x10, %%eax; " AT(ltr_data) "ltr %%ax")
RAISES(msr, "RDMSR of an MSR nobody has", "mov $0x12345678, %%ecx; " AT(msr) "rdmsr")
RAISES(efer, "WRMSR of a reserved bit of EFER", "mov $0xc0000080, %%ecx; rdmsr; or $2, %%eax; " AT(efer) "wrmsr")
RAISES(lstar, "WRMSR of a non-canonical LSTAR", "mov $0xc0000082, %%ecx; xor %%eax, %%eax; mov $0x8000, %%edx; " AT(lstar) "wrmsr")
RAISES(cr8, "MOV to CR8 of 16", "mov $16, %%eax; " AT(cr8) "mov %%rax, %%cr8")
RAISES(page_read, "load from a page not present", "mov $0x40000000, %%eax; " AT(page_read) "mov 8(%%rax), %%rbx")
RAISES(page_write, "store to a page not present", "mov $0x40000000, %%eax; " AT(page_write) "mov %%rbx, 16(%%rax)")
RAISES(page_fetch, "JMP to a page not present", "mov $0x40000000, %%eax; " AT(page_fetch) "jmp *%%rax")
RAISES(device, "x87 with CR0.TS", "mov %%cr0, %%rax; or $8, %%rax; mov %%rax, %%cr0; " AT(device) "fnop")
RAISES(device_sse, "SSE with CR0.TS", "mov %%cr0, %%rax; or $8, %%rax; mov %%rax, %%cr0; " AT(device_sse) "movaps %%xmm0, %%xmm1")
RAISES(emulation, "x87 with CR0.EM", "mov %%cr0, %%rax; or $4, %%rax; mov %%rax, %%cr0; " AT(emulation) "fnop")
RAISES(emulation_sse, "SSE with CR0.EM", "mov %%cr0, %%rax; or $4, %%rax; mov %%rax, %%cr0; " AT(emulation_sse) "movaps %%xmm0, %%xmm1")
RAISES(unaligned_sse, "MOVAPS of an unaligned address", "lea -24(%%rsp), %%rax; or $8, %%rax; " AT(unaligned_sse) "movaps (%%rax), %%xmm0")
RAISES(trap_flag, "single step", "pushf; orq $0x100, (%%rsp); popf; " AT(trap_flag) "nop; nop")
RAISES(far_return, "RETF to a data segment", "push $0x10; lea 1f(%%rip), %%rax; push %%rax; " AT(far_return) "lretq; 1:")
RAISES(iret_selector, "IRET to a null CS", "mov %%rsp, %%rbx; push $0x10; push %%rbx; push $2; push $0; lea 1f(%%rip), %%rax; push %%rax; " AT(iret_selector) "iretq; 1:")
RAISES(iret_rip, "IRET to a non-canonical RIP", "mov %%rsp, %%rbx; push $0x10; push %%rbx; push $2; push $8; mov $0x800000000000, %%rax; push %%rax; " AT(iret_rip) "iretq")

RAISES(user_cli, "CLI at CPL 3", AT(user_cli) "cli")
RAISES(user_hlt, "HLT at CPL 3", AT(user_hlt) "hlt")
RAISES(user_in, "IN at CPL 3", AT(user_in) "inb $0x80, %%al")
RAISES(user_wrmsr, "WRMSR at CPL 3", AT(user_wrmsr) "wrmsr")
RAISES(user_cr, "MOV from CR0 at CPL 3", AT(user_cr) "mov %%cr0, %%rax")
RAISES(user_lgdt, "LGDT at CPL 3", AT(user_lgdt) "lgdt gdt_pointer")
RAISES(user_int, "INT 0DH at CPL 3 through a gate of DPL 0", AT(user_int) "int $0x0d")
RAISES(user_int3, "INT3 at CPL 3", AT(user_int3) "int3")
RAISES(user_supervisor, "load from a supervisor page at CPL 3", "mov $0x80000000, %%eax; " AT(user_supervisor) "mov (%%rax), %%rbx")
RAISES(user_align, "unaligned load with alignment checks at CPL 3", "pushf; orq $0x40000, (%%rsp); popf; " AT(user_align) "mov -7(%%rsp), %%rax")
RAISES(user_syscall, "SYSCALL without EFER.SCE", AT(user_syscall) "syscall")

static void report(int raised)
{
    if (!raised)
        print("%s: nothing\n", name);
    else {
        print("%s: vector %d, error code %x", name, caught.vector, caught.error);
        if (caught.rip - (u64)place < 64)
            print(", RIP +%d", caught.rip - (u64)place);
        else
            print(", RIP %x", caught.rip);
        if (caught.vector == 14)
            print(", CR2 %x", caught_address);
        print(", CPL %d\n", caught.cs & 3);
    }
    write_cr0(read_cr0() & ~0xcul);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0x10));
}

static void kernel(void (*body)(void)) { report(attempt(body)); }
static void user(void (*body)(void)) { report(attempt_user(body)); }

static int ticks;
static void count(struct frame *frame)
{
    (void)frame;
    ticks++;
}

static void stop_step(struct frame *frame)
{
    ticks++;
    if (ticks == 5)
        frame->rflags &= ~0x100ul;
}

void run(void)
{
    page_directories[512] = 0;                  /* the second GiB: its first page is absent */
    for (int i = 0; i < 1024; i++)              /* the first and third for CPL 3 as well */
        if (i < 512)
            page_directories[i] |= 4;
    page_map[0] |= 4;
    for (int i = 0; i < 4; i++)
        ((u64 *)(page_map[0] & ~0xffful))[i] |= 4;
    write_cr3(read_cr3());

    kernel(divide), kernel(divide_overflow), kernel(idiv_overflow);
    kernel(breakpoint), kernel(icebp);
    kernel(undefined), kernel(undefined_lock), kernel(undefined_push), kernel(undefined_daa), kernel(undefined_movcr);
    __asm__ volatile("lldt %w0" ::"r"(0));
    hide_gate(0x41);
    kernel(software);
    kernel(noncanonical), kernel(noncanonical_stack), kernel(noncanonical_jump);
    kernel(selector), kernel(selector_null_ss), kernel(selector_rpl), kernel(not_present), kernel(not_present_ss);
    kernel(selector_system), kernel(selector_local), kernel(ltr_busy), kernel(ltr_data);
    kernel(msr), kernel(efer), kernel(lstar);
    kernel(cr8);
    kernel(page_read), kernel(page_write), kernel(page_fetch);
    kernel(device), kernel(device_sse), kernel(emulation), kernel(emulation_sse), kernel(unaligned_sse);
    kernel(trap_flag);
    kernel(far_return), kernel(iret_selector), kernel(iret_rip);
    user(user_cli), user(user_hlt), user(user_in), user(user_wrmsr), user(user_cr), user(user_lgdt);
    user(user_int), user(user_int3), user(user_supervisor), user(user_syscall);
    write_cr0(read_cr0() | 0x40000);
    user(user_align);

    handle(0x50, count);
    ticks = 0;
    __asm__ volatile("int $0x50; int $0x50" ::: "memory");
    check(ticks == 2, "INT n goes through its gate and comes back");
    handle(1, stop_step);
    ticks = 0;
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; nop; nop; nop; nop; nop; nop" ::: "memory", "cc");
    check(ticks == 5, "the trap flag traps after each instruction until the handler clears it");
}
