/* What QEMU TCG has not: the TSC-deadline timer, and the APIC in x2APIC mode. */
#include "kernel.h"

enum { X2APIC_ID = 0x802, X2APIC_VERSION, X2APIC_EOI = 0x80b, X2APIC_LDR = 0x80d, X2APIC_ICR = 0x830,
       X2APIC_LVT_TIMER = 0x832, X2APIC_INITIAL = 0x838, X2APIC_CURRENT, X2APIC_DIVIDE = 0x83e, X2APIC_SELF_IPI };

static volatile int ticks;
static void few_instructions(void)
{
    for (int i = 0; i < 500; i++)
        __asm__ volatile("sti; nop; cli");
}
static void tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    apic_write(APIC_EOI, 0);
}
static void tick_by_msr(struct frame *frame)
{
    (void)frame;
    ticks++;
    wrmsr(X2APIC_EOI, 0);
}

static void deadline(void)
{
    handle(0x63, tick);
    apic_write(APIC_LVT_TIMER, 0x40063);
    u64 until = rdtsc() + 100000;
    wrmsr(0x6e0, until);
    check(rdmsr(0x6e0) == until, "the deadline reads back");
    while (!ticks)
        wait_interrupt();
    check(rdtsc() >= until, "it is not early");
    check(rdmsr(0x6e0) == 0, "and disarmed then");
    wrmsr(0x6e0, 1);
    few_instructions();
    check(ticks == 2, "one in the past fires at once");
    wrmsr(0x6e0, rdtsc() + 100000);
    wrmsr(0x6e0, 0);
    for (u64 from = rdtsc(); rdtsc() - from < 200000;)
        few_instructions();
    check(ticks == 2, "0 disarms it");
    apic_write(APIC_INITIAL, 1000);
    check(apic_read(APIC_CURRENT) == 0, "the initial count means nothing in this mode");
    apic_write(APIC_LVT_TIMER, 0x10000);
    wrmsr(0x6e0, rdtsc() + 100000);
    check(rdmsr(0x6e0) == 0, "nor the deadline in another");
}

static void write_id(void) { wrmsr(X2APIC_ID, 1); }
static void read_self_ipi(void) { rdmsr(X2APIC_SELF_IPI); }
static void write_eoi_of_1(void) { wrmsr(X2APIC_EOI, 1); }
static void read_dfr(void) { rdmsr(0x80e); }
static void back_to_xapic(void) { wrmsr(0x1b, rdmsr(0x1b) & ~0x400ul); }
static void refused(void (*body)(void), const char *what) { check(attempt(body) && caught.vector == 13, what); }

static void x2apic_mode(void)
{
    refused(write_id, "before its mode x2APIC registers are #GP");
    u32 id = apic_read(APIC_ID) >> 24, version = apic_read(APIC_VERSION);
    wrmsr(0x1b, rdmsr(0x1b) | 0x400);
    check(rdmsr(X2APIC_ID) == id && rdmsr(X2APIC_VERSION) == version, "ID and version");
    check(rdmsr(X2APIC_LDR) == 1u << id, "LDR follows from the ID");
    refused(write_id, "the ID cannot be written");
    refused(read_dfr, "there is no DFR");
    refused(read_self_ipi, "SELF IPI is write-only");
    refused(write_eoi_of_1, "EOI takes 0 only");
    handle(0x64, tick_by_msr);
    ticks = 0;
    wrmsr(X2APIC_SELF_IPI, 0x64);
    few_instructions();
    check(ticks == 1, "an IPI to oneself");
    wrmsr(X2APIC_ICR, (u64)id << 32 | 0x64);
    few_instructions();
    check(ticks == 2, "and one through the 64-bit ICR");
    wrmsr(X2APIC_DIVIDE, 0xb);
    wrmsr(X2APIC_LVT_TIMER, 0x64);
    wrmsr(X2APIC_INITIAL, 10000);
    while (ticks < 3)
        wait_interrupt();
    check(rdmsr(X2APIC_CURRENT) == 0, "the timer counts down once");
    refused(back_to_xapic, "the way back leads through disabling");
    wrmsr(0x1b, rdmsr(0x1b) & ~0xc00ul);
    wrmsr(0x1b, rdmsr(0x1b) | 0x800);
    check(apic_read(APIC_ID) >> 24 == id, "and then the page answers again");
}

void run(void)
{
    enable_apic();
    deadline();
    x2apic_mode();
}
