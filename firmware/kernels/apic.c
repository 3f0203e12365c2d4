/* The local APIC in xAPIC mode: registers, priorities, self-IPIs, spurious vector, errors, timer. */
#include "kernel.h"

static int order[16], count;
static void note(struct frame *frame)
{
    order[count++ & 15] = frame->vector;
    apic_write(APIC_EOI, 0);
}
static void note_no_eoi(struct frame *frame) { order[count++ & 15] = frame->vector; }

static void self_ipi(int vector) { apic_write(APIC_ICR, 0x40000 | vector); }
static void open_window(void)
{
    sti();
    for (int i = 0; i < 100; i++)
        __asm__ volatile("nop");
    cli();
}

void run(void)
{
    print("ID %x version %x\n", (u64)apic_read(APIC_ID), (u64)apic_read(APIC_VERSION) & 0xff00ff);
    print("base %x\n", rdmsr(0x1b));
    print("LVT thermal %x PMI %x error %x\n", (u64)apic_read(APIC_LVT_THERMAL), (u64)apic_read(APIC_LVT_PMI),
          (u64)apic_read(APIC_LVT_ERROR));
    enable_apic();
    print("SIVR %x\n", (u64)apic_read(APIC_SIVR));
    for (int v = 0x20; v < 0xff; v++)
        handle(v, note);

    check(apic_read(APIC_TPR) == 0 && apic_read(APIC_PPR) == 0, "priorities are 0");
    apic_write(APIC_TPR, 0x5a);
    check(read_cr8() == 5 && apic_read(APIC_PPR) == 0x5a, "CR8 is TPR bits 7:4, PPR follows TPR");
    write_cr8(3);
    check(apic_read(APIC_TPR) == 0x30, "writing CR8 sets TPR");

    self_ipi(0x3f), self_ipi(0x41), self_ipi(0x25);
    check(bits_of(APIC_IRR, 0x3f) && bits_of(APIC_IRR, 0x41) && bits_of(APIC_IRR, 0x25), "requests wait in IRR");
    open_window();
    check(count == 1 && order[0] == 0x41, "only what outranks TPR is delivered");
    write_cr8(0);
    open_window();
    check(count == 3 && order[1] == 0x3f && order[2] == 0x25, "the rest by priority when TPR falls");
    check(!bits_of(APIC_IRR, 0x3f) && !bits_of(APIC_ISR, 0x3f), "and nothing stays behind");

    handle(0x62, note_no_eoi);
    count = 0;
    self_ipi(0x62);
    open_window();
    check(count == 1 && bits_of(APIC_ISR, 0x62), "without EOI a vector stays in service");
    check(apic_read(APIC_PPR) == 0x60, "and raises PPR to its class");
    self_ipi(0x61), self_ipi(0x70), self_ipi(0x62);
    open_window();
    check(count == 2 && order[1] == 0x70, "a higher class interrupts it, its own does not");
    apic_write(APIC_EOI, 0);
    open_window();
    check(count == 3 && order[2] == 0x62, "EOI lets the next one in");
    apic_write(APIC_EOI, 0);
    open_window();
    check(count == 4 && order[3] == 0x61, "and the next");

    apic_write(APIC_LVT_PMI, 0x40);
    apic_write(APIC_SIVR, 0xff);
    check(apic_read(APIC_LVT_PMI) & 0x10000, "software-disabling masks the LVT");
    apic_write(APIC_SIVR, 0x1ff);
    check(apic_read(APIC_LVT_PMI) == 0x10040, "and enabling does not unmask it");
    apic_write(APIC_LVT_PMI, 0x40);
    check(apic_read(APIC_LVT_PMI) == 0x40, "software does");

    apic_write(APIC_LDR, 0x12345678);
    check(apic_read(APIC_LDR) == 0x12000000, "LDR has eight bits");
    check(apic_read(APIC_DFR) == 0xffffffff, "DFR is the flat model");
    apic_write(APIC_ICR_HIGH, 0x7fffffff);
    check(apic_read(APIC_ICR_HIGH) >> 24 == 0x7f, "the destination is in bits 31:24");

    apic_write(APIC_LVT_TIMER, 0x10000);
    apic_write(APIC_DIVIDE, 0xb);
    apic_write(APIC_INITIAL, 100000000);
    u32 first = apic_read(APIC_CURRENT);
    for (int i = 0; i < 1000; i++)
        __asm__ volatile("pause");
    u32 second = apic_read(APIC_CURRENT);
    check(first <= 100000000 && second < first && second, "the timer counts down");
    apic_write(APIC_INITIAL, 0);
    check(apic_read(APIC_CURRENT) == 0, "an initial count of 0 stops it");

    count = 0;
    apic_write(APIC_LVT_TIMER, 0x80);
    apic_write(APIC_INITIAL, 10000);
    while (!count)
        wait_interrupt();
    check(count == 1 && order[0] == 0x80, "one shot interrupts");
    for (int i = 0; i < 100; i++)
        open_window();
    check(count == 1 && apic_read(APIC_CURRENT) == 0, "once");

    count = 0;
    apic_write(APIC_LVT_TIMER, 0x20081);
    apic_write(APIC_INITIAL, 100000);
    while (count < 5)
        wait_interrupt();
    check(order[0] == 0x81 && order[4] == 0x81, "periodic interrupts again and again");
    apic_write(APIC_LVT_TIMER, 0x30081);
    int so_far = count;
    for (int i = 0; i < 2000; i++)
        open_window();
    check(count <= so_far + 1, "masked it is silent");
    apic_write(APIC_INITIAL, 0);

    for (int configuration = 0; configuration < 4; configuration++) {
        apic_write(APIC_DIVIDE, configuration);
        check(apic_read(APIC_DIVIDE) == (u32)configuration, "divide configuration %d", (u64)configuration);
    }
    int x2apic;
    __asm__ volatile("cpuid" : "=c"(x2apic) : "a"(1) : "ebx", "edx");
    wrmsr(0x1b, rdmsr(0x1b) & ~0x800ul);
    u32 edx;
    __asm__ volatile("cpuid" : "=d"(edx) : "a"(1) : "ebx", "ecx");
    check(!(edx >> 9 & 1), "an APIC that is off is not in CPUID");
    wrmsr(0x1b, rdmsr(0x1b) | 0x800);
    __asm__ volatile("cpuid" : "=d"(edx) : "a"(1) : "ebx", "ecx");
    check(edx >> 9 & 1, "and is there again when it is on");
}
