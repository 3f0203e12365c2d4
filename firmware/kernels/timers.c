/* Timers and interrupt controllers of the board: PIT, PIC, I/O APIC, RTC, HPET, PM timer, by each other's measure. */
#include "kernel.h"

static volatile int ticks;
static void pic_tick(struct frame *frame)
{
    ticks++;
    if (frame->vector >= 0x38)
        out8(0xa0, 0x20);
    out8(0x20, 0x20);
}
static void apic_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    apic_write(APIC_EOI, 0);
}

static void start_pic(u8 first_mask, u8 second_mask)
{
    out8(0x20, 0x11), out8(0x21, 0x30), out8(0x21, 4), out8(0x21, 1), out8(0x21, first_mask);
    out8(0xa0, 0x11), out8(0xa1, 0x38), out8(0xa1, 2), out8(0xa1, 1), out8(0xa1, second_mask);
}

static void start_pit(u16 count)
{
    out8(0x43, 0x34);
    out8(0x40, count);
    out8(0x40, count >> 8);
}

static u32 pit_count(void)
{
    out8(0x43, 0x00);
    u32 low = in8(0x40);
    return low | in8(0x40) << 8;
}

static u8 cmos(int index)
{
    out8(0x70, index);
    return in8(0x71);
}

static volatile u32 *const hpet = (volatile u32 *)0xfed00000ul;

/* Whether two durations agree within one part in `parts`. */
static int near(u64 a, u64 b, u64 parts)
{
    u64 difference = a > b ? a - b : b - a;
    return difference <= b / parts;
}

/* TSC ticks in so many PM timer cycles. */
static u64 tsc_of_pm(u32 cycles)
{
    u32 start = in32(0x608);
    u64 tsc = rdtsc();
    while (((in32(0x608) - start) & 0xffffff) < cycles)
        ;
    return rdtsc() - tsc;
}

void run(void)
{
    for (int v = 0x30; v < 0x40; v++)
        handle(v, pic_tick);
    handle(0x60, apic_tick);
    handle(0x61, apic_tick);
    wrmsr(0x1b, rdmsr(0x1b) & ~0x800ul); /* the i8259 pair straight to INTR */

    start_pic(0xfe, 0xff);
    check(in8(0x21) == 0xfe, "the mask reads back");
    start_pit(11932);
    for (ticks = 0; ticks < 5;)
        wait_interrupt();
    check(ticks == 5, "PIT interrupts through the PIC");
    out8(0x21, 0xff);
    int so_far = ticks;
    u32 a = pit_count();
    for (int i = 0; i < 500; i++)
        __asm__ volatile("sti; nop; cli");
    check(ticks == so_far, "masked at the PIC it does not");
    check(a <= 11932, "the count lies in its range");
    out8(0x20, 0x0a);
    check((in8(0x20) & 0xfe) == 0, "nothing else requests");

    out8(0x43, 0xb0); /* counter 2, mode 0 */
    out8(0x61, (in8(0x61) & ~2) | 1);
    out8(0x42, 0x00), out8(0x42, 0x01);
    check(!(in8(0x61) & 0x20), "counter 2's output is low at first in mode 0");
    while (!(in8(0x61) & 0x20))
        ;
    check(in8(0x61) & 0x20, "and rises at the end");
    u8 refresh = in8(0x61) & 0x10;
    int reads = 0;
    while ((in8(0x61) & 0x10) == refresh && ++reads < 100000)
        ;
    check(reads < 100000, "the refresh bit toggles");

    check(cmos(13) & 0x80, "the clock is valid");
    check((cmos(10) & 0x70) == 0x20, "its divider runs");
    print("status B %x\n", (u64)cmos(11) & 0x0f);
    out8(0x70, 10), out8(0x71, 0x26); /* 1,024 times a second */
    out8(0x70, 11), out8(0x71, 0x42);
    cmos(12);
    out8(0x21, 0xfb), out8(0xa1, 0xfe);
    for (ticks = 0; ticks < 3;) {
        wait_interrupt();
        check((cmos(12) & 0xc0) == 0xc0, "the clock interrupts periodically through the second PIC");
    }
    out8(0x70, 11), out8(0x71, 0x02);
    out8(0x21, 0xff), out8(0xa1, 0xff);

    wrmsr(0x1b, rdmsr(0x1b) | 0x800);
    enable_apic();
    print("I/O APIC: %d entries\n", (u64)(io_apic_read(1) >> 16 & 0xff) + 1);
    check(io_apic_read(0x10 + 2 * 5) & 0x10000, "entries start masked");
    route(2, 0x60);
    start_pit(11932);
    for (ticks = 0; ticks < 5;)
        wait_interrupt();
    check(ticks == 5, "PIT interrupts through pin 2 of the I/O APIC");
    route(2, 0x10060);
    so_far = ticks;
    for (int i = 0; i < 500; i++)
        __asm__ volatile("sti; nop; cli");
    check(ticks <= so_far + 1, "masked there it does not");

    u32 period = hpet[1];
    print("HPET: %d timers\n", (u64)(hpet[0] >> 8 & 0x1f) + 1);
    check(period > 0 && period <= 100000000, "its period is 100 ns or less");
    hpet[0x10 / 4] = 1;
    u32 before = hpet[0xf0 / 4];
    u64 tsc = tsc_of_pm(895); /* 0.25 ms */
    u32 after = hpet[0xf0 / 4];
    check(near((u64)(after - before) * period / 1000000, 250000, 20), "a quarter of a millisecond by the PM timer is one by the HPET");

    start_pit(0);
    u64 from = rdtsc();
    while ((u16)(0 - pit_count()) < 298)
        ;
    check(near(rdtsc() - from, tsc, 20), "and by the PIT");

    hpet[0x100 / 4] = 4 | (20 << 9);
    hpet[0x108 / 4] = hpet[0xf0 / 4] + (u32)(1000000000000ul / period);
    hpet[0x10c / 4] = 0;
    route(20, 0x61);
    for (ticks = 0; !ticks;)
        wait_interrupt();
    check(ticks == 1, "an HPET timer interrupts through pin 20");
    hpet[0x100 / 4] = 0;

    check(in32(0xcf8) != 0xdeadbeef, "there is a PCI configuration port");
}
