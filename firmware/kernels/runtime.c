#include "kernel.h"

#include <stdarg.h>

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4

extern u8 interrupt_entries[];
extern u64 attempt_stack;
extern u64 gdt_tss[2];
extern const u8 attempt_resume[];

struct frame caught;
u64 caught_address;

static handler *handlers[256];
static int tests, failures;
static struct { u64 low, high; } idt[256];
static struct __attribute__((packed)) { u32 reserved; u64 rsp[3]; u64 zero; u64 ist[7]; u64 more; u16 pad, io; } tss;
static u8 interrupt_stack[16384] __attribute__((aligned(16)));
static u8 user_stack[4096] __attribute__((aligned(16)));

static void put(char c)
{
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, c);
}

static void put_number(u64 value, unsigned base)
{
    char digits[20];
    int n = 0;
    do
        digits[n++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (n)
        put(digits[--n]);
}

static void print_list(const char *format, va_list list)
{
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = va_arg(list, const char *); *s; s++)
                put(*s);
            break;
        case 'd': put_number(va_arg(list, u64), 10); break;
        case 'x': put_number(va_arg(list, u64), 16); break;
        case 'c': put(va_arg(list, int)); break;
        }
    }
}

void print(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_list(format, list);
    va_end(list);
}

void check(int good, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    tests++;
    failures += !good;
    print(good ? "PASS: " : "FAIL: ");
    print_list(format, list);
    put('\n');
    va_end(list);
}

void finish(void)
{
    print("SUMMARY: %d tests", (u64)tests);
    if (failures)
        print(", %d unexpected failures", (u64)failures);
    put('\n');
    out32(DEBUG_EXIT, failures != 0);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void handle(int vector, handler *function)
{
    handlers[vector] = function;
}

void dispatch(struct frame *frame)
{
    if (handlers[frame->vector]) {
        handlers[frame->vector](frame);
        return;
    }
    caught = *frame;
    caught_address = frame->vector == 14 ? read_cr2() : 0;
    if (!attempt_stack) {
        print("ABORT: vector %d, error code %x, RIP %x, CR2 %x\n", frame->vector, frame->error, frame->rip, read_cr2());
        out32(DEBUG_EXIT, 63);
        for (;;)
            __asm__ volatile("cli; hlt");
    }
    frame->rip = (u64)attempt_resume;
    frame->cs = 0x08;
    frame->ss = 0x10;
    frame->rsp = attempt_stack;
    frame->rflags = 2;
}

static void (*user_body)(void);
static void go_to_user(void)
{
    enter_user(user_body, user_stack + sizeof user_stack);
}

int attempt_user(void (*body)(void))
{
    user_body = body;
    attempt(go_to_user);
    return caught.vector != 0x80;
}

static void set_up_tables(void)
{
    for (int v = 0; v < 256; v++) {
        u64 at = (u64)interrupt_entries + 16 * v;
        u64 gate = v == 3 || v == 4 || v == 0x80 ? 0xee00 : 0x8e00;
        idt[v].low = (at & 0xffff) | 0x08 << 16 | gate << 32 | (at >> 16 & 0xffff) << 48;
        idt[v].high = at >> 32;
    }
    tss.rsp[0] = (u64)interrupt_stack + sizeof interrupt_stack;
    tss.io = sizeof tss;
    u64 base = (u64)&tss;
    gdt_tss[0] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ul << 40 | (base >> 24 & 0xff) << 56;
    gdt_tss[1] = base >> 32;
    load_idt();
    __asm__ volatile("ltr %w0" ::"r"(0x40));
}

void hide_gate(int vector)
{
    idt[vector].low &= ~(0x8000ul << 32);
}

void load_idt(void)
{
    struct __attribute__((packed)) { u16 limit; u64 base; } pointer = { sizeof idt - 1, (u64)idt };
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

void kernel_main(void)
{
    set_up_tables();
    run();
    finish();
}

void enable_apic(void)
{
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    apic_write(APIC_SIVR, 0x1ff);
}

u32 io_apic_read(int index)
{
    *(volatile u32 *)0xfec00000ul = index;
    return *(volatile u32 *)0xfec00010ul;
}

void io_apic_write(int index, u32 value)
{
    *(volatile u32 *)0xfec00000ul = index;
    *(volatile u32 *)0xfec00010ul = value;
}

void route(int pin, u32 low)
{
    io_apic_write(0x11 + 2 * pin, 0);
    io_apic_write(0x10 + 2 * pin, low);
}

__attribute__((weak)) void processor_main(int number)
{
    (void)number;
}

/* How many processors fw_cfg tells of. */
static int processors(void)
{
    __asm__ volatile("outw %w0, %w1" ::"a"(5), "d"(0x510));
    return in8(0x511) | in8(0x511) << 8;
}

/* INIT, then SIPIs, to all others, until each has come. */
int start_processors(void)
{
    u8 *page = (u8 *)0x8000;
    for (int i = 0; i < trampoline_end - trampoline; i++)
        page[i] = trampoline[i];
    next_processor = 1;
    apic_write(APIC_ICR, 0xc4500);
    for (volatile int wait = 0; wait < 100000; wait++)
        ;
    apic_write(APIC_ICR, 0xc4608);
    while (*(volatile u32 *)&next_processor < (u32)processors())
        ;
    return next_processor - 1;
}
