/* Clocks and the ways of their interrupts: HPET by level and periodically, RTC update and alarm, PIT read-back, virtual wire. */
#include "kernel.h"

static volatile u32 *const hpet = (volatile u32 *)0xfed00000ul;
enum { CONFIG = 0x10 / 4, STATUS = 0x20 / 4, COUNTER = 0xf0 / 4, TIMER0 = 0x100 / 4, COMPARATOR0 = 0x108 / 4 };
enum { PIN = 20, LEVEL = 0x8000, REMOTE_IRR = 0x4000, MASKED = 0x10000 };

static u32 cycles_of_us(u64 us) { return us * 1000000000ul / hpet[1]; }
static u8 cmos(int index)
{
    out8(0x70, index);
    return in8(0x71);
}
static void set_cmos(int index, u8 value) { out8(0x70, index), out8(0x71, value); }
static void few_instructions(void)
{
    for (int i = 0; i < 500; i++)
        __asm__ volatile("sti; nop; cli");
}

static volatile int ticks;
static volatile u32 entry, status;
static int clear_at = 1;
static u32 at[8];
static void hpet_level(struct frame *frame)
{
    (void)frame;
    ticks++;
    entry = io_apic_read(0x10 + 2 * PIN);
    status = hpet[STATUS];
    if (ticks == clear_at)
        hpet[STATUS] = 1;
    apic_write(APIC_EOI, 0);
}
static void hpet_edge(struct frame *frame)
{
    (void)frame;
    if (ticks < 8)
        at[ticks] = hpet[COUNTER];
    ticks++;
    apic_write(APIC_EOI, 0);
}
static u8 flags;
static void rtc(struct frame *frame)
{
    (void)frame;
    ticks++;
    flags = cmos(12);
    apic_write(APIC_EOI, 0);
}
static void pic(struct frame *frame)
{
    (void)frame;
    ticks++;
    out8(0x20, 0x20);
}

static void one_shot(u32 mode)
{
    ticks = 0;
    hpet[TIMER0] = mode | PIN << 9;
    hpet[COMPARATOR0] = hpet[COUNTER] + cycles_of_us(50);
    hpet[COMPARATOR0 + 1] = 0;
    hpet[TIMER0] = mode | 4 | PIN << 9;
}

static void hpet_lines(void)
{
    handle(0x61, hpet_level);
    hpet[CONFIG] = 1;
    route(PIN, LEVEL | 0x61);
    one_shot(2);
    while (!ticks)
        wait_interrupt();
    check(ticks == 1, "a level-triggered HPET timer interrupts");
    check(status & 1, "its status bit is set");
    check(entry & REMOTE_IRR, "until EOI the pin's remote IRR is set");
    check(!(io_apic_read(0x10 + 2 * PIN) & REMOTE_IRR), "after it no more");
    few_instructions();
    check(ticks == 1, "once its status is cleared the line is low");
    clear_at = 3;
    one_shot(2);
    while (!ticks)
        wait_interrupt();
    few_instructions();
    check(ticks == 3, "as long as it is not, each EOI is followed by the next interrupt");
    clear_at = 0;
    route(PIN, LEVEL | MASKED | 0x61);
    one_shot(2);
    while (!(hpet[STATUS] & 1))
        ;
    few_instructions();
    check(ticks == 0, "a masked pin keeps quiet");
    clear_at = 1;
    route(PIN, LEVEL | 0x61);
    few_instructions();
    check(ticks == 1, "and speaks when it is unmasked while the line is high");
    hpet[TIMER0] = 0;

    handle(0x61, hpet_edge);
    route(PIN, 0x61);
    hpet[CONFIG] = 0;
    hpet[COUNTER] = 0, hpet[COUNTER + 1] = 0;
    print("timer 0 can be periodic: %d\n", (u64)hpet[TIMER0] >> 4 & 1);
    hpet[TIMER0] = 4 | 8 | 64 | PIN << 9;
    hpet[COMPARATOR0] = cycles_of_us(1000);
    hpet[COMPARATOR0] = cycles_of_us(1000);
    ticks = 0;
    hpet[CONFIG] = 1;
    while (ticks < 4)
        wait_interrupt();
    hpet[TIMER0] = 0;
    u32 period = (at[3] - at[0]) / 3, wanted = cycles_of_us(1000);
    check(period > wanted - wanted / 20 && period < wanted + wanted / 20, "a periodic timer comes every millisecond");
    hpet[CONFIG] = 0;
    u32 stopped = hpet[COUNTER];
    few_instructions();
    check(hpet[COUNTER] == stopped, "a stopped counter stands");
}

static void clock_interrupts(void)
{
    handle(0x62, rtc);
    route(8, 0x62);
    cmos(12);
    ticks = 0;
    set_cmos(11, 0x12);
    while (!ticks)
        wait_interrupt();
    check((flags & 0x90) == 0x90, "the clock interrupts when it has updated");
    int second = cmos(0);
    ticks = 0;
    while (!ticks)
        wait_interrupt();
    check(cmos(0) != second, "once a second");
    set_cmos(11, 0x02);
    cmos(12);
    for (int i = 1; i <= 5; i += 2)
        set_cmos(i, 0xc0); /* any second, minute, hour */
    set_cmos(11, 0x22);
    ticks = 0;
    while (!ticks)
        wait_interrupt();
    check((flags & 0xa0) == 0xa0, "the alarm interrupts");
    set_cmos(11, 0x02);
    check(cmos(12) == 0 || cmos(12) == 0, "reading its flags clears them");
    set_cmos(11, 0x06);
    u8 binary = cmos(9);
    set_cmos(11, 0x02);
    u8 bcd = cmos(9);
    check((bcd >> 4) * 10 + (bcd & 15) == binary, "the year is the same in binary and in BCD");
    route(8, MASKED);
}

static void pit(void)
{
    out8(0x43, 0x30); /* counter 0, mode 0 */
    out8(0x43, 0xe2); /* its status, by read-back */
    check((in8(0x40) & 0x40) != 0, "a counter without a count says so");
    out8(0x40, 0x40), out8(0x40, 0x00);
    for (u8 s = 0; !(s & 0x80);) {
        out8(0x43, 0xe2);
        s = in8(0x40);
    }
    out8(0x43, 0xe2);
    check((in8(0x40) & 0xbf) == 0xb0, "in mode 0 its output is high at the end");
    out8(0x43, 0x36);
    out8(0x43, 0xe2);
    check((in8(0x40) & 0x3f) == 0x36, "the mode reads back");
    out8(0x43, 0x14), out8(0x40, 100);
    out8(0x43, 0xc2); /* status and count */
    u8 s = in8(0x40), count = in8(0x40);
    check((s & 0x3f) == 0x14 && count <= 100, "status comes before the count");

    handle(0x30, pic);
    out8(0x20, 0x11), out8(0x21, 0x30), out8(0x21, 4), out8(0x21, 1), out8(0x21, 0xfe);
    apic_write(APIC_LVT_LINT0, 0x700);
    ticks = 0;
    out8(0x43, 0x34), out8(0x40, 0x9c), out8(0x40, 0x2e);
    while (ticks < 3)
        wait_interrupt();
    check(ticks == 3, "ExtINT at LINT0 brings the PIC's interrupts through the APIC");
    apic_write(APIC_LVT_LINT0, 0x10700);
    ticks = 0;
    few_instructions();
    check(ticks == 0, "masked it does not");
    out8(0x21, 0xff);
}

void run(void)
{
    enable_apic();
    hpet_lines();
    clock_interrupts();
    pit();
}
